"""Losses that compare the pairs of a step with each other: optimal transport in one dimension.

They want one distribution above another, not one completion above another, so both are sorted and the
i-th of one meets the i-th of the other. A step may be computed in parts, of which none knows the others'
values, so what a pair meets comes along without gradient (`matches`, of the whole step). The gradient is
exact all the same: that of f(a - b) with respect to a needs only the value of b.

To add one: write the function and name it in `STEP_LOSSES`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.losses.margin import sigmoid
from burnish.losses.preference import PairScores


def matches(step: PairScores) -> Tensor:  # float[P, 3]
    """What each of all the pairs of a step meets: of the same rank as its own

    - gap under the policy: a gap under the reference (gap: log-probability of chosen - rejected);
    - chosen ratio: a rejected ratio;
    - rejected ratio: a chosen ratio.
    """
    gap = step.chosen - step.rejected
    columns = [
        of_same_rank(gap, step.reference_chosen - step.reference_rejected),
        of_same_rank(step.chosen_ratio, step.rejected_ratio),
        of_same_rank(step.rejected_ratio, step.chosen_ratio),
    ]
    return torch.stack(columns, 1).detach()


def of_same_rank(own: Tensor, other: Tensor) -> Tensor:  # float[P], float[P] -> float[P]
    """For every value of `own`, the value that has its rank in `other`."""
    rank = own.argsort(stable=True).argsort()
    return other.sort().values[rank]


def met(pair: PairScores) -> tuple[Tensor, Tensor, Tensor]:  # float[P], three times
    assert pair.match is not None, "the step was not surveyed"
    reference_gap, rejected_ratio, chosen_ratio = pair.match.to(pair.chosen.dtype).unbind(1)
    return reference_gap, rejected_ratio, chosen_ratio


def aot(pair: PairScores, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """DPO's loss of beta * (u_(i) - v_(i)), with u, v the sorted gaps of policy and reference.

    Alignment via optimal transport, paired, arXiv:2406.05882.

    Use where chosen should win as a whole, rather than in every single pair; wants many pairs a step.
    """
    reference_gap, _, _ = met(pair)
    return sigmoid(beta * (pair.chosen - pair.rejected - reference_gap), label_smoothing)


def aot_unpaired(pair: PairScores, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """DPO's loss of beta * (c_(i) - r_(i)), with c, r the sorted ratios of all chosen and all rejected.

    Alignment via optimal transport, unpaired, arXiv:2406.05882.

    Use where good and bad completions are not answers to the same prompts; wants many pairs a step.
    """
    _, rejected_ratio, chosen_ratio = met(pair)
    rising = sigmoid(beta * (pair.chosen_ratio - rejected_ratio), label_smoothing)
    falling = sigmoid(beta * (chosen_ratio - pair.rejected_ratio), label_smoothing)
    return rising + falling - falling.detach()  # a match is counted once, and has two gradients


STEP_LOSSES = {"aot": aot, "aot_unpaired": aot_unpaired}
