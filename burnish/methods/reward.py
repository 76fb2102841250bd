"""Reward modeling: a linear head on the last token of a completion, trained on what people preferred.

    pairs     chosen above rejected                            bradley_terry, hinge, focal, soft_label ...
    lists     several completions of one prompt, in an order   plackett_luce, all_pairs
    scores    a completion with a number for each attribute    regression, ordinal

What rows are read follows from the loss. Loads and saves as `AutoModelForSequenceClassification`, with one
label, or one per attribute; the reward is then their sum with the weights of the *readout*.

Use to judge answers: to choose the best of several, to filter data, or as what reinforcement learning
maximizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from burnish.data.forest import Forest
from burnish.data.reading.family import Family
from burnish.data.reading.formats import PREFERENCE, RANKED, scored_by
from burnish.data.reading.variants import WITH_MARGIN, WITH_PROBABILITY
from burnish.engine.config import ScoringConfig
from burnish.engine.sides import first_is_better
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.losses.output import LossOutput, Mean, one_each
from burnish.losses.pointwise import POINTWISE_LOSSES, pointwise_metrics
from burnish.losses.ranking import RANKING_LOSSES, ranking_metrics
from burnish.losses.reward import REWARD_PAIR_LOSSES, centering, column_of, reward_metrics, reward_range
from burnish.models.forward import inner_model
from burnish.models.score import leaf_rewards
from burnish.options import described

REWARD_LOSSES: dict[str, Callable[..., Tensor]] = {**REWARD_PAIR_LOSSES, **RANKING_LOSSES, **POINTWISE_LOSSES}

NEEDS_COLUMN = {"margin": WITH_MARGIN, "chosen_probability": WITH_PROBABILITY}
"""Pairs in which a column may not be missing."""


@dataclass
class RewardConfig(ScoringConfig):
    """Options of `RewardTrainer`."""

    learning_rate: float = described(1e-4, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    truncation_mode: str = described(
        "drop",
        "What becomes of a row that is too long: dropped, as a cut answer is another one; or which end is "
        "kept; or stop (error).",
        choices=["keep_start", "keep_end", "drop", "error"],
    )
    loss_type: str = described(
        "bradley_terry",
        "The loss, which says what rows are: pairs; lists for plackett_luce and all_pairs; completions with "
        "scores for regression and ordinal.",
        choices=list(REWARD_LOSSES),
    )
    center_rewards_coefficient: float | None = described(
        None, "Weight of a term that keeps the rewards of pairs around zero; 0.01 is usual."
    )
    focal_gamma: float = described(2.0, "How much less pairs count in focal that are ranked right.")
    ordinal_levels: list[float] | None = described(
        None, "All values that a score can have, in rising order; for ordinal."
    )
    attributes: list[str] | None = described(
        None, "The columns of scores, a label of the head for each. Unset: score."
    )
    attribute_weights: list[float] | None = described(
        None, "What each label of the head counts in the reward. Unset: the model's own, or 1 each."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        is_pointwise = self.loss_type in POINTWISE_LOSSES
        self._refuse_unread("center_rewards_coefficient", self.loss_type in REWARD_PAIR_LOSSES)
        self._refuse_unread("focal_gamma", self.loss_type == "focal")
        self._refuse_unread("ordinal_levels", self.loss_type == "ordinal")
        self._refuse_unread("attributes", is_pointwise)
        levels = self.ordinal_levels
        if self.loss_type == "ordinal" and (not levels or len(levels) < 2 or levels != sorted(set(levels))):
            raise UserError(
                f"expected two levels or more in rising order, found {levels}",
                where="ordinal_levels",
                fix="name all values that scores have, such as 0 1 2 3 4",
            )
        if is_pointwise and self.attribute_weights and len(self.attribute_weights) != len(self.scored):
            raise UserError(
                f"{len(self.attribute_weights)} weights for {len(self.scored)} attributes",
                where="attribute_weights",
                fix="give one weight for every attribute",
            )

    def _refuse_unread(self, name: str, is_read: bool) -> None:
        if not is_read and getattr(self, name) != getattr(type(self), name):
            raise UserError(f"the loss {self.loss_type} does not read this", where=name, fix="leave it out")

    @property
    def scored(self) -> list[str]:
        """The attributes that a pointwise loss is of."""
        return self.attributes or ["score"]

    def head_kwargs(self) -> dict[str, Any]:
        if self.loss_type in POINTWISE_LOSSES:
            names = dict(enumerate(self.scored))
            by_name = {name: label for label, name in names.items()}
            named = {"id2label": names, "label2id": by_name} if len(names) > 1 else {}
            return {"num_labels": len(names), "problem_type": "regression", **named}
        return {"num_labels": len(self.attribute_weights)} if self.attribute_weights else {}


class RewardTrainer(Engine):
    """Trains a reward model; of pairs, a `margin` column asks for so much distance.

    `loss`: (chosen float[P], rejected float[P], margin) -> float[P] replaces a `loss_type` of pairs.
    """

    config_class = RewardConfig
    task = "reward"
    read_row = PREFERENCE

    @classmethod
    def reads(cls, args: RewardConfig) -> Family:
        if args.loss_type in RANKING_LOSSES:
            return RANKED
        if args.loss_type in POINTWISE_LOSSES:
            return scored_by(args.scored, args.ordinal_levels or ())
        column, needed = column_of(REWARD_PAIR_LOSSES[args.loss_type])
        return NEEDS_COLUMN[column] if needed else PREFERENCE

    def setup(self, loss: Callable[..., Tensor] | None = None) -> None:
        name = self.args.loss_type
        if loss is not None and name != "bradley_terry":
            raise UserError(f"there is a loss_type {name} too", where="loss", fix="leave one of them out")
        self.loss = loss or self.bind(REWARD_LOSSES[name])
        self.weights = self._readout()

    def _readout(self) -> list[float]:
        """What each label of the head counts in the reward; kept in the model's config."""
        config = inner_model(self.model).config
        weights = self.args.attribute_weights or getattr(config, "attribute_weights", None)
        labels = len(self.args.scored) if self.args.loss_type in POINTWISE_LOSSES else len(weights or [1.0])
        if config.num_labels != labels:
            raise UserError(
                f"the model's head has {config.num_labels} labels, and {labels} are needed",
                where="model",
                fix=f"give as many attribute_weights as it has labels, or a model with num_labels={labels}",
            )
        weights = weights if weights and len(weights) == labels else [1.0] * labels
        if labels > 1:
            config.attribute_weights = weights
        return weights

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        labels = leaf_rewards(model, forest)
        if self.args.loss_type in POINTWISE_LOSSES:
            return self._of_scores(labels, forest)
        of_completions = self._of_lists if self.args.loss_type in RANKING_LOSSES else self._of_pairs
        return of_completions(self.readout(labels), forest)

    def readout(self, labels: Tensor) -> Tensor:  # float[B, K] -> float[B]
        return labels @ labels.new_tensor(self.weights)

    def _of_pairs(self, rewards: Tensor, forest: Forest) -> LossOutput:
        chosen, rejected = rewards.view(-1, 2).unbind(1)
        margin = forest.columns.get(column_of(REWARD_PAIR_LOSSES[self.args.loss_type])[0], torch.zeros(()))
        loss = one_each(self.loss(chosen, rejected, margin.to(chosen)), chosen, "pair")
        if self.args.center_rewards_coefficient is not None:
            loss = loss + self.args.center_rewards_coefficient * centering(chosen, rejected)
        return LossOutput(Mean.of(loss), reward_metrics(chosen, rejected))

    def _of_lists(self, rewards: Tensor, forest: Forest) -> LossOutput:
        scores = forest.numbers("scores", rewards)
        metrics = reward_range(rewards) | ranking_metrics(rewards, scores, forest.tree)
        return LossOutput(Mean.of(self.loss(rewards, scores, forest.tree)), metrics)

    def _of_scores(self, labels: Tensor, forest: Forest) -> LossOutput:
        scores = forest.numbers("scores", labels).view_as(labels)
        metrics = pointwise_metrics(labels, scores, self.args.scored, self.args.ordinal_levels)
        return LossOutput(Mean.of(self.loss(labels, scores)), reward_range(self.readout(labels)) | metrics)

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Of pairs the rewards of (chosen, rejected), float[P, 2], and the label 0: the first is better.

        Of lists rewards and scores, float[E, longest], filled up with -100; of scores both, float[E, K].
        """
        labels = leaf_rewards(model, forest)
        if self.args.loss_type in POINTWISE_LOSSES:
            return labels, forest.numbers("scores", labels).view_as(labels)
        if self.args.loss_type not in RANKING_LOSSES:
            return first_is_better(self.readout(labels).view(-1, 2))
        both = torch.stack([self.readout(labels), forest.numbers("scores", labels)], 1)
        lists = list(both.split(forest.tree.bincount().tolist()))
        rewards, scores = pad_sequence(lists, batch_first=True, padding_value=-100.0).unbind(-1)
        return rewards, scores
