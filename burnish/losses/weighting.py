"""What the tokens of a completion weigh in its log-probability, and pairs in the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.data.forest import Forest


def length_desensitized(forest: Forest, logprob: Tensor, ld_alpha: float) -> Tensor:  # float[N] -> float[B]
    """Sum over as many tokens of a completion as both of its pair have + α * sum over the rest, α = ld_alpha.

    LD-DPO, arXiv:2409.06411: what only the longer one has moves its log-probability less.

    Use where DPO makes answers longer.
    """
    length = forest.trained_per_branch
    shared = length.view(-1, 2).amin(1).repeat_interleave(2)
    first = length.cumsum(0) - length
    place = torch.arange(len(forest.target_branch), device=length.device) - first[forest.target_branch]
    inside = place < shared[forest.target_branch]
    return forest.per_branch(torch.where(inside, logprob, ld_alpha * logprob))


def on_policy_weight(forest: Forest, logprob: Tensor, log_sum_squares: Tensor) -> Tensor:  # float[P]
    """exp(mean over chosen + mean over rejected of log p - log Σ p²), p the policy's probability of a token.

    WPO, arXiv:2406.11827, with its alignment to sampling: pairs count as much as the policy would say
    them. From float[N] log-probabilities of tokens and `Details.log_sum_squares`; without gradient.

    Use where the pairs were written by other models.
    """
    aligned = forest.per_branch((logprob - log_sum_squares).detach()) / forest.trained_per_branch
    return aligned.view(-1, 2).sum(1).exp()
