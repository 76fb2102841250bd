"""Separate runs, through the model's own forward: what every way of running a forest must equal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from burnish.data.forest import Forest
from burnish.models.head import language_head


def separate_logits(model: Any, forest: Forest) -> Tensor:  # float[N, V]
    """Logits that predict the scored tokens, each branch alone."""
    apart = forest.unshared()
    rows = [model(apart.tokens[None, s.start : s.stop], use_cache=False).logits[0] for s in apart.segments]
    return torch.cat(rows)[apart.parent[apart.target]]


def forest_logits(model: Any, forest: Forest) -> Tensor:  # float[N, V]
    """The same from an attached model."""

    def read(inner: Any, hidden: Any) -> Tensor:
        ran = hidden.forest
        return language_head(inner).logits(hidden.states[ran.parent[ran.target]])

    return model(forest=forest, read=read)


def separate_loss(model: Any, forest: Forest) -> Tensor:
    return _loss(separate_logits(model, forest), forest)


def forest_loss(model: Any, forest: Forest) -> Tensor:
    return _loss(forest_logits(model, forest), forest)


def _loss(logits: Tensor, forest: Forest) -> Tensor:
    """Log-probabilities of the scored tokens, each with a weight of its own, so that none can stand in
    for another."""
    chosen = logits.log_softmax(-1).gather(1, forest.tokens[forest.target, None])[:, 0]
    return chosen @ torch.linspace(-1, 2, len(chosen), dtype=chosen.dtype)


def gradients(model: Any, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]
