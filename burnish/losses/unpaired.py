"""Losses of single completions, each of them good or not. Pure functions of `UnpairedScores`: -> float[E].

A loss's options are its keyword arguments, filled from the config by name. Shapes: E examples, one completion
each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric, Sum


@dataclass(frozen=True)
class UnpairedScores:
    """Log-probabilities of completions, summed over their tokens, in nats; and what they are measured by."""

    policy: Tensor  # float[E]
    reference: Tensor  # float[E]
    label: Tensor  # float[E]: 1 desirable, 0 undesirable
    baseline: Tensor  # float[E]: the ratio that is neither good nor bad, without gradient

    @staticmethod
    def of(policy: Tensor, reference: Tensor, columns: Mapping[str, Tensor]) -> UnpairedScores:
        """From log-probabilities float[E], and the columns `label` and (0 where it is none) `baseline`."""
        label = columns["label"].to(policy)
        baseline = columns.get("baseline", torch.zeros_like(label))
        return UnpairedScores(policy, reference.to(policy), label, baseline.to(policy))

    @property
    def ratio(self) -> Tensor:  # float[E]
        """log policy - log reference."""
        return self.policy - self.reference

    @property
    def advantage(self) -> Tensor:  # float[E]
        """ratio - baseline for a desirable completion, baseline - ratio for an undesirable one."""
        return (2 * self.label - 1) * (self.ratio - self.baseline)


def kto(
    scores: UnpairedScores, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
) -> Tensor:
    """λ (1 - sigmoid(beta * advantage)), with λ the weight of the example's class.

    Kahneman-Tversky optimization, arXiv:2402.01306; the baseline is the KL of policy and reference, as
    estimated on prompts with completions of other prompts, and at least 0.

    Use where single answers were judged, a thumb up or down; wants many examples a step.
    """
    weight = scores.label * desirable_weight + (1 - scores.label) * undesirable_weight
    return weight * F.sigmoid(-beta * scores.advantage)


def apo_zero_unpaired(
    scores: UnpairedScores, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
) -> Tensor:
    """λ (1 - sigmoid(beta * advantage)), with a baseline of 0.

    Anchored preference optimization, arXiv:2408.06266, its zero variant, one completion at a time.

    Use in place of kto where the KL costs too much, or a step has few examples.
    """
    return kto(scores, beta, desirable_weight, undesirable_weight)


def bco(scores: UnpairedScores, beta: float = 0.1) -> Tensor:
    """-log sigmoid(beta * advantage).

    Binary classifier optimization, arXiv:2404.04656; beta times the baseline is its reward shift.

    Use where single answers were judged; its threshold is learned from all of training, not from a step.
    """
    return -F.logsigmoid(beta * scores.advantage)


UNPAIRED_LOSSES = {"kto": kto, "apo_zero_unpaired": apo_zero_unpaired}
"""What `loss_type` of KTO names."""

USES_KL = frozenset({"kto"})


def unpaired_metrics(scores: UnpairedScores, beta: float) -> dict[str, Metric]:
    """Implicit rewards `beta * ratio` and log-probabilities by class, and by how much the classes differ."""
    reward, policy = (beta * scores.ratio).detach(), scores.policy.detach()
    desirable, undesirable = scores.label, 1 - scores.label
    chosen, rejected = Mean.of(reward, desirable), Mean.of(reward, undesirable)
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": Sum((chosen, rejected * -1)),
        "logps/chosen": Mean.of(policy, desirable),
        "logps/rejected": Mean.of(policy, undesirable),
    }


def balance(labels: Sequence[float], desirable_weight: float, undesirable_weight: float) -> float:
    """λ_D n_D / (λ_U n_U): how the two classes weigh against each other over a set of labels.

    KTO advises 1 to 4/3, arXiv:2402.01306, eq. 8.
    """
    desirable = sum(labels)
    return desirable_weight * desirable / (undesirable_weight * (len(labels) - desirable))
