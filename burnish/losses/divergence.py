"""f-divergences: what holds the policy to the reference, in place of the reverse KL divergence.

DPO with an f-divergence, arXiv:2309.16240, scores a completion by s = f'(policy / reference). This
needs an f' that can be inverted and is not defined at 0, so that the policy which is best has all of the
reference's support; and only the difference of two scores is known, so it goes with losses of that
difference alone (`margin.py`). To add one: write its score s of the log-ratio r = log policy - log
reference, and name it in `DIVERGENCES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.errors import UserError

Score = Callable[[Tensor], Tensor]

LARGEST_EXPONENT = 80.0
"""exp(80) is a finite float32; beyond it a score stays as it is, instead of making the loss nan."""


def reverse_kl(ratio: Tensor) -> Tensor:
    """s = r.

    f-DPO, arXiv:2309.16240.

    Use by default.
    """
    return ratio


def forward_kl(ratio: Tensor) -> Tensor:
    """s = 1 - exp(-r).

    f-DPO, arXiv:2309.16240.

    Use where answers should stay as varied as the reference's.
    """
    return alpha_divergence(ratio, 0.0)


def js_divergence(ratio: Tensor) -> Tensor:
    """s = log 2 + log sigmoid(r).

    f-DPO, arXiv:2309.16240.

    Use between reverse and forward KL.
    """
    return math.log(2) + F.logsigmoid(ratio)


def alpha_divergence(ratio: Tensor, f_alpha_divergence_coef: float = 0.5) -> Tensor:
    """s = (exp((α - 1) r) - 1) / (α - 1), with α = f_alpha_divergence_coef; r for α = 1.

    f-DPO, arXiv:2309.16240.

    Use to say where between forward and reverse KL.
    """
    rate = f_alpha_divergence_coef - 1
    return torch.expm1((rate * ratio).clamp(max=LARGEST_EXPONENT)) / rate if rate else ratio


DIVERGENCES: dict[str, Score] = {
    "reverse_kl": reverse_kl,
    "forward_kl": forward_kl,
    "js_divergence": js_divergence,
    "alpha_divergence": alpha_divergence,
}


def score_of(f_divergence_type: str, f_alpha_divergence_coef: float) -> Score:
    """The score of a log-ratio, float[...] -> float[...], for a divergence by name. Raises `UserError`."""
    if f_divergence_type == "alpha_divergence":
        check_alpha(f_alpha_divergence_coef)
        return partial(alpha_divergence, f_alpha_divergence_coef=f_alpha_divergence_coef)
    return DIVERGENCES[f_divergence_type]


def check_alpha(alpha: float) -> None:
    """f'(u) = (u^(α - 1) - 1) / (α - 1) has a value at u = 0 if α > 1. Raises `UserError`."""
    if alpha > 1:
        raise UserError(
            f"found {alpha}, but above 1 f' has a value at 0: the best policy would give up a part of what "
            "the reference may say, and that part has no score",
            where="f_alpha_divergence_coef",
            fix="give at most 1 (1: reverse KL, 0: forward KL)",
        )
