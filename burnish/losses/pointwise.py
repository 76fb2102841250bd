"""Losses of reward models on scores: one completion, and a number for each of its attributes. -> float[E].

Pure functions of rewards and scores, float[E, K]: the mean over the attributes of an example. A loss's
options are its keyword arguments, filled from the config by name. To add one: write the function and name it
in `POINTWISE_LOSSES`.

Shapes: E examples, K attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric


def regression(reward: Tensor, score: Tensor) -> Tensor:
    """(reward - score)².

    SteerLM's attribute model with a linear head, as of HelpSteer2, arXiv:2406.08673.

    Use where scores are on a scale with even steps.
    """
    return (reward - score).square().mean(1)


def ordinal(reward: Tensor, score: Tensor, ordinal_levels: Sequence[float] = (0.0, 1.0)) -> Tensor:
    """Σ_k log(1 + exp(∓(reward - θ_k))), with - where score > θ_k, else +; θ_k lie between the levels.

    Ordinal regression, the all-threshold loss of Rennie and Srebro, Loss Functions for Preference Levels,
    2005, with thresholds halfway between neighbouring levels: the level nearest to a reward is what it says
    (of the first and the last one it may be far beyond), and two levels off cost more than one.

    Use where scores are a few levels in an order, as stars are.
    """
    thresholds = _thresholds(ordinal_levels, reward)
    side = torch.where(score[..., None] > thresholds, 1.0, -1.0).to(reward)
    return -F.logsigmoid(side * (reward[..., None] - thresholds)).sum(-1).mean(1)


POINTWISE_LOSSES = {"regression": regression, "ordinal": ordinal}


def pointwise_metrics(
    reward: Tensor, score: Tensor, attributes: Sequence[str], levels: Sequence[float] | None = None
) -> dict[str, Metric]:
    """The mean distance of reward and score, for each attribute too.

    Of ordinal scores, what a reward says is the nearest level; and how often that is right.
    """
    reward = reward.detach()
    if levels:
        said = torch.bucketize(reward, _thresholds(levels, reward))
        reward = torch.as_tensor(levels, dtype=reward.dtype, device=reward.device)[said]
    distance = (reward - score).abs()
    metrics: dict[str, Metric] = {"mean_absolute_error": Mean.of(distance)}
    if len(attributes) > 1:
        each = zip(attributes, distance.unbind(1), strict=True)
        metrics |= {f"mean_absolute_error/{name}": Mean.of(values) for name, values in each}
    if levels:
        metrics["accuracy"] = Mean.of((reward == score).to(reward))
    return metrics


def _thresholds(levels: Sequence[float], like: Tensor) -> Tensor:  # float[levels - 1]
    values = torch.as_tensor(levels, dtype=like.dtype, device=like.device)
    return (values[1:] + values[:-1]) / 2
