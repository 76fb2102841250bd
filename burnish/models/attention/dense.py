"""The reference: one masked product over the whole forest. Any device, any feature, T² memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from burnish.data.forest import Forest


class Rules(NamedTuple):
    """How one attention layer weighs what it sees."""

    scaling: float
    window: int | None = None  # sees keys with position[q] - position[k] < window
    softcap: float | None = None  # logits become softcap * tanh(logits / softcap)
    sinks: Tensor | None = None  # float[H]: one more logit per head, with no value
    bias: Tensor | None = None  # added to the logits, broadcast to float[1, H, T, T]


def visible(forest: Forest, window: int | None) -> Tensor:  # bool[T, T]
    """Which keys each query sees: itself and what is above it, within the window by depth."""
    mask = forest.ancestors
    if window is not None:
        mask = mask & (forest.position[:, None] - forest.position[None, :] < window)
    return mask


def dense_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, rules: Rules) -> Tensor:
    """float[1, H, T, D], float[1, H_kv, T, D], float[1, H_kv, T, D_v] -> float[1, T, H, D_v]."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    compute = torch.promote_types(query.dtype, torch.float32)
    logits = (query @ key.transpose(-1, -2)).to(compute) * rules.scaling  # [1, H, T, T]
    if rules.bias is not None:
        logits = logits + rules.bias
    if rules.softcap is not None:
        logits = rules.softcap * torch.tanh(logits / rules.softcap)
    logits = logits.masked_fill(~visible(forest, rules.window), float("-inf"))
    if rules.sinks is not None:
        sink = rules.sinks.to(compute).view(1, -1, 1, 1).expand(*logits.shape[:3], 1)
        weights = torch.cat([logits, sink], -1).softmax(-1)[..., :-1]
    else:
        weights = logits.softmax(-1)
    return (weights.to(value.dtype) @ value).transpose(1, 2).contiguous()
