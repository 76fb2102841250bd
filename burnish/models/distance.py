"""How far two results are apart: norms of what differs, relative to what is expected."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def logit_error(found: Tensor, expected: Tensor) -> float:
    """`|found - expected| / |expected|` over all rows; several columns are centred first."""
    if expected.shape[-1] > 1:
        found, expected = (logits - logits.mean(-1, keepdim=True) for logits in (found, expected))
    return relative([found], [expected])


def relative(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> float:
    """The same over a list of tensors together, where None is zero."""
    difference = size = 0.0
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            size += _square(b)
            difference += _square(b if a is None else a - b)
        elif a is not None:
            difference += _square(a)
    return math.sqrt(difference / size) if size else math.inf


def _square(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2


def gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """Through `backward`, since reentrant checkpointing allows nothing else; `.grad` stays as it was."""
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        loss.backward()
        return [parameter.grad for parameter in parameters]
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient
