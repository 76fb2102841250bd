"""What an optimizer keeps of every weight that it trains."""

from __future__ import annotations

from typing import NamedTuple


class Kept(NamedTuple):
    """Bytes per trained weight (which is float32): what stays from step to step, and what a step needs."""

    state: float
    step: float = 0.0
    known: bool = True


EIGHT_BIT = 1 + 4 / 256
"""A number in 8 bit with its share of a float32 scale for every 256."""

TABLE = {
    "adamw_torch_fused": Kept(8),
    "adamw_torch": Kept(8, 4),  # `foreach` on a GPU: a list as large as the weights
    "adamw_apex_fused": Kept(8),
    "adamw_anyprecision": Kept(8),
    "adamw_torch_8bit": Kept(2 * EIGHT_BIT),
    "adamw_torch_4bit": Kept(2 * (0.5 + 4 / 128)),
    "adamw_8bit": Kept(2 * EIGHT_BIT),
    "adamw_bnb_8bit": Kept(2 * EIGHT_BIT),
    "paged_adamw_8bit": Kept(0.0),  # in pages of the host's memory, moved when they are needed
    "paged_adamw_32bit": Kept(0.0),
    "ademamix": Kept(12),
    "ademamix_8bit": Kept(3 * EIGHT_BIT),
    "adafactor": Kept(0.02, 4),  # a row and a column of each matrix
    "sgd": Kept(0),
    "adagrad": Kept(4),
    "rmsprop": Kept(4),
    "rmsprop_bnb": Kept(4),
    "rmsprop_bnb_8bit": Kept(EIGHT_BIT),
    "lion_32bit": Kept(4),
    "lion_8bit": Kept(EIGHT_BIT),
    "paged_lion_32bit": Kept(0.0),
    "paged_lion_8bit": Kept(0.0),
    "stable_adamw": Kept(8),
    "schedule_free_adamw": Kept(8),
    "schedule_free_radam": Kept(8),
    "schedule_free_sgd": Kept(4),
}


def kept_by(optim: object, kind: str) -> Kept:
    """Of the optimizer that the option `optim` names, on a device of this kind."""
    name = str(getattr(optim, "value", optim))
    found = TABLE.get(name)
    if found is None:
        return Kept(8, known=False)
    return found._replace(step=0.0) if kind == "cpu" and name == "adamw_torch" else found
