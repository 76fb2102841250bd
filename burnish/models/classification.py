"""What the classification head of a model says at chosen tokens of a forest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.forward import Hidden

HEADS = ("score", "classifier")
"""Names that Transformers gives to a classification head."""


def classification_head(model: Any) -> nn.Module | None:
    """The layer that turns a hidden state into classes; None if the model has none."""
    heads = (getattr(model, name, None) for name in HEADS)
    return next((head for head in heads if isinstance(head, nn.Module)), None)


def trained_logits(model: nn.Module, forest: Forest) -> Tensor:  # float[N, K]
    """What the head says at every trained token itself, in their order; N may count roots too."""
    return model(forest=forest, read=read_trained)


def read_trained(model: Any, hidden: Hidden) -> Tensor:
    """The reader behind `trained_logits`; float32, whatever the model computes in."""
    states = hidden.states[hidden.forest.trained]
    if isinstance(dropout := getattr(model, "dropout", None), nn.Module):
        states = dropout(states)
    head: Any = classification_head(model)
    logits = head(states)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
