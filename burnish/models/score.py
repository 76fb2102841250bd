"""`score`: per-token log-probabilities at the trained positions, and nothing else.

The vocabulary projection runs in tiles (`tiles.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.forward import Hidden
from burnish.models.head import Head, language_head
from burnish.models.tiles import Tile, accurate, read_tiles


@dataclass(frozen=True)
class Scores:
    """Per trained token, in the order of `Forest.target`."""

    logprob: Tensor  # float[N]
    details: Details | None = None
    prompt: Tensor | None = None  # float[M]: of prompt tokens, where they were asked for


@dataclass(frozen=True)
class Details:
    """What metrics want to know of the distribution at a trained token; without gradient."""

    entropy: Tensor  # float[N], in nats
    top: Tensor  # int[N]: the most likely token
    mean_logit: Tensor  # float[N]: mean of the logits over the vocabulary
    log_sum_squares: Tensor  # float[N]: log Σ p² over the vocabulary

    @staticmethod
    def empty(count: int, like: Tensor) -> Details:
        top = like.new_empty(count, dtype=torch.long)
        return Details(like.new_empty(count), top, like.new_empty(count), like.new_empty(count))

    def first(self, count: int) -> Details:
        return Details(*(getattr(self, f.name)[:count] for f in fields(self)))

    def fill(self, part: slice, tile: Tile) -> None:
        probabilities = tile.logprobs.exp()
        self.log_sum_squares[part] = probabilities.square().sum(-1).log()
        self.entropy[part] = -(probabilities.mul_(tile.logprobs)).sum(-1)
        self.top[part] = tile.logprobs.argmax(-1)
        self.mean_logit[part] = tile.logprobs.mean(-1) + tile.normalizer


def score(
    model: nn.Module,
    forest: Forest,
    *,
    details: bool = False,
    uniform: bool = False,
    prompts_of: Tensor | None = None,
) -> Scores:
    """Log-probabilities of the trained tokens of `forest` under `model` (see `forward.attach`).

    `details` adds entropy, top-1 tokens and mean logits. `uniform` says that the objective will weigh
    every token alike, as a plain likelihood does: the head's weight gradient is then taken in the
    forward, which saves making the logits twice. If the objective does not, nothing goes wrong: the
    backward sees it and makes the tiles again. `prompts_of`, bool[B], asks for the prompt tokens above these
    branches too, of which there is to be one in a tree.
    """
    read = partial(read_scores, details=details, uniform=uniform, prompts_of=prompts_of)
    return model(forest=forest, read=read)


def leaf_rewards(model: nn.Module, forest: Forest) -> Tensor:  # float[B, K]
    """What the classification head of a reward model says at the last token of every branch."""
    return model(forest=forest, read=read_leaves)


def read_scores(
    model: nn.Module,
    hidden: Hidden,
    details: bool = False,
    uniform: bool = False,
    prompts_of: Tensor | None = None,
) -> Scores:
    """The reader behind `score`."""
    forest = hidden.forest
    scored = forest.target if prompts_of is None else torch.cat([forest.target, forest.above(prompts_of)])
    states = hidden.states[forest.parent[scored]]
    found = head_scores(states, forest.tokens[scored], language_head(model), details, uniform)
    if prompts_of is None:
        return found
    count = len(forest.target)
    own = found.details.first(count) if found.details else None
    return Scores(found.logprob[:count], own, found.logprob[count:])


def read_leaves(model: nn.Module, hidden: Hidden) -> Tensor:
    """The reader behind `leaf_rewards`; float32, whatever the model computes in."""
    head: Any = model.score
    rewards = head(hidden.states[hidden.forest.leaf])
    return rewards.to(torch.promote_types(rewards.dtype, torch.float32))


def head_scores(
    states: Tensor, tokens: Tensor, head: Head, details: bool = False, uniform: bool = False
) -> Scores:
    """float[N, D] hidden states and int[N] next tokens -> Scores."""
    found = Details.empty(len(tokens), states.new_empty(0, dtype=accurate(states))) if details else None
    watch = found.fill if found is not None else None
    return Scores(read_tiles(states, head, partial(_of_tokens, tokens), uniform=uniform, watch=watch), found)


def _of_tokens(tokens: Tensor, part: slice, tile: Tile, differentiate: bool) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of the tokens, and their gradient by the logits: `onehot - p`."""
    own = tokens[part, None]
    logprob = tile.logprobs.gather(1, own)[:, 0]
    if not differentiate:
        return logprob, None
    gradient = tile.logprobs.exp_().neg_()
    return logprob, gradient.scatter_add_(1, own, torch.ones_like(logprob)[:, None])
