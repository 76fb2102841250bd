"""What a preference loss sees of a pair, and the losses that weigh each completion by itself.

Pure functions of `PairScores`: -> float[P]. A loss's options are its keyword arguments, filled from the
config by name. To add one: write the function and name it in `PAIR_LOSSES`. Losses of the one number by
which chosen leads are in `margin.py`, those that compare a pair with others of its step in `transport.py`.

Shapes: P pairs, B = 2P branches in the order chosen, rejected, chosen, rejected, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric


@dataclass(frozen=True)
class PairScores:
    """Log-probabilities of whole completions, summed over their tokens, in nats; and what some losses add."""

    chosen: Tensor  # float[P] under the policy
    rejected: Tensor  # float[P] under the policy
    reference_chosen: Tensor  # float[P]
    reference_rejected: Tensor  # float[P]
    chosen_length: Tensor  # int[P], trained tokens
    rejected_length: Tensor  # int[P]
    lead: Tensor | None = None  # float[P]: how much better chosen is, where the rows say so
    match: Tensor | None = None  # float[P, 3]: what it meets in its step (`transport.py`)
    beta_scale: Tensor | None = None  # float[P]: what its step makes of beta (`margin.py`)

    @staticmethod
    def of(policy: Tensor, reference: Tensor, length: Tensor, **rest: Tensor | None) -> PairScores:
        """From per-branch sums float[B] under policy and reference, and trained tokens int[B]."""
        pairs = (t.view(-1, 2).unbind(1) for t in (policy, reference.to(policy.dtype), length))
        (chosen, rejected), (reference_chosen, reference_rejected), (long, short) = pairs
        return PairScores(chosen, rejected, reference_chosen, reference_rejected, long, short, **rest)

    @staticmethod
    def of_table(table: Tensor) -> PairScores:  # float[P, 6]
        """The inverse of `table`."""
        return PairScores(*table.unbind(1))

    @property
    def table(self) -> Tensor:  # float[P, 6]
        """Its six numbers of every pair, in the order of the fields."""
        columns = (self.chosen, self.rejected, self.reference_chosen, self.reference_rejected)
        lengths = (self.chosen_length.to(self.chosen), self.rejected_length.to(self.chosen))
        return torch.stack([*columns, *lengths], 1)

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

    @property
    def margin_per_token(self) -> Tensor:  # float[P]
        """The same, each ratio divided by the tokens of its completion."""
        return self.chosen_ratio / self.chosen_length - self.rejected_ratio / self.rejected_length


def ipo(pair: PairScores, beta: float = 0.1) -> Tensor:
    """(margin per token - 1 / (2 beta))².

    IPO, arXiv:2310.12036, eq. 17, on log-ratios averaged over the tokens of each completion.

    Use where DPO runs away on pairs that are hardly in doubt: the margin has a target, and stops there.
    """
    return (pair.margin_per_token - 1 / (2 * beta)).square()


def sigmoid_norm(pair: PairScores, beta: float = 0.1) -> Tensor:
    """-log sigmoid(beta * margin per token).

    Length-normalized DPO, Tülu 3, arXiv:2411.15124.

    Use where DPO makes answers longer: each completion counts per token.
    """
    return -F.logsigmoid(beta * pair.margin_per_token)


def nca_pair(pair: PairScores, beta: float = 0.1) -> Tensor:
    """-log sigmoid(c) - (log sigmoid(-c) + log sigmoid(-r)) / 2, with rewards c, r = beta * ratio.

    NCA for pairs, arXiv:2402.05369: chosen rises by itself, not only against rejected.

    Use where the likelihood of chosen completions falls in DPO, and should not.
    """
    chosen, rejected = beta * pair.chosen_ratio, beta * pair.rejected_ratio
    return -F.logsigmoid(chosen) - 0.5 * (F.logsigmoid(-chosen) + F.logsigmoid(-rejected))


def bco_pair(pair: PairScores, beta: float = 0.1) -> Tensor:
    """-log sigmoid(c) - log sigmoid(-r), with rewards c, r = beta * ratio.

    Binary classifier optimization, arXiv:2404.04656, with its reward shift at 0; a part of MPO,
    arXiv:2411.10442.

    Use beside another loss, as MPO does, to hold the scale of the rewards of single completions.
    """
    return -F.logsigmoid(beta * pair.chosen_ratio) - F.logsigmoid(-beta * pair.rejected_ratio)


def sppo_hard(pair: PairScores, beta: float = 0.1) -> Tensor:
    """(chosen ratio - 1 / (2 beta))² + (rejected ratio + 1 / (2 beta))².

    SPPO, arXiv:2405.00675, with the probability that chosen wins taken as 1.

    Use in rounds on the model's own answers, with a small beta.
    """
    target = 1 / (2 * beta)
    return (pair.chosen_ratio - target).square() + (pair.rejected_ratio + target).square()


def apo_zero(pair: PairScores, beta: float = 0.1) -> Tensor:
    """1 - sigmoid(c) + sigmoid(r), with rewards c, r = beta * ratio.

    Anchored preference optimization, arXiv:2408.06266, for chosen better than what the model says: chosen
    rises, rejected falls.

    Use where chosen completions are better than what the model says.
    """
    return F.sigmoid(-beta * pair.chosen_ratio) + F.sigmoid(beta * pair.rejected_ratio)


def apo_down(pair: PairScores, beta: float = 0.1) -> Tensor:
    """sigmoid(c) + 1 - sigmoid(c - r), with rewards c, r = beta * ratio.

    Anchored preference optimization, arXiv:2408.06266, for chosen worse than what the model says: both
    fall, rejected further.

    Use where chosen completions are worse than what the model says.
    """
    return F.sigmoid(beta * pair.chosen_ratio) + F.sigmoid(-beta * pair.margin)


def dpo_positive(pair: PairScores, beta: float = 0.1, positive_penalty: float = 50.0) -> Tensor:
    """-log sigmoid(beta * (margin - λ max(0, -chosen ratio))), with λ = positive_penalty.

    DPO-Positive (Smaug), arXiv:2402.13228, eq. 3: chosen must not become less likely than under the
    reference, as it may in DPO where the two completions are nearly the same.

    Use where the two completions differ in a few tokens, as in corrected mathematics.
    """
    return -F.logsigmoid(beta * (pair.margin - positive_penalty * F.relu(-pair.chosen_ratio)))


def cal_dpo(pair: PairScores, beta: float = 0.1) -> Tensor:
    """-log sigmoid(margin) + (chosen ratio - 1 / (2 beta))² + (rejected ratio + 1 / (2 beta))².

    Cal-DPO, arXiv:2412.14516: DPO that also calibrates the ratios to the scale of the rewards ±1/2.

    Use where the size of the rewards matters, beside their order.
    """
    return -F.logsigmoid(pair.margin) + sppo_hard(pair, beta)


PAIR_LOSSES = {
    "ipo": ipo,
    "sigmoid_norm": sigmoid_norm,
    "nca_pair": nca_pair,
    "bco_pair": bco_pair,
    "sppo_hard": sppo_hard,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "dpo_positive": dpo_positive,
    "cal_dpo": cal_dpo,
}


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
