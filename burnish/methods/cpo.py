"""Contrastive preference optimization: DPO with a uniform reference, beside the likelihood of the chosen
completion (arXiv:2401.08417); and SimPO (arXiv:2405.14734) and AlphaPO (arXiv:2501.03884), which compare
completions per token and ask for a margin.

Use where a reference is too much to compute or to hold; SimPO where answers are the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.formats import PREFERENCE
from burnish.engine.compat import ReferenceFreeTrlOptions
from burnish.engine.config import ComparingConfig
from burnish.engine.sides import column_metrics, first_is_better
from burnish.engine.trainer import Engine
from burnish.losses.output import LossOutput, Mean, Sum
from burnish.losses.reference_free import (
    CPO_LOSSES,
    PER_TOKEN,
    Likelihoods,
    alpha_reward,
    check_smoothing,
    lead,
    pair_metrics,
)
from burnish.models.score import score
from burnish.options import described


@dataclass
class CPOConfig(ReferenceFreeTrlOptions, ComparingConfig):
    """Options of `CPOTrainer`."""

    learning_rate: float = described(1e-6, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    loss_type: str = described(
        "sigmoid",
        "The loss of a pair. alphapo is simpo with cpo_alpha=0; alpha says which reward it has.",
        choices=["sigmoid", "hinge", "ipo", "simpo", "alphapo"],
    )
    beta: float = described(0.1, "How much a difference of log-probabilities counts.")
    label_smoothing: float = described(0.0, "Share of pairs taken to be labelled the wrong way round.")
    cpo_alpha: float = described(1.0, "Weight of the likelihood of chosen completions.")
    simpo_gamma: float = described(0.5, "The margin of rewards that simpo asks for.")
    alpha: float = described(0.0, "AlphaPO's reward is (1 - p^-alpha) / alpha; 0: log p.")

    def __post_init__(self) -> None:
        if self.loss_type == "alphapo":
            self.loss_type, self.cpo_alpha = "simpo", 0.0
        super().__post_init__()
        check_smoothing(CPO_LOSSES[self.loss_type], self.label_smoothing)


class CPOTrainer(Engine):
    """Preference optimization on pairs, without a reference."""

    config_class = CPOConfig
    read_row = PREFERENCE

    def setup(self) -> None:
        self.loss = self.bind(CPO_LOSSES[self.args.loss_type])

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        """Pairs, and trained tokens of the chosen side."""
        return 1, example.trained_in(0)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        scores = score(model, forest, details=self.args.token_metrics or not model.training)
        found = Likelihoods.of(forest.per_branch(scores.logprob), forest.trained_per_branch)
        logprob, reward = self.values(found)
        nll = found.nll(0)
        loss = Sum((Mean.of(self.loss(lead(reward))), nll * self.args.cpo_alpha))
        metrics = pair_metrics(logprob, self.args.beta * reward) | column_metrics(forest, scores)
        return LossOutput(loss, metrics | {"nll_loss": nll})

    def values(self, found: Likelihoods) -> tuple[Tensor, Tensor]:  # float[P, 2] both
        """What the loss compares: log-probabilities, as sums or per token, and the rewards made of them."""
        logprob = found.mean if self.args.loss_type in PER_TOKEN else found.total
        return logprob, alpha_reward(logprob, self.args.alpha)

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Rewards of (chosen, rejected): float[P, 2], and label 0: the first is better."""
        found = Likelihoods.of(forest.per_branch(score(model, forest).logprob), forest.trained_per_branch)
        return first_is_better(self.args.beta * self.values(found)[1])
