"""CUDA: a forest through torch's variable-length flash attention.

The kernel knows sequences, not trees, so a forest takes several calls: one in which every segment is a
causal sequence of its own, and one for each level of the trees in which the tokens below a segment all
see the whole of it. Their outputs are merged by log-sum-exp. Given the merged output and log-sum-exp the
kernel's own backward is exact for each part, since `dS = P * (dP - rowsum(dO * O))` needs nothing else
(the identity that ring attention rests on, arXiv:2310.01889).

Shapes: T tokens, H query heads, H_kv key heads, q and k rows taking part in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from burnish.data.forest import Forest, Segment
from burnish.models.attention.dense import Rules


class Part(NamedTuple):
    """One call: sequences of queries, each with its own keys."""

    queries: Tensor | None  # int[q], the rows taken; None for all of them
    keys: Tensor | None  # int[k]
    query_offsets: Tensor  # int32[sequences + 1]
    key_offsets: Tensor  # int32[sequences + 1]
    longest_query: int
    longest_key: int
    causal: bool
    window: int | None


class Kernels(NamedTuple):
    """What runs a part. Replaced in tests, where there is no GPU."""

    forward: Callable[
        ..., tuple[Tensor, Tensor]
    ]  # query, key, value, part, scaling -> output, lse float[H, q]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]  # gradient and the above -> of query, key, value


def serves(query: Tensor, value: Tensor, forest: Forest, rules: Rules) -> bool:
    """Whether the kernel can express this layer on this forest."""
    dimension = query.shape[-1]
    return (
        query.dtype in (torch.float16, torch.bfloat16)
        and value.shape[-1] == dimension
        and dimension <= 256
        and dimension % 8 == 0
        and rules.softcap is None
        and rules.sinks is None
        and rules.bias is None
        and _window_stays_in_segments(forest, rules.window)
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _window_stays_in_segments(forest: Forest, window: int | None) -> bool:
    """The kernel counts a window from the ends of two sequences, so it fits a segment, but not a prefix."""
    return _reaches_all(forest, window) or all(segment.parent < 0 for segment in forest.segments)


def _reaches_all(forest: Forest, window: int | None) -> bool:
    return window is None or all(segment.depth + segment.length <= window for segment in forest.segments)


def parts(forest: Forest, window: int | None) -> list[Part]:
    """The calls for a forest; kept on it, since every layer and pass makes the same ones."""
    key = ("varlen", window)
    if key not in forest.plans:
        limit = None if _reaches_all(forest, window) else window
        device = forest.tokens.device
        whole = [range(segment.start, segment.stop) for segment in forest.segments]
        own = _part([(rows, rows) for rows in whole], device, causal=True, window=limit)
        above = [_part(level, device, causal=False, window=None) for level in _levels(forest)]
        forest.plans[key] = [own._replace(queries=None, keys=None), *above]
    return forest.plans[key]


def _levels(forest: Forest) -> list[list[tuple[list[int], range]]]:
    """Per level of the trees: the segments that have others below them, with all tokens below."""
    below: dict[Segment, list[int]] = {}
    for segment in forest.segments:
        for above in forest.path(segment)[:-1]:
            below.setdefault(above, []).extend(range(segment.start, segment.stop))
    levels: dict[int, list[tuple[list[int], range]]] = {}
    for segment, rows in below.items():
        level = len(forest.path(segment))
        levels.setdefault(level, []).append((rows, range(segment.start, segment.stop)))
    return [levels[level] for level in sorted(levels)]


def _part(
    sequences: list[tuple[Any, range]], device: torch.device, *, causal: bool, window: int | None
) -> Part:
    def integers(values: Any, dtype: torch.dtype) -> Tensor:
        return torch.tensor(list(values), dtype=dtype, device=device)

    query_lengths = [len(queries) for queries, _ in sequences]
    key_lengths = [len(keys) for _, keys in sequences]
    return Part(
        queries=integers((i for queries, _ in sequences for i in queries), torch.long),
        keys=integers((i for _, keys in sequences for i in keys), torch.long),
        query_offsets=integers(accumulate(query_lengths, initial=0), torch.int32),
        key_offsets=integers(accumulate(key_lengths, initial=0), torch.int32),
        longest_query=max(query_lengths),
        longest_key=max(key_lengths),
        causal=causal,
        window=window,
    )


def _flash_forward(
    query: Tensor, key: Tensor, value: Tensor, part: Part, scaling: float
) -> tuple[Tensor, Tensor]:
    output, lse, *_ = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        part.query_offsets,
        part.key_offsets,
        part.longest_query,
        part.longest_key,
        0.0,
        part.causal and part.window is None,
        False,
        scale=scaling,
        **_flash_window(part),
    )
    return output, lse


def _flash_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    part: Part,
    scaling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten._flash_attention_backward(
        grad,
        query,
        key,
        value,
        output,
        lse,
        part.query_offsets,
        part.key_offsets,
        part.longest_query,
        part.longest_key,
        0.0,
        part.causal and part.window is None,
        torch.zeros(2, dtype=torch.uint64, device=query.device),  # the state of a dropout that is off
        torch.empty(0, device=query.device),
        scale=scaling,
        **_flash_window(part),
    )


def _flash_window(part: Part) -> dict[str, int]:
    """The kernel's `causal` excludes a window; a causal window is one that ends at the query."""
    left, right = (-1, -1) if part.window is None else (part.window - 1, 0)
    return {"window_size_left": left, "window_size_right": right}


FLASH = Kernels(_flash_forward, _flash_backward)


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, forest: Forest, rules: Rules, kernels: Kernels = FLASH
) -> Tensor:
    """float[1, H, T, D], float[1, H_kv, T, D], float[1, H_kv, T, D] -> float[1, T, H, D]."""
    packed = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]  # [T, heads, D]
    calls = parts(forest, rules.window)
    return _VarlenAttention.apply(*packed, calls, rules.scaling, kernels)[None]


class _VarlenAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        calls: list[Part],
        scaling: float,
        kernels: Kernels,
    ) -> Tensor:
        own, *above = calls
        output, lse = kernels.forward(query, key, value, own, scaling)
        total = torch.promote_types(query.dtype, torch.float32)
        output = output.to(total)
        for part in above:
            keys, values = key[part.keys], value[part.keys]
            seen, seen_lse = kernels.forward(query[part.queries], keys, values, part, scaling)
            before = lse[:, part.queries]
            merged = torch.logaddexp(before, seen_lse)
            output[part.queries] *= (before - merged).exp().t().unsqueeze(-1).to(total)
            output[part.queries] += (seen_lse - merged).exp().t().unsqueeze(-1).to(total) * seen
            lse[:, part.queries] = merged
        output = output.to(query.dtype)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.calls, ctx.scaling, ctx.kernels = calls, scaling, kernels
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse = ctx.saved_tensors
        own, *above = ctx.calls
        grad = grad.contiguous()
        total = torch.promote_types(query.dtype, torch.float32)
        first = ctx.kernels.backward(grad, query, key, value, output, lse, own, ctx.scaling)
        grad_query, grad_key, grad_value = (part_grad.to(total) for part_grad in first)
        for part in above:
            rows, keys = part.queries, part.keys
            by_query, by_key, by_value = ctx.kernels.backward(
                grad[rows],
                query[rows],
                key[keys],
                value[keys],
                output[rows],
                lse[:, rows].contiguous(),
                part,
                ctx.scaling,
            )
            # Within one part every row and every key occurs once, so these are plain sums, in a fixed order.
            grad_query[rows] += by_query
            grad_key[keys] += by_key
            grad_value[keys] += by_value
        return (
            grad_query.to(query.dtype),
            grad_key.to(key.dtype),
            grad_value.to(value.dtype),
            None,
            None,
            None,
        )
