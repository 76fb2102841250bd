"""Triple preference optimization: a pair's contrast without a reference policy, beside the likelihood of a
gold completion, which is better than both (arXiv:2405.16681) and stands in the column `reference`.

Use where a third completion is better than both of the pair, such as a person's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.formats import TRIPLE
from burnish.engine.compat import TPOTrlOptions
from burnish.engine.config import ComparingConfig
from burnish.engine.sides import column_metrics, first_is_better
from burnish.engine.trainer import Engine
from burnish.losses.output import LossOutput, Mean, Sum
from burnish.losses.reference_free import (
    PER_TOKEN,
    TPO_LOSSES,
    Likelihoods,
    check_smoothing,
    lead,
    pair_metrics,
)
from burnish.models.score import score
from burnish.options import described

GOLD, COLUMNS = 2, 3
"""Completions of a row: chosen, rejected, gold."""


@dataclass
class TPOConfig(TPOTrlOptions, ComparingConfig):
    """Options of `TPOTrainer`."""

    learning_rate: float = described(5e-7, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    loss_type: str = described(
        "sigmoid",
        "The loss of a pair; tpo-l compares completions per token and asks for a margin.",
        choices=list(TPO_LOSSES),
    )
    beta: float = described(0.01, "How much a difference of log-probabilities counts.")
    label_smoothing: float = described(0.0, "Share of pairs taken to be labelled the wrong way round.")
    tpo_alpha: float = described(1.0, "Weight of the likelihood of gold completions.")
    tpo_l_gamma: float = described(0.5, "The margin of rewards that tpo-l asks for.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_smoothing(TPO_LOSSES[self.loss_type], self.label_smoothing)


class TPOTrainer(Engine):
    """Preference optimization on pairs with a gold completion."""

    config_class = TPOConfig
    read_row = TRIPLE

    def setup(self) -> None:
        self.loss = self.bind(TPO_LOSSES[self.args.loss_type])

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        """Pairs, and trained tokens of the gold completion."""
        return 1, example.trained_in(GOLD)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        scores = score(model, forest, details=self.args.token_metrics or not model.training)
        found = Likelihoods.of(forest.per_branch(scores.logprob), forest.trained_per_branch, COLUMNS)
        logprob = self.values(found)
        nll = found.nll(GOLD)
        loss = Sum((Mean.of(self.loss(lead(logprob))), nll * self.args.tpo_alpha))
        metrics = pair_metrics(logprob, self.args.beta * logprob) | {"nll_loss": nll}
        return LossOutput(loss, metrics | column_metrics(forest, scores, COLUMNS))

    def values(self, found: Likelihoods) -> Tensor:  # float[P, 3]
        """The log-probabilities that the loss compares: sums, or per token."""
        return found.mean if self.args.loss_type in PER_TOKEN else found.total

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Rewards of (chosen, rejected): float[P, 2], and label 0: the first is better."""
        logprob = forest.per_branch(score(model, forest).logprob)
        found = Likelihoods.of(logprob, forest.trained_per_branch, COLUMNS)
        return first_is_better(self.args.beta * self.values(found)[:, :GOLD])
