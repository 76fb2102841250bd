"""Checkpoints on disk: which there are, which can be gone on from, and which one was asked for."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from burnish.errors import UserError

NAME = r"checkpoint-\d+"

YES, NO = ("true", "yes", "1"), ("false", "no", "0", "none", "")
"""What a command line gives for True and False."""


def asked_for(given: str | bool | None, folder: Path) -> Path | None:
    """The checkpoint that `resume_from_checkpoint` means; True is the newest complete one in `folder`.

    Raises `UserError` where there is none, or training cannot go on from it.
    """
    if given is None or is_no(given):
        return None
    if str(given).lower() in YES:
        return _newest(folder)
    checkpoint = Path(str(given)).expanduser()
    if not checkpoint.is_dir():
        raise UserError(
            f"there is no folder {given}",
            where="resume_from_checkpoint",
            fix="give the folder of a checkpoint, or True for the newest one in output_dir",
        )
    if wrong := what_is_wrong(checkpoint):
        raise UserError(
            f"training cannot go on from {checkpoint}: it {wrong}",
            where="resume_from_checkpoint",
            fix="give another checkpoint, or start a new run from its weights: pass the folder as the model",
        )
    return checkpoint


def is_no(given: str | bool | None) -> bool:
    """Whether `resume_from_checkpoint` forbids to resume; None leaves it open."""
    return given is not None and str(given).lower() in NO


def _newest(folder: Path) -> Path:
    found, passed = newest_complete(folder)
    if found is None:
        raise UserError(
            f"{folder} has no checkpoint to go on from" + (f" ({'; '.join(passed)})" if passed else ""),
            where="resume_from_checkpoint",
            fix="leave it out to start anew, or give the folder of a checkpoint",
        )
    return found


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run folder, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(NAME, path.name)]
    return sorted(found, key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def newest_complete(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that training can go on from, and what is wrong with those after it."""
    passed: list[str] = []
    for checkpoint in checkpoints(folder):
        wrong = what_is_wrong(checkpoint)
        if not wrong:
            return checkpoint, passed
        passed.append(f"{checkpoint.name} {wrong}")
    return None, passed


def what_is_wrong(checkpoint: Path) -> str:
    """Why training cannot go on from a checkpoint; empty where it can.

    Transformers writes into the final folder, so that a run that was killed leaves a part of one.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "was not written to its end"
    if re.fullmatch(NAME, checkpoint.name) and state.get("global_step") != _step(checkpoint):
        return "says that it is of another step"
    weights = sorted(checkpoint.glob("*.safetensors"))
    if not weights or not all(map(_readable_weights, [*weights, *_shards(checkpoint)])):
        return "has no weights that can be read"
    if (checkpoint / "pytorch_model_fsdp.bin").exists() or list(checkpoint.glob("global_step*")):
        return ""  # FSDP and DeepSpeed keep the optimizer's state in forms of their own
    for name in ("optimizer.pt", "scheduler.pt"):
        if not (checkpoint / name).is_file():
            return f"has no {name}"
        if not zipfile.is_zipfile(checkpoint / name):  # torch writes zip files, whose table is at the end
            return f"has half of an {name}"
    return "" if list(checkpoint.glob("rng_state*.pth")) else "has no state of the random numbers"


def _readable_weights(file: Path) -> bool:
    """Whether a file of weights is as long as its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            return True
    except (OSError, SafetensorError):
        return False


def _shards(checkpoint: Path) -> list[Path]:
    """The files that an index of weights names."""
    names: set[str] = set()
    for index in checkpoint.glob("*.safetensors.index.json"):
        names |= set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    return [checkpoint / name for name in names]
