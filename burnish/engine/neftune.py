"""NEFTune: uniform noise on the embeddings of a training forward (arXiv:2310.05914).

The bound of a token's noise is alpha / sqrt(L * D), with L the tokens of its row and D the width of an
embedding. A forest holds many rows, so L is counted by row here; transformers' own hook would take the
length of the whole forest. A prompt shared by several completions counts as in a batch padded to the
longest of them, and gets one draw of noise for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.forward import inner_model


@contextmanager
def embedding_noise(model: nn.Module, forest: Forest, alpha: float | None) -> Iterator[None]:
    """Within this context, forwards of `forest` in training mode have noise on their embeddings."""
    if alpha is None:
        yield
        return

    def add(module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor:
        if not module.training:
            return embedded
        lengths = row_lengths(forest, embedded.shape[0], embedded.shape[1]).to(embedded.device)
        bound = alpha * (lengths * embedded.shape[-1]).rsqrt()[..., None]
        return embedded + torch.empty_like(embedded).uniform_(-1, 1) * bound.to(embedded.dtype)

    handle = inner_model(model).get_input_embeddings().register_forward_hook(add, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def row_lengths(
    forest: Forest, rows: int, width: int
) -> Tensor:  # float[1, T], or float[B, 1] for padded rows
    """L of every token of a forest that is run as `rows` x `width` tokens: shared, packed, or padded."""
    longest = [0] * forest.trees  # tokens of the longest path of each tree
    of_segment = segment_trees(forest)
    for segment, tree in zip(forest.segments, of_segment, strict=True):
        longest[tree] = max(longest[tree], segment.depth + segment.length)
    if rows == 1 and width == forest.size:
        counts = torch.tensor([segment.length for segment in forest.segments])
        return torch.tensor([float(longest[tree]) for tree in of_segment]).repeat_interleave(counts)[None]
    of_branch = torch.tensor([float(longest[tree]) for tree in forest.tree.tolist()])
    if rows > 1:
        return of_branch[:, None]
    counts = torch.tensor([segment.length for segment in forest.unshared().segments])
    return of_branch.repeat_interleave(counts)[None]


def segment_trees(forest: Forest) -> list[int]:
    """The tree of every segment; a shared prompt is of the tree of the branches below it."""
    tree_of_branch, branch_of_token = forest.tree.tolist(), forest.branch.tolist()
    trees: list[int] = [-1] * len(forest.segments)
    for index in range(len(forest.segments) - 1, -1, -1):  # children stand behind their parents
        segment = forest.segments[index]
        branch = branch_of_token[segment.start]
        if branch >= 0:
            trees[index] = tree_of_branch[branch]
        if segment.parent >= 0:
            trees[segment.parent] = trees[index]
    return trees
