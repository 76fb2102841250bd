"""Direct preference optimization: make the chosen completion likelier than the rejected one, measured
against a reference policy (arXiv:2305.18290).

The *ratio* of a completion is log policy - log reference; the *margin* of a pair is the chosen ratio
minus the rejected one. A loss is a function of these (`losses/margin.py`, `losses/preference.py`,
`losses/transport.py`); it is a mean over pairs, and `sft`, where it is added, one over chosen tokens.

Use for pairs, after fine-tuning: the method to try first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.formats import PREFERENCE
from burnish.engine.compat import DPOTrlOptions
from burnish.engine.moving import ReferenceConfig
from burnish.engine.referenced import ReferenceEngine
from burnish.engine.sides import column_metrics, first_is_better
from burnish.engine.survey import measured, of_all, with_columns
from burnish.losses.divergence import DIVERGENCES
from burnish.losses.likelihood import nll
from burnish.losses.margin import DYNAMIC_BETA_MOMENTUM, PairLoss, dynamic_beta_scale, no_lead
from burnish.losses.mixture import PREFERENCE_LOSSES, check_mixture, pair_loss, weighted_sum
from burnish.losses.output import LossOutput, Mean, Sum, one_each
from burnish.losses.preference import PairScores, preference_metrics
from burnish.losses.transport import STEP_LOSSES, matches
from burnish.losses.weighting import length_desensitized, on_policy_weight
from burnish.models.reference import COLUMN
from burnish.models.score import Scores, score
from burnish.options import described


@dataclass
class DPOConfig(DPOTrlOptions, ReferenceConfig):
    """Options of `DPOTrainer`."""

    learning_rate: float = described(1e-6, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    loss_type: list[str] = described(
        ["sigmoid"], "The loss of a pair, by name; several are added up.", choices=list(PREFERENCE_LOSSES)
    )
    loss_weights: list[float] | None = described(None, "Weights of several losses. Unset: 1 each.")
    beta: float = described(0.1, "How strongly the policy is held to the reference.")
    label_smoothing: float = described(0.0, "Share of pairs taken to be labelled the wrong way round.")
    discopop_tau: float = described(0.05, "Loss discopop: temperature of the mix of its two parts.")
    positive_penalty: float = described(50.0, "Loss dpo_positive: weight of a chosen that gets less likely.")
    f_divergence_type: str = described(
        "reverse_kl", "What holds the policy to the reference.", choices=list(DIVERGENCES)
    )
    f_alpha_divergence_coef: float = described(0.5, "The alpha of alpha_divergence, at most 1.")
    margin_offset: float = described(0.0, "Chosen must win by this times the rows' column `margin`.")
    length_penalty: float = described(0.0, "Reward that a token more costs.")
    dynamic_beta: float = described(0.0, "How much beta follows the mean margin of a step. 0: it is fixed.")
    ld_alpha: float | None = described(
        None, "Weight of the tokens by which a completion is longer than the other of its pair. Unset: 1."
    )
    use_weighting: bool = described(False, "Weigh pairs by how likely the policy itself would say them.")

    def __post_init__(self) -> None:
        if isinstance(self.loss_type, str):
            self.loss_type = [self.loss_type]
        super().__post_init__()
        check_mixture(self)


class DPOTrainer(ReferenceEngine):
    """Preference optimization on pairs. `loss`: `PairScores` -> float[P] replaces `loss_type`."""

    config_class = DPOConfig
    read_row = PREFERENCE

    def setup(self, ref_model: Any = None, loss: PairLoss | None = None) -> None:
        weights = self.args.loss_weights or [1.0] * len(self.args.loss_type)
        named = list(zip(weights, self.args.loss_type, strict=True)) if loss is None else []
        of_pairs = [(weight, pair_loss(name, self.bind)) for weight, name in named if name != "sft"]
        self.loss, self.is_custom = (
            weighted_sum(of_pairs) if loss is None else self.bind(loss),
            loss is not None,
        )
        self.nll_weight = sum(weight for weight, name in named if name == "sft")
        self.compares_pairs = any(name in STEP_LOSSES for _, name in named)
        self.set_reference(ref_model)
        if self.args.ld_alpha is not None:
            self.reference.add_up = partial(length_desensitized, ld_alpha=self.args.ld_alpha)
        if self.args.margin_offset and "margin" not in getattr(self.train_dataset, "column_names", "margin"):
            raise no_lead()

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        return (1, example.trained_in(0)) if self.nll_weight else (1,)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        wanted = self.args.token_metrics or self.args.use_weighting or not model.training
        scores = score(model, forest, details=wanted)
        pair = self.pair_scores(forest, scores)
        losses = one_each(self.loss(pair), pair.margin, "pair")
        if self.args.use_weighting:
            assert scores.details is not None
            losses = losses * on_policy_weight(forest, scores.logprob, scores.details.log_sum_squares)
        metrics = preference_metrics(pair, self.args.beta) | column_metrics(forest, scores)
        if not self.nll_weight:
            return LossOutput(Mean.of(losses), metrics)
        chosen = Mean.of(nll(scores.logprob[forest.target_branch % 2 == 0]))
        return LossOutput(Sum((Mean.of(losses), chosen * self.nll_weight)), metrics)

    def loss_without_margin(self) -> float | None:
        args = self.args
        plain = args.loss_type == ["sigmoid"] and args.loss_weights is None and not self.is_custom
        moved = args.margin_offset or args.length_penalty or args.use_weighting
        return math.log(2) if plain and not moved else None

    def pair_scores(self, forest: Forest, scores: Scores) -> PairScores:
        policy = self.reference.add_up(forest, scores.logprob)  # float[B]
        reference = self.beside(policy, forest)  # float[B]
        of_step = {name: forest.columns.get(name) for name in ("match", "beta_scale")}
        lead = forest.columns.get("margin")
        pair = PairScores.of(policy, reference, forest.trained_per_branch, lead=lead, **of_step)
        if self.compares_pairs and pair.match is None:  # all of the step is in this forest
            return replace(pair, match=matches(pair))
        return pair

    def survey(self, model: nn.Module, examples: list[TokenizedExample]) -> list[TokenizedExample]:
        """Where the loss asks for it: what pairs meet in their step, and what the step makes of beta."""
        one_forest = model.training and self.accelerator.num_processes == 1 and len(self.cut(examples)) < 2
        if not self.args.dynamic_beta and (one_forest or not self.compares_pairs):
            return examples
        own = measured(self, examples, lambda forest: self.pair_scores(forest, score(model, forest)).table)
        ranks = of_all([own.tolist()])
        before = sum(map(len, ranks[: self.accelerator.process_index]))
        step = PairScores.of_table(own.new_tensor(list(chain.from_iterable(ranks))))
        match = matches(step)[before : before + len(examples)].tolist()
        columns = {COLUMN: own[:, 2:4].tolist(), "match": match}
        if self.args.dynamic_beta:
            scale = self.beta_scale(float(step.margin.mean()), model.training)
            columns["beta_scale"] = [scale] * len(examples)
        return with_columns(examples, **columns)

    def beta_scale(self, mean_margin: float, training: bool) -> float:
        running = self.running.get("mean_margin", 0.0)
        running += (1 - DYNAMIC_BETA_MOMENTUM) * (mean_margin - running)
        if training:
            self.running["mean_margin"] = running
        return dynamic_beta_scale(mean_margin, running, self.args.dynamic_beta)

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Implicit rewards of (chosen, rejected): float[P, 2], and label 0: the first is better."""
        return first_is_better(self.rewards(model, forest).view(-1, 2))
