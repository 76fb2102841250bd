"""The layout of a forest, by value on the drawing of its docstring, and by property on random ones."""

from __future__ import annotations

import pytest
import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest, Segment


def pair(prompt, *completions, **columns):
    return TokenizedExample(prompt, list(completions), [[True] * len(c) for c in completions], columns)


@pytest.fixture
def drawing():
    return Forest.pack([pair([10, 11, 12], [20, 21], [30, 31, 32]), pair([40, 41], [50], [60, 61])])


def test_the_drawing(drawing):
    assert drawing.tokens.tolist() == [10, 11, 12, 20, 21, 30, 31, 32, 40, 41, 50, 60, 61]
    assert drawing.position.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 0, 1, 2, 2, 3]
    assert drawing.parent.tolist() == [-1, 0, 1, 2, 3, 2, 5, 6, -1, 8, 9, 9, 11]
    assert drawing.branch.tolist() == [-1, -1, -1, 0, 0, 1, 1, 1, -1, -1, 2, 3, 3]
    assert drawing.tree.tolist() == [0, 0, 1, 1]
    assert drawing.target.tolist() == [3, 4, 5, 6, 7, 10, 11, 12]
    assert drawing.target_branch.tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    assert drawing.trained_per_branch.tolist() == [2, 3, 1, 2]
    assert drawing.leaf.tolist() == [4, 7, 10, 12]
    assert drawing.segments[2] == Segment(start=5, stop=8, parent=0, depth=3)
    assert (drawing.size, drawing.branches, drawing.trees) == (13, 4, 2)


def test_values_are_summed_per_branch(drawing):
    values = torch.tensor([1.0, 2, 4, 8, 16, 32, 64, 128])
    assert drawing.per_branch(values).tolist() == [3, 28, 32, 192]


def test_ancestors_are_the_closure_of_parents(drawing):
    for token in range(drawing.size):
        above, walk = {token}, token
        while (walk := int(drawing.parent[walk])) >= 0:
            above.add(walk)
        assert set(drawing.ancestors[token].nonzero().flatten().tolist()) == above


def test_a_single_completion_is_one_segment():
    forest = Forest.pack([TokenizedExample([1, 2], [[3, 4]], [[False, True]])])
    assert forest.segments == (Segment(0, 4, -1, 0),)
    assert forest.branch.tolist() == [0, 0, 0, 0]
    assert forest.target.tolist() == [3]


def test_a_root_is_never_scored():
    forest = Forest.pack([TokenizedExample([], [[3, 4]], [[True, True]]), pair([], [5, 6], [7])])
    assert forest.target.tolist() == [1, 3]
    assert forest.trained_per_branch.tolist() == [1, 1, 0]
    assert forest.parent.tolist() == [-1, 0, -1, 2, -1]


def test_unshared_branches_carry_their_prompt_and_keep_the_order_of_scores(drawing):
    unshared = drawing.unshared()
    assert unshared.tokens.tolist() == [
        10,
        11,
        12,
        20,
        21,
        10,
        11,
        12,
        30,
        31,
        32,
        40,
        41,
        50,
        40,
        41,
        60,
        61,
    ]
    assert unshared.tokens[unshared.target].tolist() == drawing.tokens[drawing.target].tolist()
    assert unshared.tokens[unshared.leaf].tolist() == drawing.tokens[drawing.leaf].tolist()
    assert unshared.position[unshared.leaf].tolist() == drawing.position[drawing.leaf].tolist()
    assert unshared.target_branch.tolist() == drawing.target_branch.tolist()


def test_columns_become_tensors_where_they_are_numbers():
    rows = [pair([1], [2], [3], margin=0.5, reference=[-1.0, -2.0], name="a") for _ in range(2)]
    columns = Forest.pack(rows).columns
    assert columns["margin"].tolist() == [0.5, 0.5] and columns["margin"].dtype == torch.float64
    assert columns["reference"].shape == (2, 2)
    assert columns["name"] == ["a", "a"]


def test_moving_a_forest_moves_every_tensor(drawing):
    moved = drawing.to("meta")
    assert {
        getattr(moved, n).device.type for n in ("tokens", "position", "parent", "branch", "tree", "trained")
    } == {"meta"}
    assert moved.segments == drawing.segments


def test_counts_of_an_example():
    example = pair([1, 2, 3], [4, 5], [6])
    assert (example.length, example.trained_tokens) == (6, 3)
    assert example.pairs == int(Forest.pack([example]).ancestors.sum())
