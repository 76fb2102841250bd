"""Kahneman-Tversky optimization: make desirable completions likelier and undesirable ones less likely, each
by itself, without pairs (arXiv:2402.01306).

How good a completion is to the policy is its *ratio*, log policy - log reference. It is measured by the
ratio of completions that have nothing to do with their prompts: an estimate of the KL of policy and
reference, for which every prompt of a step gets the completion of another one, drawn anew in every step.

Use where answers were judged one at a time, or good and bad ones are not equally many; it wants a low
learning rate and many examples a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.mismatch import mismatched, side_by_side
from burnish.data.reading.formats import JUDGED
from burnish.engine.assembly import logger
from burnish.engine.compat import KTOTrlOptions
from burnish.engine.moving import ReferenceConfig
from burnish.engine.referenced import ReferenceEngine, labels_of
from burnish.engine.sides import label_metrics
from burnish.engine.survey import measured, of_all, with_columns
from burnish.errors import UserError
from burnish.losses.output import LossOutput, Mean
from burnish.losses.unpaired import UNPAIRED_LOSSES, USES_KL, UnpairedScores, balance, unpaired_metrics
from burnish.models.reference import COLUMN
from burnish.models.score import score
from burnish.models.states import evaluating
from burnish.options import described


@dataclass
class KTOConfig(KTOTrlOptions, ReferenceConfig):
    """Options of `KTOTrainer`."""

    learning_rate: float = described(1e-6, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    loss_type: str = described(
        "kto",
        "kto: measured by the KL of policy and reference. apo_zero_unpaired: by 0, which costs less.",
        choices=list(UNPAIRED_LOSSES),
    )
    beta: float = described(0.1, "How strongly the policy is held to the reference.")
    desirable_weight: float = described(1.0, "Weight of desirable completions.")
    undesirable_weight: float = described(1.0, "Weight of undesirable completions.")
    precompute_ref_log_probs: bool = described(
        False, "Score all rows by the reference before step 1; apo_zero_unpaired only."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precompute_ref_log_probs and self.loss_type in USES_KL:
            raise UserError(
                f"the reference of {self.loss_type} is needed in every step, for completions drawn anew",
                where="precompute_ref_log_probs",
                fix="leave it out, or use loss_type=apo_zero_unpaired",
            )


class KTOTrainer(ReferenceEngine):
    """Preference optimization on completions with a label; of pairs both completions are taken."""

    config_class = KTOConfig
    read_row = JUDGED

    @classmethod
    def asks_in_every_step(cls, args: Any) -> bool:
        return args.loss_type in USES_KL

    def setup(self, ref_model: Any = None) -> None:
        self.uses_kl = self.asks_in_every_step(self.args)
        self.loss = self.bind(UNPAIRED_LOSSES[self.args.loss_type])
        self.set_reference(ref_model)
        if self.train_dataset is not None:
            self._check_balance()
            self._check_step()

    def _check_balance(self) -> None:
        labels, args = labels_of(self.train_dataset), self.args
        if labels is None:
            return
        found = balance(labels, args.desirable_weight, args.undesirable_weight)
        if not 0.99 < found < 1.34:
            logger.warning(
                "desirable completions weigh %.2f times as much as undesirable ones; 1 to 1.33 is advised: "
                "desirable_weight=%.3g would make it 1",
                found,
                args.desirable_weight / found,
            )

    def _check_step(self) -> None:
        args = self.args
        if self.uses_kl and args.train_batch_size * args.gradient_accumulation_steps * args.world_size < 2:
            raise UserError(
                "a step of one example has no completion of another prompt to estimate the KL by",
                where="per_device_train_batch_size",
                fix="give 2 or more, or use loss_type=apo_zero_unpaired",
            )

    def survey(self, model: nn.Module, examples: list[TokenizedExample]) -> list[TokenizedExample]:
        """Adds the step's KL, and the reference's scores, which are taken in the same forests.

        An example alone in its step (the last of an epoch) has a KL of 0, the least there is.
        """
        if not self.uses_kl:
            return examples
        seed = self.args.seed + (self.state.global_step + 1 if model.training else 0)
        of_step = mismatched(of_all(examples), seed, self.args.max_length)
        if not of_step:
            return examples
        strangers = of_step[self._own_part(len(examples))]
        both = [side_by_side(*pair) for pair in zip(examples, strangers, strict=True)]
        reference = measured(self, both, lambda f: self.reference.score(self.model, f).view(f.trees, -1))
        with evaluating(model):
            policy = measured(self, strangers, lambda f: f.per_branch(score(model, f).logprob))
        ratios = (policy - reference[:, 1]).tolist() if examples else []  # other ranks may have all of them
        kl = max(0.0, fmean(of_all(ratios)))
        own = {"baseline": [kl] * len(examples), COLUMN: reference[:, :1].tolist()}
        return with_columns(examples, **own)

    def _own_part(self, count: int) -> slice:
        """Where the `count` examples of this rank stand among those of all."""
        start = sum(of_all([count])[: self.accelerator.process_index])
        return slice(start, start + count)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        scores = score(model, forest, details=self.args.token_metrics or not model.training)
        policy = forest.per_branch(scores.logprob)
        reference = self.beside(policy, forest)
        unpaired = UnpairedScores.of(policy, reference, forest.columns)
        metrics = unpaired_metrics(unpaired, self.args.beta) | {"kl": Mean.of(unpaired.baseline)}
        return LossOutput(Mean.of(self.loss(unpaired)), metrics | label_metrics(forest, scores))

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Implicit rewards float[E], and labels: 1 desirable, 0 undesirable."""
        return self.rewards(model, forest), forest.columns["label"]
