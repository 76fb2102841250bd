"""CPU: attention block by block, as `plan.py` cuts the forest; no masked product over the whole forest.

Every block holds whole rows, so each is a plain softmax attention with a small mask, and the backward
pass computes it again from queries and keys: beside its inputs and its output nothing is kept.

Heads that share keys are rows of one product (rows of a block times G heads), so keys and values are
never repeated. Products run in the dtype of the model, with float32 sums inside; the softmax works in
float32 (float64 for float64) inside its kernel; gradients of keys and values, which several blocks add
to, are summed in float32.

Shapes: T tokens, H heads, H_kv of them with keys of their own, G = H / H_kv, R = rows of a block x G.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from burnish.data.forest import Forest
from burnish.models.attention.dense import Rules
from burnish.models.attention.plan import Block, Plan, Range


def block_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, rules: Rules) -> Tensor:
    """float[1, H, T, D], float[1, H_kv, T, D], float[1, H_kv, T, D_v] -> float[1, T, H, D_v]."""
    plan = Plan.of(forest, rules.window)
    return _BlockAttention.apply(query, key, value, rules.sinks, plan, rules)


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, plan: Plan, rules: Rules
    ) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        folded = _fold(query.transpose(1, 2), groups)
        key, value = key[0].contiguous(), value[0].contiguous()
        output = folded.new_empty(*folded.shape[:2], value.shape[-1])
        for block, bias in zip(plan.blocks, plan.biases(query.dtype), strict=True):
            rows = slice(block.rows[0] * groups, block.rows[1] * groups)
            logits, _ = _logits(folded[:, rows], _take(key, block.keys), block, bias, rules)
            weights = _softmax(logits, sinks)[..., : logits.shape[-1]]
            torch.bmm(weights, _take(value, block.keys), out=output[:, rows])
        ctx.save_for_backward(folded, key, value, sinks)
        ctx.plan, ctx.rules = plan, rules
        return _unfold(output, groups)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query, key, value, sinks = ctx.saved_tensors
        groups = query.shape[1] // key.shape[1]
        total = torch.promote_types(query.dtype, torch.float32)
        grads = _Gradients(
            output=_fold(grad_output, groups),
            query=torch.empty_like(query),
            key=torch.zeros_like(key, dtype=total),
            value=torch.zeros_like(value, dtype=total),
            sinks=None if sinks is None else torch.zeros(sinks.shape, dtype=total),
        )
        for block, bias in zip(ctx.plan.blocks, ctx.plan.biases(query.dtype), strict=True):
            _block_backward(query, key, value, sinks, block, bias, ctx.rules, grads)
        return (
            _unfold(grads.query.mul_(ctx.rules.scaling), groups).transpose(1, 2),
            grads.key.mul_(ctx.rules.scaling).to(key.dtype)[None],
            grads.value.to(value.dtype)[None],
            None if grads.sinks is None else grads.sinks.to(sinks.dtype),
            None,
            None,
        )


class _Gradients:
    """The incoming gradient, and the sums that blocks add to."""

    def __init__(self, output: Tensor, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None) -> None:
        self.output = output  # float[H_kv, T*G, D_v]
        self.query = query  # float[H_kv, T*G, D]
        self.key = key  # float[H_kv, T, D]
        self.value = value  # float[H_kv, T, D_v]
        self.sinks = sinks  # float[H]


def _block_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sinks: Tensor | None,
    block: Block,
    bias: Tensor,
    rules: Rules,
    grads: _Gradients,
) -> None:
    groups = query.shape[1] // key.shape[1]
    rows = slice(block.rows[0] * groups, block.rows[1] * groups)
    queries, keys, values = query[:, rows], _take(key, block.keys), _take(value, block.keys)
    logits, capped = _logits(queries, keys, block, bias, rules)
    seen = logits.shape[-1]
    weights = _softmax(logits, sinks)
    outer = grads.output[:, rows]
    _add(grads.value, block.keys, torch.bmm(weights[..., :seen].mT, outer))
    grad = torch.bmm(outer, values.mT)
    if sinks is not None:
        grad = torch.nn.functional.pad(grad, (0, 1))  # a sink has no value
    grad = torch._softmax_backward_data(grad, weights, -1, weights.dtype)
    if grads.sinks is not None:
        per_row = grad[..., seen].unflatten(1, (-1, groups))
        grads.sinks += per_row.sum(1, dtype=grads.sinks.dtype).flatten()
        grad = grad[..., :seen]
    if capped is not None:
        grad = torch.ops.aten.tanh_backward(grad, capped)
    torch.bmm(grad, keys, out=grads.query[:, rows])
    _add(grads.key, block.keys, torch.bmm(grad.mT, queries))


def _logits(
    query: Tensor, key: Tensor, block: Block, bias: Tensor, rules: Rules
) -> tuple[Tensor, Tensor | None]:  # float[H_kv, R, keys]
    """Logits of a block, -inf where hidden; and their tanh, where they are soft-capped."""
    scale = rules.scaling if rules.softcap is None else rules.scaling / rules.softcap
    logits = torch.baddbmm(query.new_empty(1, 1, 1), query, key.mT, beta=0, alpha=scale)
    capped = None
    if rules.softcap is not None:
        capped = logits.tanh_()
        logits = capped * rules.softcap
    if bias.numel():
        logits.unflatten(1, (bias.shape[0], -1))[..., slice(*block.columns)].add_(bias)
    return logits, capped


def _softmax(logits: Tensor, sinks: Tensor | None) -> Tensor:  # float[H_kv, R, keys], with sinks keys + 1
    if sinks is None:
        return logits.softmax(-1)
    heads, rows, _ = logits.shape
    sink = sinks.to(logits.dtype).view(heads, 1, -1).expand(heads, rows * heads // sinks.numel(), -1)
    return torch.cat([logits, sink.reshape(heads, rows, 1)], -1).softmax(-1)


def _take(tensor: Tensor, ranges: tuple[Range, ...]) -> Tensor:  # float[H_kv, T, D] -> float[H_kv, keys, D]
    parts = [tensor[:, start:stop] for start, stop in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _add(total: Tensor, ranges: tuple[Range, ...], part: Tensor) -> None:
    """The transpose of `_take`."""
    done = 0
    for start, stop in ranges:
        total[:, start:stop] += part[:, done : done + stop - start]
        done += stop - start


def _fold(tensor: Tensor, groups: int) -> Tensor:  # float[1, T, H, D] -> float[H_kv, T*G, D]
    return tensor[0].unflatten(1, (-1, groups)).transpose(0, 1).flatten(1, 2).contiguous()


def _unfold(tensor: Tensor, groups: int) -> Tensor:  # float[H_kv, T*G, D] -> float[1, T, H, D]
    return tensor.unflatten(1, (-1, groups)).transpose(0, 1).flatten(1, 2)[None]
