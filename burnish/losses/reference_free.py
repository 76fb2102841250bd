"""Losses of pairs that need no reference policy. Pure functions of the *lead*: float[P] -> float[P].

    log-probability of a completion -> its value -> lead = value of chosen - value of rejected -> loss

The value is the sum over the completion's tokens, or their mean, or AlphaPO's reward of it. A loss's options
are its keyword arguments, filled from the config by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.errors import UserError
from burnish.losses import margin
from burnish.losses.output import Mean, Metric


@dataclass(frozen=True)
class Likelihoods:
    """Log-probabilities of completions under the policy: columns chosen, rejected, and any others."""

    total: Tensor  # float[P, k], summed over trained tokens, in nats
    length: Tensor  # int[P, k], trained tokens

    @staticmethod
    def of(total: Tensor, length: Tensor, columns: int = 2) -> Likelihoods:
        """From per-branch sums float[B] and trained tokens int[B], `columns` branches a row."""
        return Likelihoods(total.view(-1, columns), length.view(-1, columns))

    @property
    def mean(self) -> Tensor:  # float[P, k]
        """Per token."""
        return self.total / self.length

    def nll(self, column: int) -> Mean:
        """-log p of one column, a mean over its tokens."""
        return Mean.ratio(-self.total[:, column].sum(), self.length[:, column].sum())


def alpha_reward(logprob: Tensor, alpha: float) -> Tensor:
    """(1 - p^-α) / α with p = exp(logprob); its limit for α = 0 is the log-probability itself.

    AlphaPO, arXiv:2501.03884.

    Use where SimPO makes both completions less likely: alpha says how fast the reward saturates.
    """
    return -torch.expm1(-alpha * logprob) / alpha if alpha else logprob


def lead(value: Tensor) -> Tensor:  # float[P, k] -> float[P]
    return value[:, 0] - value[:, 1]


def sigmoid(lead: Tensor, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-(1 - ε) log sigmoid(beta * lead) - ε log sigmoid(-beta * lead), with ε = label_smoothing.

    CPO, arXiv:2401.08417: DPO with a uniform reference; TPO, arXiv:2405.16681.

    Use by default.
    """
    return margin.sigmoid(beta * lead, label_smoothing)


def hinge(lead: Tensor, beta: float = 0.1) -> Tensor:
    """max(0, 1 - beta * lead).

    SLiC-HF, arXiv:2305.10425.

    Use where pairs that are already far enough apart should not be pushed any further.
    """
    return margin.hinge(beta * lead)


def ipo(lead: Tensor, beta: float = 0.1) -> Tensor:
    """(lead per token - 1 / (2 beta))².

    IPO, arXiv:2310.12036, with a uniform reference.

    Use where the margin should have a target, and stop there.
    """
    return (lead - 1 / (2 * beta)).square()


def simpo(lead: Tensor, beta: float = 0.1, label_smoothing: float = 0.0, simpo_gamma: float = 0.5) -> Tensor:
    """-(1 - ε) log sigmoid(h) - ε log sigmoid(-h), with h = beta * lead per token - γ and γ = simpo_gamma.

    SimPO, arXiv:2405.14734; AlphaPO, arXiv:2501.03884, with `alpha_reward` for values.

    Use where completions are sampled from the model itself and lengths differ; needs a large beta, 2 to 10.
    """
    return margin.sigmoid(beta * lead - simpo_gamma, label_smoothing)


def tpo_l(lead: Tensor, beta: float = 0.01, label_smoothing: float = 0.0, tpo_l_gamma: float = 0.5) -> Tensor:
    """-(1 - ε) log sigmoid(h) - ε log sigmoid(-h), with h = beta * lead per token - γ and γ = tpo_l_gamma.

    TPO-L, arXiv:2405.16681: SimPO's loss beside the likelihood of a gold completion.

    Use where lengths differ; needs a large beta, as SimPO does.
    """
    return simpo(lead, beta, label_smoothing, tpo_l_gamma)


PER_TOKEN = frozenset({"ipo", "simpo", "tpo-l"})
"""Losses whose value of a completion is the mean over its tokens; that of the others is the sum."""

CPO_LOSSES = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo, "simpo": simpo}
TPO_LOSSES = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo, "tpo-l": tpo_l}


def check_smoothing(loss: Callable, label_smoothing: float) -> None:
    """Refuse label smoothing for a loss that has none. Raises `UserError`."""
    if label_smoothing and "label_smoothing" not in signature(loss).parameters:
        raise UserError(
            f"the loss {loss.__name__} has no label smoothing", where="label_smoothing", fix="leave it out"
        )


def log_odds_ratio(logprob: Tensor) -> Tensor:  # float[P, 2] -> float[P]
    """log(odds(chosen) / odds(rejected)), with odds = p / (1 - p) and p = exp(logprob).

    `logprob` is a mean over the tokens of a completion.
    """
    return lead(logprob - log1mexp(logprob))


def odds_ratio(log_odds: Tensor, beta: float = 0.1) -> Tensor:
    """-beta * log sigmoid(log odds ratio).

    ORPO, arXiv:2403.07691, its second term, with λ = beta.

    Use to fine-tune and to prefer in one stage, from a base model.
    """
    return -beta * F.logsigmoid(log_odds)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, accurate near 0 and far below it."""
    near = x > -0.6931471805599453  # -ln 2; the branch not taken must not reach the gradient with a nan
    close, far = x.where(near, -1.0), x.where(~near, -1.0)
    return torch.where(near, (-torch.expm1(close)).log(), torch.log1p(-far.exp()))


def pair_metrics(logprob: Tensor, reward: Tensor) -> dict[str, Metric]:
    """Rewards, how often and by how much chosen has the higher one, and log-probabilities: float[P, k]."""
    chosen, rejected = reward.detach()[:, 0], reward.detach()[:, 1]
    return {
        "rewards/chosen": Mean.of(chosen),
        "rewards/rejected": Mean.of(rejected),
        "rewards/accuracies": Mean.of((chosen > rejected).to(chosen.dtype)),
        "rewards/margins": Mean.of(chosen - rejected),
        "logps/chosen": Mean.of(logprob.detach()[:, 0]),
        "logps/rejected": Mean.of(logprob.detach()[:, 1]),
    }
