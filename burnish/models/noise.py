"""Dropout and its kin: what makes two forwards of one model in training mode differ.

Modeling files keep rates in three places: in dropout modules, as attributes of other modules (OPT hands
`self.dropout` to the function), and in the config, which is read in every forward (Falcon, Persimmon).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from burnish.models.states import patched
from burnish.models.tiers import attention_layers, configs

Rate = tuple[Any, str, float]
"""Whose it is, its name there, and the rate."""

DROPOUT_MODULE = nn.modules.dropout._DropoutNd


def noise(model: nn.Module) -> list[Rate]:
    """All rates above 0 of dropout, of dropped layers and of router jitter."""
    return [
        (owner, name, value)
        for owner in [*model.modules(), *configs(model)]
        for name, value in vars(owner).items()
        if isinstance(value, float) and value > 0 and _is_rate(owner, name)
    ]


def _is_rate(owner: Any, name: str) -> bool:
    return "drop" in name or "jitter" in name or (isinstance(owner, DROPOUT_MODULE) and name == "p")


def attention_dropout(model: nn.Module) -> list[Rate]:
    """The rates above 0 at which attention weights are dropped, where transformers' interface is asked."""
    found: list[Rate] = []
    for layer in attention_layers(model):
        own: list[Rate] = [(layer, name, rate) for name, rate in vars(layer).items() if "drop" in name]
        config = getattr(layer, "config", None)
        if not own and config is not None:
            own = [
                (config, name, rate)
                for name, rate in vars(config).items()
                if "drop" in name and "att" in name
            ]
        own += [
            (child, "p", child.p)
            for name, child in layer.named_children()
            if isinstance(child, nn.Dropout) and not name.startswith("resid")
        ]
        found += [rate for rate in own if isinstance(rate[2], float) and rate[2] > 0]
    return found


@contextmanager
def without(rates: list[Rate]) -> Iterator[None]:
    """Within this context the rates are 0."""
    with patched([(owner, name, 0.0) for owner, name, _ in rates]):
        yield


class Silenced:
    """Rates that are 0 from now on, until `remove()`."""

    def __init__(self, rates: list[Rate]) -> None:
        self.rates = rates
        self.silence()

    def silence(self) -> None:
        for owner, name, _ in self.rates:
            setattr(owner, name, 0.0)

    def remove(self) -> None:
        for owner, name, rate in self.rates:
            setattr(owner, name, rate)
