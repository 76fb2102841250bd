"""What a run began with, written into its checkpoints. A run that resumes must begin with the same.

    {"method": "DPOTrainer", "rows": "2f61", "reference": {"kind": "precomputed", "weights": [0.1]}}

Weights of the optimizer mean nothing on other rows, and a reference that is made from the checkpoint is not
the one that the run began with.
"""

from __future__ import annotations

import json
import math
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from torch import nn

from burnish.errors import UserError

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

FILE = "origin.json"

ROWS, NUMBERS = 64, 4
"""Rows that are hashed; numbers of each tensor that are kept."""

SAME = 1e-5
"""Relative distance of weights that may come from another machine. A few steps at a low rate make more."""


def some_weights(model: nn.Module, trained: bool = True) -> list[float]:
    """A few numbers of every tensor of a model."""
    found: list[float] = []
    for parameter in model.parameters():
        if (
            parameter.is_meta
            or not parameter.is_floating_point()
            or not (trained or not parameter.requires_grad)
        ):
            continue
        flat = parameter.detach().flatten()
        found += flat[:: max(1, len(flat) // NUMBERS)][:NUMBERS].double().tolist()
    return found


def origin(engine: Engine) -> dict[str, Any]:
    """What the run of this trainer begins with."""
    found: dict[str, Any] = {"method": type(engine).__name__, "rows": _hash_of(engine.train_dataset)}
    if reference := getattr(engine, "reference", None):
        found["reference"] = {"kind": reference.kind, "weights": engine.reference_weights}
    return found


def _hash_of(dataset: Any) -> str | None:
    if not isinstance(dataset, Dataset):
        return None
    digest = blake2b(str(len(dataset)).encode(), digest_size=8)
    for index in range(0, len(dataset), max(1, len(dataset) // ROWS)):
        row = dataset[index]
        digest.update(json.dumps([row.get("prompt_ids"), row.get("completion_ids")]).encode())
    return digest.hexdigest()


def write_origin(engine: Engine, folder: str) -> None:
    (Path(folder) / FILE).write_text(json.dumps(origin(engine)) + "\n", encoding="utf-8")


def check_origin(engine: Engine, checkpoint: Path) -> None:
    """Refuse a checkpoint of another run. Raises `UserError`; one that says nothing of it is taken."""
    try:
        before = json.loads((checkpoint / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    now = origin(engine)
    if what := _difference(before, now):
        raise UserError(
            f"{checkpoint} is of another run: {what}",
            where="resume_from_checkpoint",
            fix="make the trainer as that run's was, from the model that it began with; or start a new run "
            "from the weights of the checkpoint: pass its folder as the model, and do not resume",
        )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    if before["method"] != now["method"]:
        return f"its method is {before['method']}, and this one {now['method']}"
    if None not in (before["rows"], now["rows"]) and before["rows"] != now["rows"]:
        return "it was trained on other rows, or on the same in another template or at another length"
    one, other = before.get("reference"), now.get("reference")
    if not one or not other:
        return ""
    if one["kind"] != other["kind"]:
        return f"its reference was {one['kind']}, and now it is {other['kind']}"
    if not _alike(one["weights"], other["weights"]):
        return "its reference was another model, the one that it began with"
    return ""


def _alike(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and math.dist(one, other) <= SAME * math.hypot(*one)
