"""How a forest goes through a Transformers model: `model(forest=..., read=...)`.

`attach` gives the model one more way to be called. The backbone runs on the forest, and `read` turns
its hidden states into what an objective wants (`score.py` has the readers). Because it is still
`model(...)` that is called, every wrapper (PEFT, DDP, FSDP, DeepSpeed, autocast) works unchanged.
Called without `forest` the model is what it was: `generate` and plain forwards do not change.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.head import head_input
from burnish.models.noise import Silenced, attention_dropout
from burnish.models.precision import plain_copies, working_copies
from burnish.models.tiers import Tier, prepare, run


@dataclass(frozen=True)
class Hidden:
    """Last hidden states of the tokens of a forest, as the head's projection takes them."""

    states: Tensor  # float[T, D]
    forest: Forest  # the forest that was run: the caller's, or its unshared form


Reader = Callable[[nn.Module, Hidden], Any]
"""Turns hidden states into a result, inside the model's forward, where sharded weights are gathered."""


def inner_model(model: Any) -> Any:
    """The Transformers model inside adapters, compilation and distributed wrappers."""
    while True:
        if hasattr(model, "get_base_model"):  # PEFT
            model = model.get_base_model()
        elif hasattr(model, "_orig_mod"):  # torch.compile
            model = model._orig_mod
        elif hasattr(model, "module"):  # DDP, DeepSpeed
            model = model.module
        else:
            return model


def attach(model: nn.Module, tier: Tier = "registered") -> nn.Module:
    """Let `model` be called with a forest, run in the given tier. Safe to call again with another tier."""
    inner: Any = inner_model(model)
    if is_attached(inner):
        _remove_handles(inner)
    elif "_forward_without_forest" not in vars(inner):
        _add_forward(inner)
    inner.forest_tier = tier
    inner._forest_handles = prepare(inner, tier)
    if tier == "registered":  # branches would share the mask of their prompt
        inner._forest_handles.append(Silenced(attention_dropout(inner)))
    return model


def detach(model: nn.Module) -> nn.Module:
    """Take off what `attach` put on: the model is as it was loaded."""
    inner: Any = inner_model(model)
    if not is_attached(inner):
        return model
    _remove_handles(inner)
    del inner.forest_tier, inner._forest_handles
    if not hasattr(vars(inner).get("forward"), "takes_forests"):
        return model  # somebody has wrapped it (Accelerate does, to autocast), and plain calls go through it
    plain = inner._forward_without_forest
    if getattr(plain, "__func__", None) is type(inner).forward:
        del inner.forward
    else:
        inner.forward = plain
    del inner._forward_without_forest
    return model


def is_attached(model: nn.Module) -> bool:
    return hasattr(inner_model(model), "forest_tier")


def _add_forward(inner: Any) -> None:
    inner._forward_without_forest = inner.forward

    def forward(
        self: Any, *args: Any, forest: Forest | None = None, read: Reader | None = None, **kwargs: Any
    ) -> Any:
        if forest is None:
            with plain_copies(self):
                return self._forward_without_forest(*args, **kwargs)
        with working_copies(self):
            states, ran = run(self, forest, self.forest_tier)
            hidden = Hidden(_as_the_head(self, head_input(self, states)), ran)
            return hidden if read is None else read(self, hidden)

    # `generate` validates its arguments against the signature. Not `functools.wraps`: Accelerate follows
    # `__wrapped__` when it unwraps a model, and would take this forward off.
    forward.__signature__ = inspect.signature(type(inner).forward)  # type: ignore[attr-defined]
    forward.takes_forests = True  # type: ignore[attr-defined]
    inner.forward = types.MethodType(forward, inner)


def _as_the_head(model: Any, states: Tensor) -> Tensor:
    """In the dtype of the projection: some backbones, such as Mamba's, always end in float32."""
    weight = getattr(model.get_output_embeddings(), "weight", None)
    return states.to(weight.dtype) if weight is not None and weight.is_floating_point() else states


def _remove_handles(inner: Any) -> None:
    for handle in inner._forest_handles:
        handle.remove()
