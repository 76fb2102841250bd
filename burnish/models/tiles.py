"""Logits in tiles: what an objective reads off the vocabulary of trained tokens, with its own backward.

A tile's logits live only long enough to give a value for each of its tokens and, in the same pass, the
gradient of these values with respect to the hidden states; the full logits of a batch never exist. The
log-softmax is float32 (float64 for float64 models).

With G the gradient of a token's value with respect to the logits, and g what reaches that value:

    d states = g · U,  U = G @ weight         U needs no g: taken in the forward
    d weight = (G · g)ᵀ @ states              needs g: tiles are made again in the backward,
                                              but for the last one, which is kept; and none,
                                              if g is the same for every token
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from burnish.models.head import Head

TILE_ELEMENTS = 2**25
"""Logits that exist at one time: 32 million, 128 MB in float32. Larger tiles are hardly faster."""

SOFTMAX_ROWS = 32
"""Rows whose log-softmax is taken at a time, in place of their logits: a second tile is never needed."""


class Tile(NamedTuple):
    logprobs: Tensor  # float[n, V]
    normalizer: Tensor  # float[n]: log-sum-exp of the logits
    slope: Tensor | None  # float[n, V]: d logits / d (states @ weight.T + bias); None where it is 1


class Reading(Protocol):
    """What is made of the tile of the tokens `part`."""

    def __call__(self, part: slice, tile: Tile, differentiate: bool) -> tuple[Tensor, Tensor | None]:
        """Values, float[n], and their gradient by the logits, float[n, V], where asked for.

        May use up the tile's log-probabilities.
        """


def read_tiles(
    states: Tensor,
    head: Head,
    read: Reading,
    *,
    uniform: bool = False,
    watch: Callable[[slice, Tile], None] | None = None,
    logits_per_token: int = 0,
) -> Tensor:  # float[N]
    """What `read` makes of the logits of float[N, D] hidden states, with gradient for states and head.

    `uniform` says that every value will be weighed alike, which saves making the tiles twice; nothing goes
    wrong if they are not. `watch` is shown every tile once. `logits_per_token`: those that exist at one time,
    if `read` makes more than the vocabulary's.
    """
    rows = tile_rows(len(states), logits_per_token or head.weight.shape[0])
    plan = _Plan(read, watch, rows, head.scale, head.softcap, uniform, torch.is_grad_enabled())
    return _ReadTiles.apply(states, head.weight, head.bias, plan)


def tile_rows(count: int, vocabulary: int) -> int:
    """Rows of a tile, so that all tiles of `count` rows are about the same size."""
    tiles = -(-count * vocabulary // TILE_ELEMENTS)
    return max(1, -(-count // max(1, tiles)))


def make_tile(states: Tensor, head: Head) -> Tile:
    logits = states @ head.weight.T if head.bias is None else torch.addmm(head.bias, states, head.weight.T)
    logits = logits.to(accurate(logits))
    if head.scale != 1.0:
        logits = logits * head.scale
    slope = None
    if head.softcap is not None:
        bent = torch.tanh(logits / head.softcap)
        logits, slope = head.softcap * bent, 1 - bent.square()
    first = logits[:, 0].clone()
    for rows in logits.split(SOFTMAX_ROWS):
        rows.copy_(torch.log_softmax(rows, -1))
    return Tile(logits, first - logits[:, 0], slope)


def accurate(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class _Plan(NamedTuple):
    read: Reading
    watch: Callable[[slice, Tile], None] | None
    rows: int  # of a tile
    scale: float
    softcap: float | None
    uniform: bool
    differentiate: bool

    def tile(self, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tile:
        return make_tile(states, Head(weight, bias, self.scale, self.softcap))

    def before_head(self, gradient: Tensor, tile: Tile) -> Tensor:  # float[n, V]
        """A gradient by the logits carried back through soft-cap and scale, in place."""
        if tile.slope is not None:
            gradient *= tile.slope
        if self.scale != 1.0:
            gradient *= self.scale
        return gradient

    def gradient(self, part: slice, tile: Tile) -> Tensor:
        _, gradient = self.read(part, tile, True)
        assert gradient is not None
        return self.before_head(gradient, tile)


class _WeightGradient:
    """Adds up `gradientᵀ @ states` over tiles, in at least float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.accurate = accurate(weight)
        self.weight: Tensor | None = None
        self.bias = None if bias is None else torch.zeros_like(bias, dtype=self.accurate)

    def add(self, gradient: Tensor, states: Tensor) -> None:
        part = gradient.to(states.dtype).T @ states
        self.weight = part.to(self.accurate) if self.weight is None else self.weight.add_(part)
        if self.bias is not None:
            self.bias += gradient.sum(0)


class _ReadTiles(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, plan: _Plan) -> Tensor:
        needs_states, needs_weight, needs_bias = (n and plan.differentiate for n in ctx.needs_input_grad[:3])
        trained = needs_weight or needs_bias
        count = len(states)
        values = states.new_empty(count, dtype=accurate(states))
        directions = torch.empty_like(states) if needs_states else None  # U
        ahead = _WeightGradient(weight, bias) if plan.uniform and trained else None
        for start in range(0, count, plan.rows):
            part = slice(start, start + plan.rows)
            tile = plan.tile(states[part], weight, bias)
            if plan.watch is not None:
                plan.watch(part, tile)
            values[part], gradient = plan.read(part, tile, needs_states or trained)
            if gradient is not None:
                gradient = plan.before_head(gradient, tile)
                if directions is not None:
                    directions[part] = gradient.to(weight.dtype) @ weight
                if ahead is not None:
                    ahead.add(gradient, states[part])
        again = (weight, bias, states) if trained else (None, None, None)
        keeps = trained and ahead is None and count
        kept = gradient.to(weight.dtype) if keeps and gradient is not None else None
        taken = (ahead.weight, ahead.bias) if ahead else (None, None)
        ctx.save_for_backward(directions, *again, *taken, kept)
        ctx.plan, ctx.count = plan, count
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        directions, weight, bias, states, ahead_weight, ahead_bias, kept = ctx.saved_tensors
        states_gradient = None if directions is None else directions * upstream[:, None].to(directions.dtype)
        if weight is None or not ctx.count:
            return states_gradient, None, None, None
        if ahead_weight is not None and bool((upstream == upstream[0]).all()):
            total = _WeightGradient(weight, None)
            # In place: the head of a small model is a good part of it. A second backward raises.
            total.weight = ahead_weight.mul_(upstream[0])
            total.bias = None if ahead_bias is None else ahead_bias.mul_(upstream[0])
        else:
            total = _remake(ctx.plan, upstream, weight, bias, states, kept)
        return states_gradient, total.weight, total.bias, None


def _remake(
    plan: _Plan, upstream: Tensor, weight: Tensor, bias: Tensor | None, states: Tensor, kept: Tensor | None
) -> _WeightGradient:
    """The weight's gradient for any `upstream`, making every tile once more but the last, if it was kept."""
    total = _WeightGradient(weight, bias)
    for start in range(0, len(states), plan.rows):
        part = slice(start, start + plan.rows)
        if kept is not None and start + plan.rows >= len(states):
            gradient = kept.to(upstream.dtype)
        else:
            gradient = plan.gradient(part, plan.tile(states[part], weight, bias))
        total.add(gradient * upstream[part, None], states[part])
    return total
