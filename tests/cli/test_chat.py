"""`burnish chat` as a person uses it: piped, and in a terminal of 80 and 200 columns."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid

import pytest

from burnish.cli.vote import _pressed
from tests.comparison.conftest import place  # noqa: F401

SETTINGS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


def chat(*words, said, cwd):
    command = [sys.executable, "-m", "burnish", "chat", *map(str, words)]
    settings = os.environ | SETTINGS
    return subprocess.run(
        command, cwd=cwd, env=settings, input=said, capture_output=True, text=True, timeout=300
    )


def test_a_conversation_line_by_line(place, tmp_path):  # noqa: F811
    said = (
        "Hi\n/retry\n/system Be brief.\n/temperature 0.5\n/temperature x\n"
        '"""\none\ntwo\n"""\n/save {}\n/undo\n/undo\n/undo\n/retry\n/sve\n/help\n/quit\nnever\n'
    ).format(tmp_path / "chats.jsonl")
    result = chat("one", "--max-new-tokens", "5", "--temperature", "0", said=said, cwd=place)
    assert result.returncode == 0 and not result.stderr, result.stderr
    row = json.loads((tmp_path / "chats.jsonl").read_text())
    roles = [message["role"] for message in row["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert row["messages"][3]["content"] == "one\ntwo"
    for told in (
        "At temperature 0 the answer stays the same",
        "the system message is set",
        "temperature 0.5",
        "error: /temperature: expected a number, found 'x'",
        "taken back\ntaken back\nthere is nothing to take back\nthere is no answer yet\n",
        "there is no command /sve. Did you mean '/save'?",
        "/retry            answer",
    ):
        assert told in result.stdout, told


def test_two_models_answer_each_for_itself(place, tmp_path):  # noqa: F811
    said = f"Hi\nMore\n/save {tmp_path}/both.jsonl\n"
    words = ("one", "--compare", "adapter", "--max-new-tokens", "5", "--temperature", "0")
    result = chat(*words, said=said, cwd=place)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("[one]") == result.stdout.count("[adapter]") == 2
    first, second = map(json.loads, (tmp_path / "both.jsonl").read_text().splitlines())
    assert first != second and first["messages"][0] == second["messages"][0]


def test_no_such_model(place):  # noqa: F811
    result = chat("onne", said="", cwd=place)
    assert result.returncode == 2 and "Did you mean 'one'" in result.stderr


# In a terminal


class Terminal:
    """tmux at a width: keys go in, and what is on the screen comes out."""

    def __init__(self, command, cwd, width):
        self.name = f"burnish-{uuid.uuid4().hex[:8]}"
        kept = {k: os.environ[k] for k in ("PATH", "PYTHONPATH", "BURNISH_CACHE", "HOME") if k in os.environ}
        settings = [f"{key}={value}" for key, value in (kept | SETTINGS).items()]
        line = " ".join(["env", *settings, *map(str, command)]) + "; echo ENDED; sleep 600"
        size = ("-x", str(width), "-y", "50")
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(cwd), line)

    def tmux(self, *words):
        done = subprocess.run(["tmux", "-L", self.name, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def wait_for(self, text, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            screen = self.tmux("capture-pane", "-p")
            if text in screen:
                return screen
            time.sleep(0.1)
        raise AssertionError(f"{text!r} never came:\n{screen}")

    def close(self):
        subprocess.run(["tmux", "-L", self.name, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal():
    if shutil.which("tmux") is None:
        pytest.skip("no tmux")
    opened = []

    def open_terminal(words, cwd, width):
        opened.append(Terminal([sys.executable, "-m", "burnish", *words], cwd, width))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@pytest.mark.parametrize("width", [80, 200])
def test_control_c_stops_an_answer_and_not_the_program(place, terminal, width):  # noqa: F811
    here = terminal(["chat", "one", "--max-new-tokens", "480", "--temperature", "1.5"], place, width)
    here.wait_for("/help lists the commands.")
    stopped = False
    for _ in range(8):  # a random model may end an answer at once
        here.press("Hi", "Enter")
        time.sleep(0.15)
        here.press("C-c")
        time.sleep(1.0)
        if stopped := "(stopped)" in here.tmux("capture-pane", "-p"):
            break
        here.press("Enter")
    assert stopped
    here.press("/undo", "Enter")
    screen = here.wait_for("taken back")
    assert "ENDED" not in screen
    here.press("C-d")
    here.wait_for("ENDED")


@pytest.mark.parametrize("width", [80, 200])
def test_votes_by_single_keys(place, tmp_path, terminal, width):  # noqa: F811
    votes = tmp_path / "votes.jsonl"
    words = [
        "compare",
        "one",
        "two",
        "--prompts",
        "rows.jsonl",
        "--max-new-tokens",
        "8",
        "--vote",
        str(votes),
    ]
    here = terminal([*words, "--show", "0"], place, width)
    screen = here.wait_for("1 of 6")
    assert "1 or 2: better" in screen and "one" not in screen.split("1 of 6")[1].replace("none", "")
    sides = next(line for line in screen.splitlines() if "╭─ 1" in line)
    assert "╭─ 2" in sides and len(sides.rstrip()) <= width  # side by side
    here.press("1")
    here.wait_for("2 of 6")
    assert len(votes.read_text().splitlines()) == 1
    here.press("u")
    here.wait_for("taken back")
    assert votes.read_text() == ""
    here.press("Up")  # several characters, and no vote
    here.press("2", "t")  # at once: neither is lost
    here.wait_for("3 of 6")
    here.press("q")
    screen = here.wait_for("ENDED")
    assert "voted better" in screen and "2 votes are in" in screen
    assert len(votes.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "pressed"),
    [
        (b"\x1b[A2t", ["\x1b[A", "2", "t"]),  # an arrow, and two votes right behind it
        (b"\x1bOP1", ["\x1bOP", "1"]),
        (b"\x1b[3~u", ["\x1b[3~", "u"]),
        (b"\x1bu1", ["\x1bu", "1"]),
    ],
)
def test_keys_pressed_behind_an_arrow_are_not_lost(typed, pressed):
    read, write = os.pipe()
    try:
        os.write(write, typed)
        assert [_pressed(read) for _ in pressed] == pressed
    finally:
        os.close(read)
        os.close(write)
