"""Attention over a forest: a query sees its own segment up to itself, and every segment above it.

`forest_attention` is registered with transformers under the name "forest". The tree comes as a
keyword argument that travels from `model(...)` down to here; there is no global state, so gradient
checkpointing and several forests in flight are safe. No mask function is registered with it, which
makes transformers build no mask at all.

Backends share one signature (`Attend`) and differ only in how they get there:

    blocks.py     only the blocks of a masked product in which something is seen (cut by plan.py)
    varlen.py     CUDA, 16 bits, no soft-cap or sinks: own part and prefix parts through torch's
                  variable-length flash attention
    dense.py      one masked product over the whole forest; for a bias of the model's own; the reference
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.models.attention import varlen
from burnish.models.attention.blocks import block_attention
from burnish.models.attention.dense import Rules, dense_attention

NAME = "forest"

Attend = Callable[[Tensor, Tensor, Tensor, Forest, Rules], Tensor]
"""float[1, H, T, D], float[1, H_kv, T, D], float[1, H_kv, T, D_v], ... -> float[1, T, H, D_v]."""


HARMLESS = frozenset(
    {
        "position_ids",  # rotary embeddings have been applied
        "position_embeddings",
        "cache_position",
        "past_key_values",  # without a cache
        "use_cache",
        "output_attentions",  # what is returned beside the result
        "output_hidden_states",
        "output_router_logits",
        "return_dict",
        "num_items_in_batch",  # of a loss that is computed elsewhere
        "deterministic",  # of a kernel's backward
    }
)
"""Keyword arguments that change nothing of what a query sees and how it is weighed."""


def _is_harmless(name: str, value: Any) -> bool:
    return value is None or (
        value is not False if name == "is_causal" else value is False or name in HARMLESS
    )


def choose_backend(query: Tensor, value: Tensor, forest: Forest, rules: Rules) -> Attend:
    """The fastest backend that computes exactly this layer."""
    if rules.bias is not None:
        return dense_attention
    if query.device.type == "cuda" and varlen.serves(query, value, forest, rules):
        return varlen.varlen_attention
    return block_attention


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
    **others: Any,
) -> tuple[Tensor, None]:  # float[1, T, H, D_v]
    """What transformers calls in every attention layer. Never degrades silently: it raises instead."""
    if forest is None or attention_mask is not None:
        raise RuntimeError("attention over a forest needs the `forest` keyword and no mask")
    if query.shape[0] != 1 or query.shape[2] != forest.size:
        raise RuntimeError(
            f"attention over a forest of {forest.size} tokens got queries of shape {tuple(query.shape)}"
        )
    if dropout:
        raise UserError(
            f"attention dropout of {dropout} cannot be used: branches would share that of their prompt",
            where="model config",
            fix="set the model's attention dropout to 0 (usually `attention_dropout`)",
        )
    if unknown := {name for name, value in others.items() if not _is_harmless(name, value)}:
        raise RuntimeError(f"attention over a forest does not know {', '.join(sorted(unknown))}")
    forest.attention_calls += 1
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rules = Rules(scale, sliding_window, softcap, s_aux, position_bias)
    query, key, value = _autocast(query, key, value)
    return choose_backend(query, value, forest, rules)(query, key, value, forest, rules), None


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast all in its dtype, as torch's own attention does: norms may have left some in float32."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    return tuple(t if t.dtype == torch.float64 else t.to(torch.get_autocast_dtype(device)) for t in tensors)


AttentionInterface.register(NAME, forest_attention)
