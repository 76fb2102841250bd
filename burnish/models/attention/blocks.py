"""Attention block by block, as `plan.py` cuts the forest; no masked product over the whole forest.

Every block holds whole rows, so each is a plain softmax attention with a small mask, and the backward
pass computes it again from queries and keys: beside its inputs and its output nothing is kept.

Heads that share keys are rows of one product (rows of a block times G heads), so keys and values are
never repeated. Products run in the dtype of the model, with float32 sums inside; the softmax works in
float32 (float64 for float64) inside its kernel; gradients of keys and values, which several blocks add
to, are summed in float32.

Shapes: T tokens, H heads, H_kv of them with keys of their own, G = H / H_kv, R = rows of a block x G.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from burnish.data.forest import Forest
from burnish.models.attention.dense import Rules
from burnish.models.attention.plan import Block, Plan


def block_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, rules: Rules) -> Tensor:
    """float[1, H, T, D], float[1, H_kv, T, D], float[1, H_kv, T, D_v] -> float[1, T, H, D_v]."""
    plan = Plan.of(forest, rules.window)
    return _BlockAttention.apply(query, key, value, rules.sinks, plan, rules)


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, plan: Plan, rules: Rules
    ) -> Tensor:
        query_T = query[0].transpose(0, 1).unflatten(1, (key.shape[1], -1))  # [T, H_kv, G, D]
        key_T, value_T = key[0], value[0]  # [H_kv, T, D]
        output = query.new_empty(*query_T.shape[:3], value.shape[-1])
        for block, bias in zip(plan.blocks, plan.biases(query), strict=True):
            logits, _ = _logits(_fold(query_T, block), _take(key_T, block), block, bias, rules)
            weights = _softmax(logits, sinks).to(key.dtype)[..., : logits.shape[-1]]
            _unfold(output, block, torch.bmm(weights, _take(value_T, block)))
        ctx.save_for_backward(query, key, value, sinks)
        ctx.plan, ctx.rules = plan, rules
        return output.flatten(1, 2)[None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, sinks = ctx.saved_tensors
        heads = key.shape[1]
        total = torch.promote_types(query.dtype, torch.float32)
        inputs = _Inputs(query[0].transpose(0, 1).unflatten(1, (heads, -1)), key[0], value[0], sinks)
        grads = _Gradients(
            output=grad_output[0].unflatten(1, (heads, -1)),
            query=query.new_empty(inputs.query.shape),
            key=key.new_zeros(key.shape[1:], dtype=total),
            value=value.new_zeros(value.shape[1:], dtype=total),
            sinks=None if sinks is None else sinks.new_zeros(sinks.shape, dtype=total),
        )
        for block, bias in zip(ctx.plan.blocks, ctx.plan.biases(query), strict=True):
            _block_backward(inputs, block, bias, ctx.rules, grads)
        return (
            grads.query.mul_(ctx.rules.scaling).flatten(1, 2).transpose(0, 1)[None],
            grads.key.mul_(ctx.rules.scaling).to(key.dtype)[None],
            grads.value.to(value.dtype)[None],
            None if sinks is None or grads.sinks is None else grads.sinks.to(sinks.dtype),
            None,
            None,
        )


class _Inputs(NamedTuple):
    query: Tensor  # float[T, H_kv, G, D]
    key: Tensor  # float[H_kv, T, D]
    value: Tensor  # float[H_kv, T, D_v]
    sinks: Tensor | None  # float[H]


class _Gradients(NamedTuple):
    output: Tensor  # float[T, H_kv, G, D_v], given; the rest is filled block by block
    query: Tensor  # float[T, H_kv, G, D]
    key: Tensor  # float[H_kv, T, D]
    value: Tensor  # float[H_kv, T, D_v]
    sinks: Tensor | None  # float[H]


def _block_backward(inputs: _Inputs, block: Block, bias: Tensor, rules: Rules, grads: _Gradients) -> None:
    query, key, value = _fold(inputs.query, block), _take(inputs.key, block), _take(inputs.value, block)
    outer = _fold(grads.output, block)
    logits, capped = _logits(query, key, block, bias, rules)
    seen = logits.shape[-1]
    weights = _softmax(logits, inputs.sinks)
    _add(grads.value, block, torch.bmm(weights.to(key.dtype)[..., :seen].mT, outer))
    grad = torch.bmm(outer, value.mT).to(weights.dtype)
    if inputs.sinks is not None:
        grad = torch.nn.functional.pad(grad, (0, 1))  # a sink has no value
    grad = torch._softmax_backward_data(grad, weights, -1, weights.dtype)
    if grads.sinks is not None:
        per_row = grad[..., seen].unflatten(1, (-1, inputs.query.shape[2]))  # [H_kv, rows, G]
        grads.sinks.add_(per_row.sum(1, dtype=grads.sinks.dtype).flatten())
        grad = grad[..., :seen]
    if capped is not None:
        grad = torch.ops.aten.tanh_backward(grad, capped)
    grad = grad.to(key.dtype)
    _unfold(grads.query, block, torch.bmm(grad, key))
    _add(grads.key, block, torch.bmm(grad.mT, query))


def _logits(
    query: Tensor, key: Tensor, block: Block, bias: Tensor, rules: Rules
) -> tuple[Tensor, Tensor | None]:  # float[H_kv, R, keys]
    """Logits of a block, -inf where hidden; and their tanh, where they are soft-capped (then float32)."""
    scale = rules.scaling if rules.softcap is None else rules.scaling / rules.softcap
    logits = torch.baddbmm(query.new_empty(1, 1, 1), query, key.mT, beta=0, alpha=scale)
    capped = None
    if rules.softcap is not None:
        capped = logits.to(torch.promote_types(logits.dtype, torch.float32)).tanh()
        logits = capped * rules.softcap
    if bias.numel():
        logits.unflatten(1, (bias.shape[0], -1))[..., slice(*block.columns)].add_(bias)
    return logits, capped


def _softmax(logits: Tensor, sinks: Tensor | None) -> Tensor:  # float[H_kv, R, keys], with sinks keys + 1
    if sinks is None:
        return logits.softmax(-1)
    heads, rows, _ = logits.shape
    logits = logits.to(
        torch.promote_types(logits.dtype, torch.float32)
    )  # as their gradient sums over all rows
    sink = sinks.to(logits.dtype).view(heads, 1, -1).expand(heads, rows * heads // sinks.numel(), -1)
    return torch.cat([logits, sink.reshape(heads, rows, 1)], -1).softmax(-1)


def _take(tensor: Tensor, block: Block) -> Tensor:  # float[H_kv, T, D] -> float[H_kv, keys, D]
    parts = [tensor[:, start:stop] for start, stop in block.keys]
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts, 1)


def _add(total: Tensor, block: Block, part: Tensor) -> None:
    """The transpose of `_take`."""
    done = 0
    for start, stop in block.keys:
        total[:, start:stop] += part[:, done : done + stop - start]
        done += stop - start


def _fold(tensor: Tensor, block: Block) -> Tensor:  # float[T, H_kv, G, D] -> float[H_kv, R, D]
    return tensor[slice(*block.rows)].transpose(0, 1).flatten(1, 2).contiguous()


def _unfold(tensor: Tensor, block: Block, part: Tensor) -> None:
    """The transpose of `_fold`."""
    rows = tensor[slice(*block.rows)]
    rows.transpose(0, 1).copy_(part.unflatten(1, (rows.shape[0], -1)))
