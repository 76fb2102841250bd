"""`score`: per-token log-probabilities at the trained positions, and nothing else.

The vocabulary projection runs in tiles of `CHUNK` positions. Each tile's logits live only long
enough to give the log-probability and, in the same pass, the gradient of it; the full logits of a
batch never exist. The log-softmax is float32 (float64 for float64 models).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.forward import Hidden
from burnish.models.head import Head, language_head

CHUNK = 1024
"""Positions whose logits exist at one time. 1024 x 50k x float32 is 200 MB."""


@dataclass(frozen=True)
class Scores:
    """Per trained token, in the order of `Forest.target`."""

    logprob: Tensor  # float[N]
    entropy: Tensor | None = None  # float[N], in nats; no gradient
    hit: Tensor | None = None  # bool[N]: the token is the most likely one


def score(model: nn.Module, forest: Forest, *, details: bool = False) -> Scores:
    """Log-probabilities of the trained tokens of `forest` under `model`.

    `details` adds the entropy and top-1 hits, for metrics; they cost a pass over the logits.
    """
    return model(forest=forest, read=partial(read_scores, details=details))


def leaf_rewards(model: nn.Module, forest: Forest) -> Tensor:  # float[B, K]
    """The classification head of a reward model at the last token of every branch."""
    return model(forest=forest, read=read_leaves)


def read_scores(model: nn.Module, hidden: Hidden, details: bool = False) -> Scores:
    forest = hidden.forest
    states = hidden.states[forest.parent[forest.target]]
    return head_scores(states, forest.tokens[forest.target], language_head(model), details)


def read_leaves(model: nn.Module, hidden: Hidden) -> Tensor:
    head: Any = model.score
    return head(hidden.states[hidden.forest.leaf])


def head_scores(states: Tensor, tokens: Tensor, head: Head, details: bool = False) -> Scores:
    """float[N, D], int[N] -> Scores."""
    raise NotImplementedError
