"""Losses of reward models on lists, several completions of one prompt in an order: -> float[E], one a list.

Pure functions of rewards float[B], of the `score` of every completion (more being better; of equal ones
neither is), and of the list it is in, int[B]. To add a loss: write the function and name it in
`RANKING_LOSSES`.

Shapes: E lists (trees of a forest), B completions (branches) of all of them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.losses.output import Mean, Metric


def plackett_luce(reward: Tensor, score: Tensor, tree: Tensor) -> Tensor:
    """-Σ_i log(exp r_i / Σ_j exp r_j), over the completions i of a list; j is i, or worse than i.

    Plackett-Luce: the best one is drawn from all by its share of exp(reward), then the second best from the
    rest, and so on (R. D. Luce, Individual Choice Behavior, 1959; R. L. Plackett, The Analysis of
    Permutations, 1975). Of two completions it is Bradley-Terry. Equal ones do not compete with each other.

    Use where the whole order is meant: the best one above all others, and so on down.
    """
    rivals = _better(score, tree) | torch.eye(len(reward), dtype=torch.bool, device=reward.device)
    losses = reward.expand(len(reward), -1).masked_fill(~rivals, -torch.inf).logsumexp(1) - reward
    return _per_list(losses, tree)


def all_pairs(reward: Tensor, score: Tensor, tree: Tensor) -> Tensor:
    """The mean of -log sigmoid(r_i - r_j), over the pairs of a list in which i is better than j.

    Bradley-Terry as InstructGPT has it of ranked answers, arXiv:2203.02155, eq. 1.

    Use where each comparison counts alike, with ties in the order.
    """
    better = _better(score, tree)
    losses = -F.logsigmoid(reward[:, None] - reward).where(better, 0)
    return _per_list(losses.sum(1), tree) / _per_list(better.sum(1), tree).clamp(min=1)


RANKING_LOSSES = {"plackett_luce": plackett_luce, "all_pairs": all_pairs}


def ranking_metrics(reward: Tensor, score: Tensor, tree: Tensor) -> dict[str, Metric]:
    """Which share of the pairs of each list are in the right order, and how often its best one leads."""
    reward = reward.detach()
    better = _better(score, tree)
    right = (reward[:, None] > reward) & better
    share = _per_list(right.sum(1).to(reward), tree) / _per_list(better.sum(1), tree).clamp(min=1)
    tops = torch.full_like(share, -torch.inf).scatter_reduce(0, tree, reward, "amax")
    wins = (reward == tops[tree]) & ~better.any(0)  # the highest reward, and none is better
    return {
        "accuracy": Mean.of(share),
        "best_accuracy": Mean.of((_per_list(wins.to(reward), tree) > 0).to(reward)),
    }


def _better(score: Tensor, tree: Tensor) -> Tensor:  # bool[B, B]
    """`[i, j]`: i is better than j, in the same list."""
    return (tree[:, None] == tree) & (score[:, None] > score)


def _per_list(values: Tensor, tree: Tensor) -> Tensor:  # float[B] -> float[E]
    lists = int(tree[-1]) + 1
    return values.new_zeros(lists).index_add(0, tree, values)
