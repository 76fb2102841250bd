"""Losses of reward models on pairs. Pure functions of rewards: -> float[P]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Extreme, Mean, Metric


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0) -> Tensor:  # float[P]
    """-log sigmoid(chosen - rejected - margin).

    Bradley-Terry reward modeling, arXiv:2203.02155, eq. 1; margin of Llama 2, arXiv:2307.09288, eq. 2.
    """
    return -F.logsigmoid(chosen - rejected - margin)


def centering(chosen: Tensor, rejected: Tensor) -> Tensor:  # float[P]
    """(chosen + rejected)².

    Keeps rewards around zero, arXiv:2312.09244, eq. 2.
    """
    return (chosen + rejected).square()


def reward_metrics(chosen: Tensor, rejected: Tensor) -> dict[str, Metric]:
    """How often and by how much the chosen completion has the higher reward; and the range of rewards."""
    chosen, rejected = chosen.detach(), rejected.detach()
    both = torch.cat([chosen, rejected])
    return {
        "min_reward": Extreme.least(both),
        "mean_reward": Mean.of(both),
        "max_reward": Extreme.most(both),
        "accuracy": Mean.of((chosen > rejected).to(chosen.dtype)),
        "margin": Mean.of(chosen - rejected),
    }
