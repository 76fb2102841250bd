"""Commands in documents, and what they print.

    ```bash                      commands alone: each line that begins with a program's name is run
    burnish inspect pairs.jsonl
    ```

    ```console                   commands behind `$ `, and below each what it prints
    $ burnish inspect pairs.jsonl
    pairs.jsonl: 40 rows
    ...
    ```

    ```python                    a whole program, which is run
    from burnish import DPOTrainer
    ```

A line of three dots stands for any lines, three dots within a line for anything. Numbers that another machine
or another rounding would change (times, sizes, losses, hashes) count by their form: see `settled`.

    python -m tests.docs.console docs/inspect.md        runs a document and shows what differs
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("burnish ",)


@dataclass(frozen=True)
class Command:
    """A command of a document, and what the document says that it prints; None where it says nothing."""

    document: str
    line: int
    text: str
    printed: list[str] | None


def commands_in(document: Path) -> list[Command]:
    """The commands of a document, in order."""
    return list(_commands(document.read_text(encoding="utf-8").splitlines(), document.name))


def _commands(lines: list[str], name: str) -> Iterator[Command]:
    language, begun = None, 0
    console: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(lines, 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and language is None:
            language, begun = fence.group(1), number
        elif fence:
            yield from (Command(name, at, text, printed) for at, text, printed in console)
            if language == "python":
                yield Command(name, begun, _program(lines[begun : number - 1]), None)
            console, language = [], None
        elif language == "console" and line.startswith("$ "):
            console.append((number, line[2:], []))
        elif language == "console" and console:
            at, text, printed = console[-1]
            console[-1] = (
                (at, text + "\n" + line, printed) if text.endswith("\\") else (at, text, [*printed, line])
            )
        elif language == "bash" and line.startswith(PROGRAMS):
            yield Command(name, number, _whole(lines[number - 1 :]), None)


def _program(lines: list[str]) -> str:
    return "\n".join(["python - <<'END'", *lines, "END"])


def _whole(lines: list[str]) -> str:
    """A command with the lines that it goes on to, without the remark behind it."""
    last = next(index for index, line in enumerate(lines) if not line.endswith("\\"))
    return "\n".join(lines[: last + 1]).partition("  #")[0].rstrip()


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of a document in `folder`, as it would print into a file 100 columns wide."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "HF_HUB_OFFLINE": "1",
        "BURNISH_CACHE": str(folder / ".cache"),
    }
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )


FORMS = (
    (r"\b[0-9a-f]{12,64}\b", "HASH"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?\S*", "TIME"),
    (r"\b\d+:\d\d(:\d\d)?\b", "TIME"),
    (r"[-+]?\b\d[\d,]*(\.\d+)?(e[-+]?\d+)? ?(s|ms|min|h|MB|GB|kB|%|tokens/s|rows/s)(?!\w)", "AMOUNT"),
    (r"AMOUNT( AMOUNT)+", "AMOUNT"),
    (r"\b(products at) .* GB/s", r"\1 SPEED"),
    (r"\b(up to|computed in) [\d,\w]+", r"\1 SOME"),
    (r"[\d,]+ (rows of mean length)", r"ROWS \1"),
    (r"[-+]?\b\d[\d,]*\.\d+(e[-+]?\d+)?\b|\b\d+e-\d+\b|\bnan\b", "NUMBER"),
    (r"[█▉▊▋▌▍▎▏▁▂▃▄▅▆▇]+", "BAR"),
    (r"[─━═]{2,}", "─"),
    (r"[ \t]+", " "),
)


def settled(line: str) -> str:
    """A line without what differs from machine to machine."""
    for pattern, form in FORMS:
        line = re.sub(pattern, form, line)
    return line.strip()


def agrees(wanted: list[str], found: list[str]) -> bool:
    """Whether lines are those that a document shows."""
    expected = [settled(line) for line in wanted if line.strip()]
    lines = [settled(line) for line in found if line.strip()]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + "\n"
        for line in expected
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines)) is not None


def main(names: list[str]) -> None:
    import tempfile

    from tests.docs.sandbox import furnish
    from tests.docs.test_documents import NOT_RUN

    for document in [Path(name) for name in names] or DOCUMENTS:
        with tempfile.TemporaryDirectory() as name:
            furnish(Path(name), document)
            for command in commands_in(document):
                if command.text in NOT_RUN:
                    continue
                done = run(command.text, Path(name))
                good = command.printed is None or agrees(command.printed, done.stdout.splitlines())
                mark = (
                    "ok  "
                    if good and not done.returncode
                    else f"exit {done.returncode}"
                    if good
                    else "differs"
                )
                print(f"{mark}  {command.document}:{command.line}  {command.text}", flush=True)
                if mark != "ok  ":
                    print(textwrap.indent(done.stdout + done.stderr, "      "), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
