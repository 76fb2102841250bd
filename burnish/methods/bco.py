"""Binary classifier optimization: a completion's implicit reward tells desirable from undesirable ones, as
the logit of a classifier does (arXiv:2404.04656).

The reward is beta times the *ratio*, log policy - log reference; its threshold is a shift: the mean reward of
all completions seen so far in training, those of the step included.

Use on the same rows as KTO, where no completions of other prompts should have to be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.formats import JUDGED
from burnish.engine.compat import BCOTrlOptions
from burnish.engine.moving import ReferenceConfig
from burnish.engine.referenced import ReferenceEngine, labels_of
from burnish.engine.sides import label_metrics
from burnish.engine.survey import measured, of_all, with_columns
from burnish.losses.output import LossOutput, Mean
from burnish.losses.unpaired import UnpairedScores, bco, unpaired_metrics
from burnish.models.reference import COLUMN
from burnish.models.score import score
from burnish.models.states import evaluating
from burnish.options import described


@dataclass
class BCOConfig(BCOTrlOptions, ReferenceConfig):
    """Options of `BCOTrainer`."""

    learning_rate: float = described(5e-7, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    beta: float = described(0.1, "How strongly the policy is held to the reference.")


class BCOTrainer(ReferenceEngine):
    """Preference optimization on completions with a label; of pairs both completions are taken."""

    config_class = BCOConfig
    read_row = JUDGED

    def setup(self, ref_model: Any = None) -> None:
        self.set_reference(ref_model)
        self.loss = self.bind(bco)
        if self.train_dataset is not None:
            labels_of(self.train_dataset)

    def survey(self, model: nn.Module, examples: list[TokenizedExample]) -> list[TokenizedExample]:
        """Adds the mean ratio of all completions so far; an evaluation takes the mean of training."""
        if model.training:
            reference = measured(self, examples, lambda f: self.reference.logprob(self.model, f))
            with evaluating(model):
                policy = measured(self, examples, lambda f: f.per_branch(score(model, f).logprob))
            self._add(of_all((policy - reference).tolist()))
            examples = with_columns(examples, **{COLUMN: reference[:, None].tolist()})
        return with_columns(examples, baseline=[self.running.get("mean_ratio", 0.0)] * len(examples))

    def _add(self, ratios: list[float]) -> None:
        seen = self.running.get("completions", 0.0)
        total = seen * self.running.get("mean_ratio", 0.0) + sum(ratios)
        self.running = {"completions": seen + len(ratios), "mean_ratio": total / (seen + len(ratios))}

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        scores = score(model, forest, details=self.args.token_metrics or not model.training)
        policy = forest.per_branch(scores.logprob)
        reference = self.beside(policy, forest)
        unpaired = UnpairedScores.of(policy, reference, forest.columns)
        delta = Mean.of(self.args.beta * unpaired.baseline)
        metrics = unpaired_metrics(unpaired, self.args.beta) | label_metrics(forest, scores)
        return LossOutput(Mean.of(self.loss(unpaired)), metrics | {"delta": delta})

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Implicit rewards float[E], and labels: 1 desirable, 0 undesirable."""
        return self.rewards(model, forest), forest.columns["label"]
