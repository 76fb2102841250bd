"""Preference losses of the DPO family. Pure functions of `PairScores`: -> float[P].

A loss's options are its keyword arguments, filled from the config by name. To add one: write the
function and name it in `PREFERENCE_LOSSES`.

Shapes: P pairs, B = 2P branches in the order chosen, rejected, chosen, rejected, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric


@dataclass(frozen=True)
class PairScores:
    """Log-probabilities of whole completions, summed over their tokens, in nats."""

    chosen: Tensor  # float[P] under the policy
    rejected: Tensor  # float[P] under the policy
    reference_chosen: Tensor  # float[P]
    reference_rejected: Tensor  # float[P]
    chosen_length: Tensor  # int[P], trained tokens
    rejected_length: Tensor  # int[P]

    @staticmethod
    def of(policy: Tensor, reference: Tensor, length: Tensor) -> PairScores:
        """From per-branch sums float[B] under policy and reference, and trained tokens int[B]."""
        pairs = (t.view(-1, 2).unbind(1) for t in (policy, reference.to(policy.dtype), length))
        (chosen, rejected), (reference_chosen, reference_rejected), (long, short) = pairs
        return PairScores(chosen, rejected, reference_chosen, reference_rejected, long, short)

    @property
    def chosen_ratio(self) -> Tensor:  # float[P]
        """log policy - log reference of the chosen completion."""
        return self.chosen - self.reference_chosen

    @property
    def rejected_ratio(self) -> Tensor:  # float[P]
        return self.rejected - self.reference_rejected

    @property
    def margin(self) -> Tensor:  # float[P]
        """chosen ratio - rejected ratio."""
        return self.chosen_ratio - self.rejected_ratio


def sigmoid(pair: PairScores, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-(1 - ε) log sigmoid(beta * margin) - ε log sigmoid(-beta * margin), with ε = label_smoothing.

    DPO, arXiv:2305.18290, eq. 7; ε > 0 is conservative DPO, E. Mitchell, ericmitchell.ai/cdpo.pdf (2023).
    """
    logits = beta * pair.margin
    return -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)


def hinge(pair: PairScores, beta: float = 0.1) -> Tensor:
    """max(0, 1 - beta * margin).

    SLiC-HF, arXiv:2305.10425, on DPO's log-ratios, as in RSO, arXiv:2309.06657.
    """
    return F.relu(1 - beta * pair.margin)


def ipo(pair: PairScores, beta: float = 0.1) -> Tensor:
    """(margin of per-token means - 1 / (2 beta))².

    IPO, arXiv:2310.12036, eq. 17, on log-ratios averaged over the tokens of each completion.
    """
    margin = pair.chosen_ratio / pair.chosen_length - pair.rejected_ratio / pair.rejected_length
    return (margin - 1 / (2 * beta)).square()


PREFERENCE_LOSSES = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo}


def preference_metrics(pair: PairScores, beta: float) -> dict[str, Metric]:
    """Implicit rewards `beta * ratio`, how often and by how much chosen wins, and log-probabilities."""
    chosen, rejected = (beta * pair.chosen_ratio).detach(), (beta * pair.rejected_ratio).detach()
    return {
        "rewards/chosen": Mean.of(chosen),
        "rewards/rejected": Mean.of(rejected),
        "rewards/accuracies": Mean.of((chosen > rejected).to(chosen.dtype)),
        "rewards/margins": Mean.of(chosen - rejected),
        "logps/chosen": Mean.of(pair.chosen.detach()),
        "logps/rejected": Mean.of(pair.rejected.detach()),
    }
