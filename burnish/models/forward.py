"""How a forest goes through a Transformers model: `model(forest=..., read=...)`.

`attach` gives the model one more way to be called. The backbone runs on the forest, and `read` turns
its hidden states into what an objective wants (`score.py` has the readers). Because it is still
`model(...)` that is called, every wrapper (PEFT, DDP, FSDP, DeepSpeed, autocast) works unchanged.
Called without `forest` the model is what it was: `generate` and plain forwards do not change.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.tiers import Tier, run


@dataclass(frozen=True)
class Hidden:
    """Last hidden states of the tokens of a forest, after the final norm, before the head."""

    states: Tensor  # float[T, D]
    forest: Forest  # the forest that was run: the caller's, or its unshared form


Reader = Callable[[nn.Module, Hidden], Any]
"""Turns hidden states into a result, inside the model's forward, where sharded weights are gathered."""


def inner_model(model: nn.Module) -> nn.Module:
    """The Transformers model inside adapters and distributed wrappers."""
    while True:
        if hasattr(model, "get_base_model"):  # PEFT
            model = model.get_base_model()
        elif hasattr(model, "module"):  # DDP, DeepSpeed
            model = model.module
        else:
            return model


def attach(model: nn.Module, tier: Tier = "registered") -> nn.Module:
    """Let `model` be called with a forest, run in the given tier. Safe to call again with another tier."""
    inner = inner_model(model)
    inner.forest_tier = tier
    if hasattr(inner, "_forward_without_forest"):
        return model
    inner._forward_without_forest = inner.forward

    @functools.wraps(type(inner).forward)  # `generate` validates its arguments against this signature
    def forward(self: Any, *args: Any, forest: Forest | None = None, read: Reader | None = None, **kwargs: Any) -> Any:
        if forest is None or read is None:
            return self._forward_without_forest(*args, **kwargs)
        states, ran = run(self, forest, self.forest_tier)
        return read(self, Hidden(states, ran))

    inner.forward = types.MethodType(forward, inner)
    return model
