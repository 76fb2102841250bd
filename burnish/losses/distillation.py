"""How far a student is from its teacher at a token. Pure functions of log-probabilities over the vocabulary.

    student, teacher float[n, V] -> value float[n] in nats, gradient by the student's logits float[n, V]

The gradient is returned with the value since both come of the same few numbers, and float[n, V] is what there
is to be little of. Written q for the student, p for the teacher, m for their mixture β p + (1 - β) q.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from burnish.errors import UserError


class Divergence(NamedTuple):
    value: Tensor  # float[n], in nats
    gradient: Tensor  # float[n, V], by the student's logits


def forward_kl(student: Tensor, teacher: Tensor) -> Divergence:
    """KL(p ‖ q) = Σ p (log p - log q); gradient q - p.

    Knowledge distillation, arXiv:1503.02531, without its factor of squared temperature.

    Use where the student is to cover all that the teacher may say.
    """
    target = teacher.exp()
    return Divergence((target * (teacher - student)).sum(-1), student.exp() - target)


def reverse_kl(student: Tensor, teacher: Tensor) -> Divergence:
    """KL(q ‖ p) = Σ q (log q - log p); gradient q (log q - log p - KL).

    MiniLLM, arXiv:2306.08543, its single-step part, over the whole vocabulary.

    Use where the student is too small to cover all of it, and is to say what the teacher surely says.
    """
    return _from_student(student.exp(), student - teacher)


def generalized_jsd(student: Tensor, teacher: Tensor, beta: float = 0.5) -> Divergence:
    """β KL(p ‖ m) + (1 - β) KL(q ‖ m); gradient (1 - β) q (log q - log m - KL(q ‖ m)).

    Generalized Jensen-Shannon divergence, GKD, arXiv:2306.13649, eq. 1. It is 0 at both ends; there its
    limits are taken, each divided by what makes it vanish: β = 0 is the forward and β = 1 the reverse KL.

    Use with a beta near 0 where the student is to cover all that the teacher may say, near 1 where it is too
    small for that.
    """
    if beta == 0:
        return forward_kl(student, teacher)
    if beta == 1:
        return reverse_kl(student, teacher)
    q, p = student.exp(), teacher.exp()
    mixture = torch.lerp(q, p, beta)
    # Where both have underflowed to 0 any finite logarithm is as good: it is multiplied by 0.
    log_mixture = mixture.clamp_(min=torch.finfo(mixture.dtype).tiny).log_()
    own = _from_student(q, student - log_mixture)
    others = (p * (teacher - log_mixture)).sum(-1)
    return Divergence(beta * others + (1 - beta) * own.value, (1 - beta) * own.gradient)


def _from_student(probability: Tensor, ratio: Tensor) -> Divergence:
    """Σ q ratio, and q (ratio - its mean under q)."""
    value = (probability * ratio).sum(-1)
    return Divergence(value, probability * (ratio - value[:, None]))


def check_distillation(beta: float, divergence_temperature: float) -> None:
    """Raises `UserError` for a mixture or a temperature that makes no sense."""
    if not 0 <= beta <= 1:
        raise UserError(
            f"found {beta}, the teacher's share in the mixture that both are compared with",
            where="beta",
            fix="give 0 (forward KL) to 1 (reverse KL)",
        )
    if not 0 < divergence_temperature < math.inf:
        raise UserError(
            f"must be positive, found {divergence_temperature}",
            where="divergence_temperature",
            fix="1 compares the models as they are",
        )
