"""Run folders: what is in one, which checkpoint can be gone on from, and room for another run.

A run folder is never overwritten: one that holds another run is renamed to NAME.1, NAME.2 ..., and the
newest result is always at the plain path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from burnish.engine.checkpoints import checkpoints
from burnish.errors import UserError

RECORD = "run.json"
LOCK = "run.lock"
OF_A_RUN = (RECORD, "preparation.json", "config.json", "adapter_config.json", "trainer_state.json")
"""Files of which one is in every folder that a run has written."""

NOTES = {RECORD, LOCK, "preparation.json", "metrics.jsonl", "samples.jsonl", "notices.jsonl"}
"""Files of a run that are worth nothing without a model or a checkpoint."""


def read_record(folder: Path) -> dict[str, Any] | None:
    """What `run.json` says; None where there is none that can be read."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def holds_a_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in OF_A_RUN) or bool(checkpoints(folder))


# Room for a run


def make_room(folder: Path, used: Iterable[str] = ()) -> Path | None:
    """Rename a folder that holds a run; returns its new name, None where nothing had to move.

    `used` are paths that the next run reads. Raises `UserError` where one of them would move too.
    """
    if not folder.is_dir() or not holds_a_run(folder):
        return None
    if is_worthless(folder):
        for name in NOTES - {LOCK}:
            (folder / name).unlink(missing_ok=True)
        return None
    check_room(folder, used)
    kept = next_name(folder)
    folder.rename(kept)
    _follow(folder, kept)
    return kept


def is_worthless(folder: Path) -> bool:
    """Whether a run left notes only, of a training that did not get to its first log."""
    names = {path.name for path in folder.iterdir()}
    logged = folder / "metrics.jsonl"
    return names <= NOTES and RECORD in names and not (logged.is_file() and logged.stat().st_size)


def check_room(folder: Path, used: Iterable[str]) -> None:
    """Refuse to rename a folder with a run that is in use: read by the next run, or stood in."""
    if not folder.is_dir() or not holds_a_run(folder) or is_worthless(folder):
        return
    whole = folder.resolve()
    for name in (*used, "."):
        path = Path(name).expanduser()
        if path.exists() and path.resolve().is_relative_to(whole):
            what = "you stand in it" if name == "." else f"{name} is in it, which is read now"
            raise UserError(
                f"the folder holds another run and would be renamed, and {what}",
                where=str(folder),
                fix="give another output_dir",
            )


def next_name(folder: Path) -> Path:
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return kept


def _follow(old: Path, new: Path) -> None:
    """Let adapters on a model in the folder, of runs beside it and its own, name the model's new place."""
    gone = old.resolve()
    files = [
        *new.parent.glob("*/adapter_config.json"),
        *new.parent.glob("*/checkpoint-*/adapter_config.json"),
    ]
    for file in files:
        text = json.loads(file.read_text(encoding="utf-8"))
        base = Path(text.get("base_model_name_or_path") or "")
        if base.resolve().is_relative_to(gone):
            moved = (new.resolve() if base.is_absolute() else new) / base.resolve().relative_to(gone)
            write_json(file, {**text, "base_model_name_or_path": str(moved)})


def write_json(file: Path, content: Any) -> None:
    """Write a file that is there as a whole or not at all."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder as this process's own. Raises `UserError` where another one is training into it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise in_use(folder) from None
        except OSError:  # a file system without locks, where a file would say nothing
            (folder / LOCK).unlink()
        else:
            if not _is_there(
                file, folder
            ):  # whoever held it has ended and removed the file since it was opened
                raise in_use(folder)
        try:
            yield
        finally:
            if _is_there(file, folder):  # the folder may have been renamed, and be another one by now
                (folder / LOCK).unlink()


def _is_there(lock: IO[str], folder: Path) -> bool:
    """Whether an open lock is the one in the folder."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat())
    except OSError:
        return False


def is_locked(folder: Path) -> bool:
    """Whether a process that lives trains into the folder."""
    try:
        import fcntl

        with (folder / LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # no such file among them
        return False
    return False


def was_killed(folder: Path) -> bool:
    """Whether a process died while it trained into the folder: its lock lies there, and nobody holds it."""
    return (folder / LOCK).is_file() and not is_locked(folder)


def in_use(folder: Path) -> UserError:
    return UserError(
        "another process is training into this folder", where=str(folder), fix="wait for it, or stop it"
    )
