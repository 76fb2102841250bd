"""Reward modeling: a scalar head on the last token of a completion, trained to rank chosen above rejected.

Loads and saves as `AutoModelForSequenceClassification` with one label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.data.formats import PREFERENCE
from burnish.engine.config import EngineConfig
from burnish.engine.trainer import Engine
from burnish.losses.output import LossOutput, Mean
from burnish.losses.reward import bradley_terry, centering, reward_metrics
from burnish.models.score import leaf_rewards
from burnish.options import described


@dataclass
class RewardConfig(EngineConfig):
    """Options of `RewardTrainer`."""

    learning_rate: float = described(1e-4, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    truncation_mode: str = described(
        "drop",
        "What becomes of a pair that is too long: dropped, as a cut answer is another one; or which end is "
        "kept; or stop (error).",
        choices=["keep_start", "keep_end", "drop", "error"],
    )
    center_rewards_coefficient: float | None = described(
        None, "Weight of a term that keeps rewards around zero; 0.01 is usual."
    )


class RewardTrainer(Engine):
    """Trains a reward model on pairs; a `margin` column asks for so much distance.

    `loss`: (chosen float[P], rejected float[P], margin) -> float[P] replaces Bradley-Terry.
    """

    config_class = RewardConfig
    task = "reward"
    read_row = PREFERENCE

    def setup(self, loss: Callable[..., Tensor] = bradley_terry) -> None:
        self.loss = loss

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        chosen, rejected = self.rewards(model, forest)
        loss = self.loss(chosen, rejected, forest.columns.get("margin", torch.zeros(())).to(chosen))
        if self.args.center_rewards_coefficient is not None:
            loss = loss + self.args.center_rewards_coefficient * centering(chosen, rejected)
        return LossOutput(Mean.of(loss), reward_metrics(chosen, rejected))

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """The rewards of (chosen, rejected): float[P, 2], and label 0: the first is the better one."""
        rewards = torch.stack(self.rewards(model, forest), 1)
        return rewards, torch.zeros(len(rewards), dtype=torch.long, device=rewards.device)

    def rewards(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:  # float[P], float[P]
        chosen, rejected = leaf_rewards(model, forest).view(-1, 2).unbind(1)
        return chosen, rejected
