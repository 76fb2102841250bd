"""Odds ratio preference optimization: fine-tuning on chosen completions that also makes their odds higher
than those of the rejected ones; one stage, and no reference (arXiv:2403.07691).

The likelihood of the chosen side is a mean over its tokens, prompt included, as in the authors' code.

Use to go from a base model to a preferred one in one stage, without the cost of a reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.formats import PREFERENCE
from burnish.engine.compat import ReferenceFreeTrlOptions
from burnish.engine.config import ComparingConfig
from burnish.engine.sides import column_metrics, first_is_better
from burnish.engine.trainer import Engine
from burnish.losses.output import LossOutput, Mean, Sum
from burnish.losses.reference_free import Likelihoods, log_odds_ratio, odds_ratio, pair_metrics
from burnish.models.score import score
from burnish.options import described


@dataclass
class ORPOConfig(ReferenceFreeTrlOptions, ComparingConfig):
    """Options of `ORPOTrainer`."""

    learning_rate: float = described(1e-6, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    beta: float = described(0.1, "Weight of the odds ratio beside the likelihood.")


class ORPOTrainer(Engine):
    """Preference optimization on pairs, without a reference."""

    config_class = ORPOConfig
    read_row = PREFERENCE

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        """Pairs, and tokens of the chosen side but its first, whether a mask marks them or not."""
        return 1, max(0, len(example.prompt) + len(example.completions[0]) - 1)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        chosen = torch.arange(forest.branches, device=forest.tokens.device) % 2 == 0
        details = self.args.token_metrics or not model.training
        scores = score(model, forest, details=details, prompts_of=chosen)
        found = Likelihoods.of(forest.per_branch(scores.logprob), forest.trained_per_branch)
        log_odds = log_odds_ratio(found.mean)
        contrast = odds_ratio(log_odds, self.args.beta)
        assert scores.prompt is not None
        completions = found.nll(0)
        nll = Mean.ratio(completions.total - scores.prompt.sum(), completions.count + len(scores.prompt))
        metrics = {
            **pair_metrics(found.mean, self.args.beta * found.mean),
            **column_metrics(forest, scores),
            "nll_loss": nll,
            "log_odds_ratio": Mean.of(-contrast / self.args.beta),
            "log_odds_chosen": Mean.of(log_odds),
        }
        return LossOutput(Sum((Mean.of(contrast), nll)), metrics)

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Rewards of (chosen, rejected): float[P, 2], and label 0: the first is better."""
        found = Likelihoods.of(forest.per_branch(score(model, forest).logprob), forest.trained_per_branch)
        return first_is_better(self.args.beta * found.mean)
