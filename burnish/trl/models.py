"""Models and messages in TRL's scripts: a frozen copy as the reference, and a quiet start."""

from __future__ import annotations

import copy
import logging
import warnings

from torch import nn

from burnish.errors import UserError


def create_reference_model(
    model: nn.Module, num_shared_layers: int | None = None, pattern: str | None = None
) -> nn.Module:
    """A frozen copy of a model, in evaluation mode.

    Trainers need none: without `ref_model` they score the rows by the starting model before step 1, and keep
    no copy.
    """
    for name, value in (("num_shared_layers", num_shared_layers), ("pattern", pattern)):
        if value is not None:
            raise UserError(
                "layers are not shared between a policy and its reference",
                where=name,
                fix="leave out ref_model: the reference then takes no memory while the policy is trained",
            )
    return copy.deepcopy(model).eval().requires_grad_(False)


def init_zero_verbose() -> None:
    """Show errors only, of all loggers and warnings."""
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
