"""Attention over a forest: a query sees its own segment up to itself, and every segment above it.

`forest_attention` is registered with transformers under the name "forest". The tree comes as a
keyword argument that travels from `model(...)` down to here; there is no global state, so gradient
checkpointing and several forests in flight are safe. No mask function is registered with it, which
makes transformers build no mask at all.

Backends share one signature (`Attend` in `dense.py`) and differ only in how they get there:

    dense.py      one masked product over the whole forest; any device, any feature; the reference
    segments.py   CPU: segment by segment, own causal part and prefix part merged by log-sum-exp
    varlen.py     CUDA: the same two parts through torch's variable-length attention
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from burnish.data.forest import Forest
from burnish.models.attention.dense import Rules, dense_attention

NAME = "forest"


def forest_attention(
    module: nn.Module,
    query: Tensor,  # float[1, H, T, D]
    key: Tensor,  # float[1, H_kv, T, D]
    value: Tensor,  # float[1, H_kv, T, D_v]
    attention_mask: Tensor | None,
    *,
    forest: Forest | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,  # float[H]: attention sinks
    position_bias: Tensor | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:  # float[1, T, H, D_v]
    """What transformers calls in every attention layer. Never degrades silently: it raises instead."""
    if forest is None or attention_mask is not None:
        raise RuntimeError("attention over a forest needs the `forest` keyword and no mask")
    forest.attention_calls += 1
    rules = Rules(scaling or query.shape[-1] ** -0.5, sliding_window, softcap, s_aux, position_bias)
    return dense_attention(query, key, value, forest, rules), None


AttentionInterface.register(NAME, forest_attention)
