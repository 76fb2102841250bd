"""The output head of a causal language model as numbers: what turns hidden states into logits."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Head(NamedTuple):
    """`logits = softcap * tanh(scale * (hidden @ weight.T + bias) / softcap)`."""

    weight: Tensor  # float[V, D]
    bias: Tensor | None  # float[V]
    scale: float = 1.0
    softcap: float | None = None


def language_head(model: nn.Module) -> Head:
    """Read the head of a Transformers causal language model, by the rules of its family."""
    head = model.get_output_embeddings()
    config = model.config.get_text_config()
    return Head(head.weight, getattr(head, "bias", None), _scale(config), _softcap(config))


def _softcap(config) -> float | None:
    return getattr(config, "final_logit_softcapping", None) or None


def _scale(config) -> float:
    """Gemma-like models do not scale; Cohere multiplies; Granite divides, HyperCLOVA X multiplies by the same name."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        value = getattr(config, name, None)
        if value is not None:
            return float(value)
    scaling = getattr(config, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling) if config.model_type == "hyperclovax" else 1.0 / float(scaling)
