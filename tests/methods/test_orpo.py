"""ORPO divides by the tokens that it adds up."""

from __future__ import annotations

import pytest
import torch

from burnish import ORPOTrainer
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest


@pytest.mark.parametrize("prompt", [[], [5], [5, 6, 7]])
@pytest.mark.parametrize("mask", [[True] * 4, [False, True, False, True]])
def test_the_count_is_that_of_the_scored_tokens(prompt, mask):
    example = TokenizedExample(prompt, [[8, 9, 8, 9], [4]], [mask, [True]])
    forest = Forest.pack([example])
    chosen = torch.tensor([True, False])
    trained = chosen[forest.target_branch].sum()
    assert ORPOTrainer.counts(None, example) == (1, int(trained) + len(forest.above(chosen)))
