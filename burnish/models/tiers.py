"""The ways to run a forest through a backbone, fastest first.

    registered   our attention function, the tree as a keyword argument; prompts shared
    mask         the model's own attention under a 4-D mask; prompts shared
    cache        differentiable prefix cache, for hybrids; prompts shared (its place: not built yet)
    packed       every branch a document of its own in one row, told apart by position ids
    padded       every branch a row of its own, padded on the right

All give the same scores where a model supports them; `certify.py` finds out which it does.

At rest a model keeps its own attention implementation, so `generate`, plain forwards, copies and
saved configs never meet ours. It is switched to `forest` while a forest is in its forward, and, by
a hook on each attention layer, while gradient checkpointing recomputes that layer in the backward.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from burnish.data.forest import Forest
from burnish.data.packing import Layout
from burnish.models.attention import NAME

Tier = Literal["registered", "mask", "packed", "padded"]

TIERS: tuple[Tier, ...] = get_args(Tier)

LAYOUTS: dict[Tier, Layout] = {
    "registered": "shared",
    "mask": "shared",
    "packed": "unshared",
    "padded": "padded",
}
"""What each of them computes of a forest."""

SHARING: frozenset[Tier] = frozenset(tier for tier in TIERS if LAYOUTS[tier] == "shared")
"""The tiers that compute a shared prompt once."""

TAKES_A_MASK = frozenset({"sdpa", "eager"})
"""Attention implementations of transformers that follow a 4-D mask. Flash attention has no place for one."""


def run(model: Any, forest: Forest, tier: Tier) -> tuple[Tensor, Forest]:
    """Run the backbone of `model`; returns float[T, D] and the forest whose tokens these are."""
    return _RUN[tier](backbone_of(model), forest)


def backbone_of(model: Any) -> Any:
    """The model without its head. Some classes name it otherwise than their `base_model_prefix` says."""
    return model.base_model if model.base_model is not model else model.model


def prepare(model: Any, tier: Tier) -> list[Any]:
    """What a tier needs on a model; returns handles whose `remove()` takes it off again."""
    if tier == "registered":
        return [handle for layer in attention_layers(model) for handle in _switch_at_recompute(layer)]
    if tier == "mask" and model.config._attn_implementation not in TAKES_A_MASK:
        return [_Switched(model, "sdpa" if model._supports_sdpa else "eager")]
    return []


# The four ways


def _registered(backbone: Any, forest: Forest) -> tuple[Tensor, Forest]:
    with attention_implementation(backbone, NAME):
        output = backbone(
            input_ids=forest.tokens[None],
            position_ids=forest.position[None],
            forest=forest,
            **no_cache(backbone),
            **_listening(forest),
            **forest.media,
        )
    _listen(forest, output, forest)
    return output[0][0], forest


def _mask(backbone: Any, forest: Forest) -> tuple[Tensor, Forest]:
    output = backbone(
        input_ids=forest.tokens[None],
        position_ids=forest.position[None],
        attention_mask=tree_mask(backbone, forest),
        **no_cache(backbone),
        **_listening(forest),
        **forest.media,
    )
    _listen(forest, output, forest)
    return output[0][0], forest


def _packed(backbone: Any, forest: Forest) -> tuple[Tensor, Forest]:
    if forest.branches > 1 and forest.unshared_size > row_limit(backbone):
        return _padded(backbone, forest)  # the same, and every row as long as the model's own
    given, forest = forest, forest.unshared()
    # Transformers tells documents apart by position ids only when there is neither a mask nor a cache.
    output = backbone(
        input_ids=forest.tokens[None],
        position_ids=forest.position[None],
        **no_cache(backbone),
        **_listening(given),
        **forest.media,
    )
    _listen(given, output, forest)
    return output[0][0], forest


def _padded(backbone: Any, forest: Forest) -> tuple[Tensor, Forest]:
    given, forest = forest, forest.unshared()
    lengths = torch.tensor([segment.length for segment in forest.segments])
    real = (torch.arange(int(lengths.max())) < lengths[:, None]).to(forest.tokens.device)  # bool[B, L]
    tokens = forest.tokens.new_zeros(real.shape).masked_scatter(real, forest.tokens)
    output = backbone(
        input_ids=tokens,
        attention_mask=real.long(),
        **no_cache(backbone),
        **_listening(given),
        **forest.media,
    )
    _listen(given, output, forest, real.flatten())
    return output[0][real], forest


def _listening(forest: Forest) -> dict[str, bool]:
    return {"output_router_logits": True} if forest.routed is not None and forest.routed.listens else {}


def _listen(forest: Forest, output: Any, ran: Forest, real: Tensor | None = None) -> None:
    """Hand router logits to the forest that was given, where it asks for them; `real`: not padding."""
    if _listening(forest):
        logits = tuple(layer.flatten(0, -2) for layer in output.router_logits)
        forest.routed.add(
            logits if real is None else tuple(layer[real] for layer in logits), ran.multiplicity
        )


_RUN: dict[Tier, Callable[[Any, Forest], tuple[Tensor, Forest]]] = {
    "registered": _registered,
    "mask": _mask,
    "packed": _packed,
    "padded": _padded,
}


def row_limit(model: nn.Module) -> float:
    """Tokens that a row may have at most, documents or not: where causality is a table, as in GPT-Neo."""
    tables = (b for b in model.buffers() if b.dim() > 1 and b.shape[-1] == b.shape[-2] > 1)
    return min((float(table.shape[-1]) for table in tables), default=math.inf)


def no_cache(backbone: Any) -> dict[str, bool]:
    return {"use_cache": False} if _accepts(type(backbone).forward, "use_cache") else {}


@cache
def _accepts(forward: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(forward).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


# Masks for a model's own attention


def tree_mask(backbone: Any, forest: Forest) -> Any:
    """The forest as the 4-D mask a backbone expects: one tensor, or one for each of its layer types.

    Rules of distance (windows, chunks) are by depth, not by place in the row.
    """
    config = backbone.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    chunk = getattr(config, "attention_chunk_size", None)
    allowed = {"full_attention": forest.ancestors}
    if window is not None:
        near = forest.position[:, None] - forest.position[None, :] < window
        allowed["sliding_attention"] = forest.ancestors & near
    if chunk is not None:
        number = forest.position // chunk
        allowed["chunked_attention"] = forest.ancestors & (number[:, None] == number[None, :])
    if not _takes_a_mask_per_layer_type(type(backbone).forward):
        return _as_mask(allowed.get("sliding_attention", forest.ancestors), backbone)
    return _Masks({name: _as_mask(mask, backbone) for name, mask in allowed.items()})


class _Masks(dict[str, Tensor]):
    """A mask for every layer type; one with no rule of distance sees the whole path."""

    def __missing__(self, layer_type: str) -> Tensor:
        return self["full_attention"]


@cache
def _takes_a_mask_per_layer_type(forward: Callable[..., Any]) -> bool:
    source = inspect.getsource(inspect.unwrap(forward))
    return "dict)" in source and "attention_mask" in source


def _as_mask(allowed: Tensor, backbone: Any) -> Tensor:  # bool[T, T] -> [1, 1, T, T]
    """Boolean for sdpa; added to the logits for eager attention."""
    if backbone.config._attn_implementation == "sdpa":
        return allowed[None, None]
    dtype = backbone.dtype
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )[None, None]


# Switching the attention implementation


def attention_layers(model: nn.Module) -> list[nn.Module]:
    """The modules whose forward asks transformers' `AttentionInterface` for its function."""
    return [module for module in model.modules() if _asks_the_interface(type(module).forward)]


@cache
def _asks_the_interface(forward: Callable[..., Any]) -> bool:
    code = getattr(inspect.unwrap(forward), "__code__", None)
    return code is not None and "ALL_ATTENTION_FUNCTIONS" in code.co_names


@contextmanager
def attention_implementation(model: nn.Module, name: str) -> Iterator[None]:
    """Every config inside `model` names this attention implementation; restored afterwards."""
    switched = _Switched(model, name)
    try:
        yield
    finally:
        switched.remove()


class _Switched:
    """A model under another attention implementation, until `remove()`."""

    def __init__(self, model: nn.Module, name: str) -> None:
        self.own = [(config, config._attn_implementation) for config in configs(model)]
        for config, _ in self.own:
            config._attn_implementation_internal = name

    def remove(self) -> None:
        for config, name in self.own:
            config._attn_implementation_internal = name


def configs(model: nn.Module) -> list[PreTrainedConfig]:
    """Every config object that a module of `model` holds."""
    held = (getattr(module, "config", None) for module in model.modules())
    return list({id(config): config for config in held if isinstance(config, PreTrainedConfig)}.values())


def _switch_at_recompute(layer: nn.Module) -> list[Any]:
    """Hooks that make an attention layer called with a forest use our attention, whenever it is called."""
    own: list[str] = []

    def enter(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        own.append(module.config._attn_implementation)
        if kwargs.get("forest") is not None:
            module.config._attn_implementation_internal = NAME

    def leave(module: Any, args: Any, output: Any) -> None:
        module.config._attn_implementation_internal = own.pop()

    return [
        layer.register_forward_pre_hook(enter, with_kwargs=True),
        layer.register_forward_hook(leave, always_call=True),
    ]
