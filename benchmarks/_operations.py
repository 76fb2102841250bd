"""Floating-point operations of a training step: the fewest it can take, and those it does.

The fewest, for T unique tokens, S scored ones and K attended (query, key) pairs of the forest:

    forward      2 N T + 2 V h S + 4 a L K      N body weights that work on a token, V vocabulary,
                                                h hidden size, a heads x head size, L layers
    training     3 x forward                    full fine-tuning: the gradients of inputs and of weights
    DPO          training + forward             the reference
    reward       V h S becomes h B              B completions, one score each

Pairs are causal: a query counts the keys it sees, itself included. What is executed is counted where it
is executed: every matrix product that torch dispatches, in-place ones included, in forward and backward,
of ours and of the model alike; in attention that is the whole block, masked part and recomputed part too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from burnish.data.example import TokenizedExample

aten = torch.ops.aten

Sizes = Sequence[int]


def in_place_product(total: Sizes, a: Sizes, b: Sizes, **_: Any) -> int:
    """Operations of `total += a @ b`, batched or not, given the shapes."""
    return 2 * math.prod(a) * b[-1]


IN_PLACE = {aten.addmm_: in_place_product, aten.baddbmm_: in_place_product}
"""Products that torch's own counter does not know."""


@dataclass(frozen=True)
class Shape:
    """The numbers of a decoder-only model that its operations depend on."""

    body: int  # N: weights of the linear layers below the head
    head: int  # h V of a language head, h of a reward head
    width: int  # a: heads x head size
    layers: int  # L

    @staticmethod
    def of(model: Any) -> Shape:
        config = model.config.get_text_config()
        linear = [m for m in model.base_model.modules() if isinstance(m, nn.Linear)]
        head = getattr(model, "score", None) or model.get_output_embeddings()
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return Shape(
            body=sum(m.weight.numel() for m in linear),
            head=head.weight.numel(),
            width=config.num_attention_heads * size,
            layers=config.num_hidden_layers,
        )


@dataclass(frozen=True)
class Work:
    """What a batch asks for."""

    tokens: int  # T, each prompt once
    scored: int  # S, or completions of a reward model
    pairs: int  # K

    @staticmethod
    def of(examples: Sequence[TokenizedExample], method: str) -> Work:
        scored = (len(e.completions) if method == "reward" else e.trained_tokens for e in examples)
        return Work(sum(e.length for e in examples), sum(scored), sum(e.pairs for e in examples))


def forward_operations(shape: Shape, work: Work) -> int:
    """One forward over the forest."""
    body = 2 * shape.body * work.tokens
    head = 2 * shape.head * work.scored
    attention = 4 * shape.width * shape.layers * work.pairs
    return body + head + attention


def least_operations(shape: Shape, work: Work, method: str) -> int:
    """Forward and backward of full fine-tuning, and for DPO the reference's forward."""
    return (4 if method == "dpo" else 3) * forward_operations(shape, work)


def counter() -> FlopCounterMode:
    """Counts what runs within it."""
    return FlopCounterMode(display=False, custom_mapping=dict(IN_PLACE))


def product_shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer of the model, the head included, each shape once."""
    shapes = {(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)}
    return sorted(shape for shape in shapes if min(shape) > 1)


def random_operands(rows: int, shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs float[rows, I], weight float[O, I], gradient of outputs float[rows, O]."""
    inputs, outputs = shape
    return (
        torch.randn(rows, inputs, dtype=dtype),
        torch.randn(outputs, inputs, dtype=dtype),
        torch.randn(rows, outputs, dtype=dtype),
    )
