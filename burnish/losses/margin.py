"""Losses of one number: the margin of rewards by which chosen leads. Pure functions: float[P] -> float[P].

    ratio -> score s (f-divergence) -> reward margin h -> loss
    h = beta * (s(chosen ratio) - s(rejected ratio)) + corrections

What changes the score or the margin therefore goes with every loss here, and with no other: the type of a
`MarginLoss` leaves it no way to a loss that looks at the completions one by one. To add a loss: write the
function and name it in `MARGIN_LOSSES`; its keyword arguments are filled from the config by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from burnish.errors import UserError
from burnish.losses.divergence import score_of
from burnish.losses.preference import PairScores

MarginLoss = Callable[[Tensor], Tensor]
PairLoss = Callable[[PairScores], Tensor]


def reward_margin(
    pair: PairScores,
    beta: float = 0.1,
    f_divergence_type: str = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    margin_offset: float = 0.0,
    length_penalty: float = 0.0,
) -> Tensor:  # float[P]
    """h = beta (s(chosen ratio) - s(rejected ratio)) - γ lead + α (chosen length - rejected length).

    s is the identity, or the score of an f-divergence (`divergence.py`). γ = margin_offset: chosen must
    win by more where the rows say that it is better by more, offset DPO, arXiv:2402.10571. α =
    length_penalty: the reward that a token costs, length-regularized DPO, arXiv:2403.19159.

    Use margin_offset where the rows say how much better chosen is, length_penalty where DPO makes answers
    longer.
    """
    score = score_of(f_divergence_type, f_alpha_divergence_coef)
    margin = beta * (score(pair.chosen_ratio) - score(pair.rejected_ratio))
    if pair.beta_scale is not None:
        margin = margin * pair.beta_scale.to(margin.dtype)
    if margin_offset:
        if pair.lead is None:
            raise no_lead()
        margin = margin - margin_offset * pair.lead.to(margin.dtype)
    if length_penalty:
        margin = margin + length_penalty * (pair.chosen_length - pair.rejected_length).to(margin.dtype)
    return margin


def no_lead() -> UserError:
    return UserError(
        "the rows have no column `margin`",
        where="margin_offset",
        fix="add the column: how much better chosen is; or leave this out",
    )


def of_margin(loss: MarginLoss, margin: Callable[[PairScores], Tensor]) -> PairLoss:
    """A loss of the reward margin as one of pairs, with `margin` saying how that comes of them."""
    return lambda pair: loss(margin(pair))


def dynamic_beta_scale(mean_margin: float, running: float, dynamic_beta: float) -> float:
    """max(0.001, 1 + α (mean margin of the step - its running mean)), with α = dynamic_beta.

    What beta is multiplied with in β-DPO, arXiv:2407.08639, by steps, on margins of ratios as in the
    authors' code and with no smaller beta than 0.001 of it; without their filtering of rows.

    Use where steps differ in how good their pairs are.
    """
    return max(1e-3, 1 + dynamic_beta * (mean_margin - running))


DYNAMIC_BETA_MOMENTUM = 0.9
"""Of the running mean of β-DPO, which starts at 0 and knows the present step."""


def sigmoid(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-(1 - ε) log sigmoid(h) - ε log sigmoid(-h), with ε = label_smoothing.

    DPO, arXiv:2305.18290, eq. 7; ε > 0 is conservative DPO, E. Mitchell, ericmitchell.ai/cdpo.pdf (2023).

    Use by default; with label_smoothing where some labels are wrong.
    """
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def hinge(margin: Tensor) -> Tensor:
    """max(0, 1 - h).

    SLiC-HF, arXiv:2305.10425, on DPO's log-ratios, as in RSO, arXiv:2309.06657.

    Use where pairs that are already far enough apart should not be pushed any further.
    """
    return F.relu(1 - margin)


def robust(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """(-(1 - ε) log sigmoid(h) + ε log sigmoid(-h)) / (1 - 2ε), with ε = label_smoothing < 1/2.

    Robust DPO, arXiv:2403.00409: its mean is that of DPO on clean labels, if a share ε is flipped.

    Use where a known share of the labels is wrong.
    """
    flipped = label_smoothing * F.logsigmoid(-margin)
    return (flipped - (1 - label_smoothing) * F.logsigmoid(margin)) / (1 - 2 * label_smoothing)


def exo_pair(margin: Tensor, label_smoothing: float = 1e-3) -> Tensor:
    """KL(p ‖ q), with p = (sigmoid(h), sigmoid(-h)), q = (1 - ε, ε) and ε = label_smoothing > 0.

    EXO for pairs, arXiv:2402.00856: the reverse of the divergence that DPO minimizes.

    Use to go for what is surely preferred, rather than cover all that may be.
    """
    win = F.sigmoid(margin) * (F.logsigmoid(margin) - math.log1p(-label_smoothing))
    lose = F.sigmoid(-margin) * (F.logsigmoid(-margin) - math.log(label_smoothing))
    return win + lose


def discopop(margin: Tensor, discopop_tau: float = 0.05) -> Tensor:
    """-(1 - m) log sigmoid(h) + m exp(-h), with m = sigmoid(h / τ) and τ = discopop_tau.

    DiscoPOP's log-ratio modulated loss, arXiv:2406.08414.

    Use as another shape of DPO's loss to try, found by search.
    """
    mix = F.sigmoid(margin / discopop_tau)
    return -(1 - mix) * F.logsigmoid(margin) + mix * (-margin).exp()


MARGIN_LOSSES = {
    "sigmoid": sigmoid,
    "hinge": hinge,
    "robust": robust,
    "exo_pair": exo_pair,
    "discopop": discopop,
}
