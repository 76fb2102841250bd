"""Direct preference optimization: make the chosen completion likelier than the rejected one, measured
against a reference policy (arXiv:2305.18290).

The *ratio* of a completion is log policy - log reference; the *margin* of a pair is the chosen ratio
minus the rejected one. A loss is a function of these (`losses/preference.py`); it is a mean over pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.data.formats import PREFERENCE
from burnish.engine.compat import DPOTrlOptions
from burnish.engine.config import EngineConfig
from burnish.engine.precompute import with_reference_scores
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.losses.output import LossOutput, Mean, Metric
from burnish.losses.preference import PREFERENCE_LOSSES, PairScores, preference_metrics
from burnish.models.reference import Reference
from burnish.models.score import Scores, score
from burnish.options import described


@dataclass
class DPOConfig(DPOTrlOptions, EngineConfig):
    """Options of `DPOTrainer`."""

    learning_rate: float = described(1e-6, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    loss_type: list[str] = described(
        ["sigmoid"], "The loss of a pair, by name; several are added up.", choices=list(PREFERENCE_LOSSES)
    )
    loss_weights: list[float] | None = described(None, "Weights of several losses. Unset: 1 each.")
    beta: float = described(0.1, "How strongly the policy is held to the reference.")
    label_smoothing: float = described(0.0, "Share of pairs taken to be labelled the wrong way round.")
    precompute_ref_log_probs: bool = described(
        False,
        "Score all rows by the reference before step 1. Always so in full fine-tuning without a ref_model.",
    )

    def __post_init__(self) -> None:
        if isinstance(self.loss_type, str):
            self.loss_type = [self.loss_type]
        super().__post_init__()
        if self.loss_weights is not None and len(self.loss_weights) != len(self.loss_type):
            raise UserError(
                f"{len(self.loss_weights)} weights for {len(self.loss_type)} losses",
                where="loss_weights",
                fix="give one weight for every loss",
            )
        without = [
            name
            for name in self.loss_type
            if "label_smoothing" not in signature(PREFERENCE_LOSSES[name]).parameters
        ]
        if self.label_smoothing and without:
            raise UserError(
                f"the loss {without[0]} has no label smoothing", where="label_smoothing", fix="leave it out"
            )


class DPOTrainer(Engine):
    """Preference optimization on pairs.

    `ref_model` is a reference of one's own. Without it: the adapter switched off, a frozen copy of the
    adapter if training continues one, or in full fine-tuning the model before step 1. `loss`:
    `PairScores` -> float[P] replaces `loss_type`.
    """

    config_class = DPOConfig
    read_row = PREFERENCE

    def __init__(
        self, model: Any = None, ref_model: Any = None, args: Any = None, *rest: Any, **kwargs: Any
    ) -> None:
        super().__init__(model, args, *rest, ref_model=ref_model, **kwargs)

    def setup(self, ref_model: Any = None, loss: Callable[[PairScores], Tensor] | None = None) -> None:
        self.reference = Reference.of(self.model, self.also(ref_model), fresh_adapter=self.adapter_is_fresh)
        self.loss = self.bind(loss) if loss else self.weighted_sum(PREFERENCE_LOSSES)

    def completed(self, dataset: Any) -> Any:
        if self.reference.is_live and not self.args.precompute_ref_log_probs:
            return dataset
        return with_reference_scores(self, self.reference, dataset)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        scores = score(model, forest, details=self.args.token_metrics or not model.training)
        policy = forest.per_branch(scores.logprob)  # float[B]
        reference = self.reference.logprob(self.model, forest)  # float[B]
        pair = PairScores.of(policy, reference, forest.trained_per_branch)
        metrics = preference_metrics(pair, self.args.beta) | pair_token_metrics(forest, scores)
        return LossOutput(Mean.of(self.loss(pair)), metrics)

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Implicit rewards of (chosen, rejected): float[P, 2], and label 0: the first is better."""
        ratio = forest.per_branch(score(model, forest).logprob) - self.reference.logprob(self.model, forest)
        rewards = self.args.beta * ratio.view(-1, 2)
        return rewards, torch.zeros(len(rewards), dtype=torch.long, device=rewards.device)


def pair_token_metrics(forest: Forest, scores: Scores) -> dict[str, Metric]:
    """Where asked for: entropy, mean logits by side, and the chosen side's top-1 accuracy."""
    details = scores.details
    if details is None:
        return {}
    chosen = forest.target_branch % 2 == 0
    hits = (details.top == forest.tokens[forest.target]).to(scores.logprob.dtype)
    return {
        "entropy": Mean.of(details.entropy),
        "mean_token_accuracy": Mean.of(hits[chosen]),
        "logits/chosen": Mean.of(details.mean_logit[chosen]),
        "logits/rejected": Mean.of(details.mean_logit[~chosen]),
    }
