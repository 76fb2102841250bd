"""`score`: per-token log-probabilities at the trained positions, and nothing else.

The vocabulary projection runs in tiles. A tile's logits live only long enough to give the
log-probabilities and, in the same pass, their gradient with respect to the hidden states; the full
logits of a batch never exist. The log-softmax is float32 (float64 for float64 models).

With `d logits = g (onehot - p)`, where g is the gradient that reaches a token's log-probability:

    d states = g · U,  U = (onehot - p) @ weight         U needs no g: taken in the forward
    d weight = ((onehot - p) · g)ᵀ @ states              needs g: tiles are made again in the backward,
                                                         but for the last one, which is kept; and none,
                                                         if g is the same for every token
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from burnish.data.forest import Forest
from burnish.models.forward import Hidden
from burnish.models.head import Head, language_head

TILE_ELEMENTS = 2**25
"""Logits that exist at one time: 32 million, 128 MB in float32. Larger tiles are hardly faster."""

SOFTMAX_ROWS = 32
"""Rows whose log-softmax is taken at a time, in place of their logits: a second tile is never needed."""


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

    def fill(self, part: slice, tile: _Tile) -> None:
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
    rules = Rules(head.scale, head.softcap, uniform, torch.is_grad_enabled())
    found = Details.empty(len(tokens), states.new_empty(0, dtype=_accurate(states))) if details else None
    return Scores(_HeadScores.apply(states, head.weight, head.bias, tokens, rules, found), found)


def _accurate(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class Rules(NamedTuple):
    scale: float
    softcap: float | None
    uniform: bool
    differentiate: bool


class _Tile(NamedTuple):
    logprobs: Tensor  # float[n, V]
    normalizer: Tensor  # float[n]: log-sum-exp of the logits
    slope: Tensor | None  # float[n, V]: d logits / d (states @ weight.T + bias); None where it is 1


def _tile_rows(count: int, vocabulary: int) -> int:
    """Rows of a tile, so that all tiles of `count` rows are about the same size."""
    tiles = -(-count * vocabulary // TILE_ELEMENTS)
    return max(1, -(-count // max(1, tiles)))


def _tile(states: Tensor, weight: Tensor, bias: Tensor | None, rules: Rules) -> _Tile:
    logits = states @ weight.T if bias is None else torch.addmm(bias, states, weight.T)
    logits = logits.to(_accurate(logits))
    if rules.scale != 1.0:
        logits = logits * rules.scale
    slope = None
    if rules.softcap is not None:
        bent = torch.tanh(logits / rules.softcap)
        logits, slope = rules.softcap * bent, 1 - bent.square()
    first = logits[:, 0].clone()
    for rows in logits.split(SOFTMAX_ROWS):
        rows.copy_(torch.log_softmax(rows, -1))
    return _Tile(logits, first - logits[:, 0], slope)


def _logit_gradient(tile: _Tile, tokens: Tensor, rules: Rules) -> Tensor:  # float[n, V]
    """`(onehot - p)` carried back through soft-cap and scale. Uses up the tile's log-probabilities."""
    gradient = tile.logprobs.exp_().neg_()
    gradient.scatter_add_(1, tokens[:, None], torch.ones_like(gradient[:, :1]))
    if tile.slope is not None:
        gradient *= tile.slope
    if rules.scale != 1.0:
        gradient *= rules.scale
    return gradient


class _WeightGradient:
    """Adds up `gradientᵀ @ states` over tiles, in at least float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.accurate = _accurate(weight)
        self.weight: Tensor | None = None
        self.bias = None if bias is None else torch.zeros_like(bias, dtype=self.accurate)

    def add(self, gradient: Tensor, states: Tensor) -> None:
        part = gradient.to(states.dtype).T @ states
        self.weight = part.to(self.accurate) if self.weight is None else self.weight.add_(part)
        if self.bias is not None:
            self.bias += gradient.sum(0)


class _HeadScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        rules: Rules,
        details: Details | None,
    ) -> Tensor:
        needs_states, needs_weight, needs_bias = (n and rules.differentiate for n in ctx.needs_input_grad[:3])
        rows = _tile_rows(len(tokens), weight.shape[0])
        logprob = states.new_empty(len(tokens), dtype=_accurate(states))
        directions = torch.empty_like(states) if needs_states else None  # U
        ahead = _WeightGradient(weight, bias) if rules.uniform and (needs_weight or needs_bias) else None
        for start in range(0, len(tokens), rows):
            part = slice(start, start + rows)
            tile = _tile(states[part], weight, bias, rules)
            logprob[part] = tile.logprobs.gather(1, tokens[part, None])[:, 0]
            if details is not None:
                details.fill(part, tile)
            if directions is not None or needs_weight or needs_bias:
                gradient = _logit_gradient(tile, tokens[part], rules)
                if directions is not None:
                    directions[part] = gradient.to(weight.dtype) @ weight
                if ahead is not None:
                    ahead.add(gradient, states[part])
        trained = needs_weight or needs_bias
        again = (weight, bias, states) if trained else (None, None, None)
        kept = gradient.to(weight.dtype) if trained and ahead is None and len(tokens) else None
        taken = (ahead.weight, ahead.bias) if ahead else (None, None)
        ctx.save_for_backward(directions, tokens, *again, *taken, kept)
        ctx.rules, ctx.rows = rules, rows
        return logprob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        directions, tokens, weight, bias, states, ahead_weight, ahead_bias, kept = ctx.saved_tensors
        states_gradient = None if directions is None else directions * upstream[:, None].to(directions.dtype)
        if weight is None or not len(tokens):
            return states_gradient, None, None, None, None, None
        if ahead_weight is not None and bool((upstream == upstream[0]).all()):
            total = _WeightGradient(weight, None)
            # In place: the head of a small model is a good part of it. A second backward raises.
            total.weight = ahead_weight.mul_(upstream[0])
            total.bias = None if ahead_bias is None else ahead_bias.mul_(upstream[0])
        else:
            total = _remake(ctx, upstream, weight, bias, tokens, states, kept)
        return states_gradient, total.weight, total.bias, None, None, None


def _remake(
    ctx: Any,
    upstream: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tokens: Tensor,
    states: Tensor,
    kept: Tensor | None,
) -> _WeightGradient:
    """The weight's gradient for any `upstream`, making every tile once more but the last, if it was kept."""
    total = _WeightGradient(weight, bias)
    for start in range(0, len(tokens), ctx.rows):
        part = slice(start, start + ctx.rows)
        if kept is not None and start + ctx.rows >= len(tokens):
            gradient = kept.to(upstream.dtype)
        else:
            gradient = _logit_gradient(_tile(states[part], weight, bias, ctx.rules), tokens[part], ctx.rules)
        total.add(gradient * upstream[part, None], states[part])
    return total
