"""Losses of reward models on pairs. Pure functions of rewards: -> float[P].

The third argument is a column of the rows by its name, float[P]; without a default, every row must have it.
What follows are options, filled from the config by name. To add a loss: write the function and name it in
`REWARD_PAIR_LOSSES`. Losses of ranked lists are in `ranking.py`, of scores in `pointwise.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import Parameter, signature

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Extreme, Mean, Metric


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0) -> Tensor:  # float[P]
    """-log sigmoid(chosen - rejected - margin).

    Bradley-Terry reward modeling, arXiv:2203.02155, eq. 1; margin of Llama 2, arXiv:2307.09288, eq. 2.

    Use by default.
    """
    return -F.logsigmoid(chosen - rejected - margin)


def scaled_bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """-margin * log sigmoid(chosen - rejected).

    HelpSteer2-Preference, arXiv:2410.01257: how much better chosen is says how much the pair counts.

    Use where the rows say how much better chosen is, in a column `margin`.
    """
    return -margin * F.logsigmoid(chosen - rejected)


def hinge(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """max(0, 1 - (chosen - rejected - margin)).

    The ranking hinge of support vector machines (R. Herbrich, T. Graepel, K. Obermayer, Large Margin Rank
    Boundaries for Ordinal Regression, 2000): pairs that are far enough apart no longer count.

    Use where pairs that are ranked right by enough should not be trained any further.
    """
    return F.relu(1 - (chosen - rejected - margin))


def focal(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, focal_gamma: float = 2.0) -> Tensor:
    """-(1 - 2 max(0, p - 1/2))^γ log p, with p = sigmoid(chosen - rejected - margin) and γ = focal_gamma.

    Focal ranking loss of InternLM2, arXiv:2403.17297: pairs that are ranked right count less, the surer the
    less; those ranked wrong count in full.

    Use where most pairs are easy, and the hard ones should count.
    """
    gap = chosen - rejected - margin
    # 1 - 2 max(0, p - 1/2) = min(1, 2 (1 - p)), with its logarithm taken where it is exact.
    log_weight = (math.log(2) + F.logsigmoid(-gap)).clamp(max=0)
    return -(focal_gamma * log_weight).exp() * F.logsigmoid(gap)


def soft_label(chosen: Tensor, rejected: Tensor, chosen_probability: Tensor) -> Tensor:
    """-q log sigmoid(h) - (1 - q) log sigmoid(-h), with h = chosen - rejected and q = chosen_probability.

    Bradley-Terry where annotators do not agree, arXiv:1706.03741, eq. 1: least at sigmoid(h) = q.

    Use where several people judged a pair, or a model said how sure it is, as a column `chosen_probability`.
    """
    gap = chosen - rejected
    return -chosen_probability * F.logsigmoid(gap) - (1 - chosen_probability) * F.logsigmoid(-gap)


REWARD_PAIR_LOSSES = {
    "bradley_terry": bradley_terry,
    "scaled_bradley_terry": scaled_bradley_terry,
    "hinge": hinge,
    "focal": focal,
    "soft_label": soft_label,
}


def column_of(loss: Callable[..., Tensor]) -> tuple[str, bool]:
    """The column of the rows that a loss of pairs reads, and whether every row must have it."""
    column = list(signature(loss).parameters.values())[2]
    return column.name, column.default is Parameter.empty


def centering(chosen: Tensor, rejected: Tensor) -> Tensor:  # float[P]
    """(chosen + rejected)².

    Keeps rewards around zero, arXiv:2312.09244, eq. 2.

    Use where rewards are compared across prompts or handed to reinforcement learning.
    """
    return (chosen + rejected).square()


def reward_metrics(chosen: Tensor, rejected: Tensor) -> dict[str, Metric]:
    """How often and by how much the chosen completion has the higher reward; and the range of rewards."""
    chosen, rejected = chosen.detach(), rejected.detach()
    return {
        **reward_range(torch.cat([chosen, rejected])),
        "accuracy": Mean.of((chosen > rejected).to(chosen.dtype)),
        "margin": Mean.of(chosen - rejected),
    }


def reward_range(reward: Tensor) -> dict[str, Metric]:
    """The least, the mean and the largest of rewards float[B]."""
    reward = reward.detach()
    return {
        "min_reward": Extreme.least(reward),
        "mean_reward": Mean.of(reward),
        "max_reward": Extreme.most(reward),
    }
