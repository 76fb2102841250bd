"""What methods share that set a chosen side against a rejected one."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.data.forest import Forest
from burnish.losses.output import Mean, Metric
from burnish.models.score import Scores


def first_is_better(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions for `compute_metrics`: rewards of (chosen, rejected), float[P, 2], and the label 0."""
    return rewards, torch.zeros(len(rewards), dtype=torch.long, device=rewards.device)


def label_metrics(forest: Forest, scores: Scores) -> dict[str, Metric]:
    """`side_metrics` of rows with one completion, by their column `label`."""
    good = forest.columns["label"] == 1
    return side_metrics(forest, scores, good, ~good)


def column_metrics(forest: Forest, scores: Scores, columns: int = 2) -> dict[str, Metric]:
    """`side_metrics` of rows with as many completions, of which the first is chosen, the second rejected."""
    column = torch.arange(forest.branches, device=forest.tokens.device) % columns
    return side_metrics(forest, scores, column == 0, column == 1)


def side_metrics(forest: Forest, scores: Scores, chosen: Tensor, rejected: Tensor) -> dict[str, Metric]:
    """Of single tokens: entropy, mean logits by side, and the chosen side's top-1 accuracy.

    `chosen` and `rejected` say which branches are of a side: bool[B]. Nothing, if `scores` have no details.
    """
    details = scores.details
    if details is None:
        return {}
    good, bad = (side[forest.target_branch].to(scores.logprob.dtype) for side in (chosen, rejected))
    hits = (details.top == forest.tokens[forest.target]).to(scores.logprob.dtype)
    return {
        "entropy": Mean.of(details.entropy),
        "mean_token_accuracy": Mean.of(hits, good),
        "logits/chosen": Mean.of(details.mean_logit, good),
        "logits/rejected": Mean.of(details.mean_logit, bad),
    }
