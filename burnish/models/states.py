"""Contexts in which a model is in another state for a while, and as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within this context `model` is in evaluation mode.

    Less its bitsandbytes layers, which have no other use of the mode than to repack their weights for
    inference, and back for training.
    """
    modules = [m for m in model.modules() if m.training and not type(m).__module__.startswith("bitsandbytes")]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within this context no weight of `model` is trained."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def substituted(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within this context the named parameters of `model` are the given tensors, wherever they are shared."""
    standing_in = {id(model.get_parameter(name)): weight for name, weight in weights.items()}
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for module in model.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and (weight := standing_in.get(id(parameter))) is not None:
                    replaced.append((module, name, parameter))
                    module._parameters[name] = weight.to(parameter.device)  # type: ignore[assignment]
        yield
    finally:
        for module, name, parameter in replaced:
            module._parameters[name] = parameter


@contextmanager
def patched(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Within this context attributes have other values: (owner, name, value)."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
