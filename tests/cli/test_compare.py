"""`burnish compare` as a person runs it."""

import json
import os
import subprocess
import sys

from burnish import units
from tests.comparison.conftest import place  # noqa: F401


def run(*words, cwd, **environment):
    known = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "burnish", "compare", *map(str, words)]
    settings = os.environ | known | environment
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=300)


SHORT = ("--prompts", "rows.jsonl", "--max-new-tokens", "8")


def test_everything_at_once(place, tmp_path):  # noqa: F811
    words = ("one", "adapter", *SHORT, "--score", "task.py:grade", "--reward", "reward", "--output", tmp_path)
    result = run(*words, "--json", cwd=place)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert [model["name"] for model in told["models"]] == ["one", "adapter"]
    assert told == json.loads((tmp_path / "comparison.json").read_text())
    assert f"wrote  {tmp_path}/comparison.json" in result.stderr
    again = run(*words, "--show", "2", cwd=place)
    assert again.returncode == 0, again.stderr
    assert "\x1b" not in again.stdout
    lines = again.stdout.splitlines()
    assert lines[0] == "6 prompts of rows.jsonl"
    shown = [line.split("\t") for line in lines if "\t" in line]
    assert [parts[1] for parts in shown] == ["prompt", "reference", "one", "adapter", "measures"] * 2
    assert "adapter against one" in lines
    share = told["measures"][0]["models"][0]["mean"]
    assert units.share(share) in again.stdout


def test_wrong_input_is_told_without_a_traceback(place):  # noqa: F811
    for words, where in (
        (("one", "tow", *SHORT), "tow: there is no such folder"),
        (("one", "--prompts", "none.jsonl"), "none.jsonl"),
        (("one", *SHORT, "--temperature", "-1"), "temperature"),
        (("one", *SHORT, "--score", "task.py:nothing"), "task.py:nothing"),
    ):
        result = run(*words, cwd=place)
        assert result.returncode == 2, result.stderr
        assert where in result.stderr and "Traceback" not in result.stderr and not result.stdout
