"""One model without adapters: these are added to the weights below, and quantized weights become plain."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from burnish.errors import UserError


def cast(model: Any, dtype: torch.dtype) -> Any:
    """The model with its weights in `dtype`; tables that are not saved, as of positions, stay float32."""
    kept = dict(model.named_buffers())
    saved = model.state_dict().keys()
    model.to(dtype)
    for name, buffer in kept.items():
        if name not in saved:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, buffer)
    return model


def merged(model: Any) -> PreTrainedModel:
    """The model with the adapter that is on it added to its weights; one without is given back."""
    if not hasattr(model, "peft_config"):
        return model
    if not hasattr(model, "merge_and_unload"):
        kind = next(iter(model.peft_config.values())).peft_type
        raise UserError(
            f"an adapter of type {getattr(kind, 'value', kind)} changes no weights, so it cannot be merged",
            fix="keep base and adapter apart, or train a LoRA adapter",
        )
    tied = _untie(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no longer tied.*")  # `_tie_equal` decides
        try:
            whole = model.merge_and_unload(safe_merge=True)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
            raise UserError(
                f"PEFT cannot merge this adapter ({(str(error) or type(error).__name__).splitlines()[0]})",
                fix="keep base and adapter apart, or train LoRA without variants (such as lora_bias)",
            ) from error
    if tied:
        _tie_equal(whole)
    if hasattr(whole, "peft_config"):
        del whole.peft_config  # left behind by peft; transformers would save an adapter for it
    whole._hf_peft_config_loaded = False
    return whole


def _untie(model: Any) -> bool:
    """Give every module a weight of its own: an adapter of a tied head changes the head alone.

    Returns whether head and embedding were tied.
    """
    owned: set[int] = set()
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None and id(weight) in owned:
            module.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        owned.add(id(module._parameters.get("weight")))
    return bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))


def _tie_equal(model: PreTrainedModel) -> None:
    """Tie head and embedding again where they are still the same, and say in the config whether they are."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None:
        return
    equal = torch.equal(head.weight, embedding.weight)
    model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = equal
    if equal:
        head.weight = embedding.weight


def dequantized(model: Any, where: str) -> PreTrainedModel:
    """The model with plain float32 weights: of a quantized one those that it computes with.

    Raises `UserError` where its kind of quantization cannot be undone.
    """
    if getattr(model, "hf_quantizer", None) is None:
        return model
    try:
        model = model.dequantize(dtype=torch.float32)
    except (NotImplementedError, ImportError) as error:
        raise UserError(
            "the base is quantized in a way that cannot be undone, and an adapter cannot be merged into it",
            where=where,
            fix="keep base and adapter apart",
        ) from error
    return cast(model, torch.float32)
