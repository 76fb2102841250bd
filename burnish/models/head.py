"""The output head of a causal language model as numbers: what turns hidden states into logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from burnish.errors import UserError


class Head(NamedTuple):
    """`logits = softcap * tanh(scale * (hidden @ weight.T + bias) / softcap)`."""

    weight: Tensor  # float[V, D]
    bias: Tensor | None  # float[V]
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, states: Tensor) -> Tensor:  # float[N, D] -> float[N, V]
        """All logits at once: for checks on a few tokens. `score.head_scores` is the way to train."""
        logits = self.scale * nn.functional.linear(states, self.weight, self.bias)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def tempered(self, temperature: float) -> Head:
        """The head whose logits are these divided by `temperature`."""
        softcap = None if self.softcap is None else self.softcap / temperature
        return self._replace(scale=self.scale / temperature, softcap=softcap)

    def first(self, tokens: int) -> Head:
        """The head of the first tokens of the vocabulary alone."""
        return self._replace(
            weight=self.weight[:tokens], bias=None if self.bias is None else self.bias[:tokens]
        )


def language_head(model: Any) -> Head:
    """Read the head of a Transformers causal language model, by the rules of its family.

    Adapters on the head are part of `weight`, with gradient. `certify` compares the result with the
    model's own logits, so a family with another rule is refused, not scored wrong.
    """
    weight, bias = _projection(model.get_output_embeddings())
    config = model.config.get_text_config()
    real = getattr(config, "unpadded_vocab_size", None)  # Inkling: rows beyond it are no tokens
    if real is not None:
        weight, bias = weight[:real], None if bias is None else bias[:real]
    return Head(weight, bias, _scale(config), _softcap(config))


def head_input(model: Any, states: Tensor) -> Tensor:  # float[T, D] -> float[T, D']
    """What the output projection gets: the backbone's states, but for families with layers between."""
    if hasattr(model, "cls"):  # BERT and its kin; RemBERT
        predictions = model.cls.predictions
        if hasattr(predictions, "transform"):
            return predictions.transform(states)
        return predictions.LayerNorm(predictions.activation(predictions.dense(states)))
    if hasattr(model, "generator_predictions"):  # ELECTRA
        return model.generator_predictions(states)
    head: Any = getattr(model, "lm_head", None)
    if hasattr(head, "layer_norm"):  # RoBERTa and its kin
        return head.layer_norm(nn.functional.gelu(head.dense(states)))
    if hasattr(head, "norm"):  # ModernBERT decoder: the projection is its sibling
        return head(states)
    return states


def _softcap(config: Any) -> float | None:
    return getattr(config, "final_logit_softcapping", None) or None


def _scale(config: Any) -> float:
    """Cohere and others multiply the logits; Granite, MiniCPM3 and Inkling divide; HyperCLOVA X multiplies
    by what Granite divides by."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        value = getattr(config, name, None)
        if value is not None:
            return float(value)
    scaling = getattr(config, "logits_scaling", None) or getattr(config, "logits_mup_width_multiplier", None)
    if scaling is None:
        return 1.0
    return float(scaling) if config.model_type == "hyperclovax" else 1.0 / float(scaling)


def _projection(head: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the output projection, with what PEFT has put on it."""
    if hasattr(head, "modules_to_save"):  # a trained copy, in place of the head while the adapter is on
        active = [name for name in head.active_adapters if name in head.modules_to_save]
        return _projection(
            head.original_module if head.disable_adapters or not active else head.modules_to_save[active[0]]
        )
    if hasattr(head, "lora_A"):
        weight, bias = _projection(head.get_base_layer())
        return (weight, bias) if head.disable_adapters or head.merged else (weight + _low_rank(head), bias)
    return head.weight, getattr(head, "bias", None)


def _low_rank(head: Any) -> Tensor:  # float[V, D]
    """`sum over active adapters of scaling * B @ A`."""
    total: Any = 0
    for name in head.active_adapters:
        if name not in head.lora_A:
            continue
        dropout = getattr(head.lora_dropout[name], "p", 0.0)
        if dropout and head.training:
            raise UserError(
                f"LoRA on the output head with dropout {dropout}: its logits would differ in every tile",
                where="lora_dropout",
                fix="set lora_dropout to 0, or leave the output head out of target_modules",
            )
        if head.use_dora.get(name) or getattr(head, "lora_variant", {}).get(name):
            raise UserError(
                "only plain LoRA can stand on the output head",
                where="target_modules",
                fix="leave the output head out of target_modules, or use LoRA without variants",
            )
        total = total + head.scaling[name] * head.lora_B[name].weight @ head.lora_A[name].weight
    return total
