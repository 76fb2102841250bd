"""Supervised fine-tuning: raise the likelihood of the trained tokens.

A row is a text, a chat, or a prompt with a completion. The loss is a mean over trained tokens.

Use first: to teach a format, a task or a tone from examples, and as the start of the methods below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.engine.compat import SFTTrlOptions
from burnish.engine.language import LanguageConfig, LanguageEngine, token_metrics
from burnish.losses.likelihood import LIKELIHOOD_LOSSES
from burnish.losses.output import LossOutput, Mean, one_each
from burnish.models.score import score
from burnish.options import described


@dataclass
class SFTConfig(SFTTrlOptions, LanguageConfig):
    """Options of `SFTTrainer`."""

    loss_type: str = described(
        "nll",
        "nll: maximum likelihood. dft: likelihood weighted by each token's own probability.",
        choices=["nll", "dft"],
    )


class SFTTrainer(LanguageEngine):
    """Supervised fine-tuning.

    `formatting_func` turns a row into text. `loss`: float[N] -> float[N] replaces `loss_type`.
    """

    config_class = SFTConfig

    def setup(self, loss: Callable[[Tensor], Tensor] | None = None) -> None:
        self.loss = self.bind(loss or LIKELIHOOD_LOSSES[self.args.loss_type])

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        uniform = self.args.loss_type == "nll"
        scores = score(model, forest, details=self.wants_details(model), uniform=uniform)
        losses = one_each(self.loss(scores.logprob), scores.logprob, "token")
        return LossOutput(Mean.of(losses), token_metrics(forest, scores.details))
