"""A command in a real terminal: tmux at a given width, and what a person saw of it; skipped without tmux."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

ENDED = "the command has ended"


class Shots(list[str]):
    """What was on the terminal, again and again while a command ran; the last is what is left of it."""

    @property
    def last(self) -> str:
        return self[-1].split(ENDED)[0].rstrip()


def shown(
    command: Sequence[str], folder: Path, width: int, *, every: float = 0.1, limit: float = 300
) -> Shots:
    """Run a command on a terminal of `width` columns, with all its output in sight."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux")
    name = f"burnish-{uuid.uuid4().hex[:8]}"
    environment = {
        "TERM": "screen-256color",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    kept = {
        key: os.environ[key] for key in ("PATH", "PYTHONPATH", "BURNISH_CACHE", "HOME") if key in os.environ
    }
    settings = [f"{key}={value}" for key, value in (environment | kept).items()]
    line = (
        shlex.join(["env", "-u", "COLUMNS", "-u", "LINES", *settings, *map(str, command)])
        + f"; echo '{ENDED}'; sleep 600"
    )
    tmux = ["tmux", "-L", name, "-f", "/dev/null"]
    start = ["new-session", "-d", "-x", str(width), "-y", "120", "-c", str(folder), line]
    subprocess.run([*tmux, *start], check=True)
    shots, end = Shots(), time.monotonic() + limit
    try:
        while time.monotonic() < end:
            taken = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True)
            if not shots or taken.stdout != shots[-1]:
                shots.append(taken.stdout)
            if ENDED in taken.stdout:
                return shots
            time.sleep(every)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
    raise AssertionError(f"not done after {limit:.0f} s:\n{shots[-1]}")
