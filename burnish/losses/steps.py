"""The loss of process reward models: is a step right? Pure functions of two logits a step: -> float[N].

Shapes: N judged steps; logits float[N, 2] of wrong and right; labels float[N], the probability of right.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric


def step_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """-label log p(right) - (1 - label) log p(wrong).

    Process supervision, arXiv:2305.20050; with a probability for a label, as rollouts estimate it,
    arXiv:2312.08935.

    Use for solutions whose steps were judged one by one.
    """
    wrong, right = F.log_softmax(logits, -1).unbind(-1)
    return -label * right - (1 - label) * wrong


def step_metrics(logits: Tensor, label: Tensor) -> dict[str, Metric]:
    """How many steps are judged as their labels say, of all, of the right ones, and of the wrong ones."""
    said, right = logits.detach()[:, 1] > logits.detach()[:, 0], label > 0.5
    hits = (said == right).to(logits.dtype)
    return {
        "accuracy": Mean.of(hits),
        "accuracy/right": Mean.of(hits, right),
        "accuracy/wrong": Mean.of(hits, ~right),
    }
