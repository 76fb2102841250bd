"""Micro-batches hold every example once, keep to the budget, and cost about the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from burnish.data import packing
from burnish.data.example import TokenizedExample
from burnish.data.packing import PackedRows, best_fit_decreasing, consecutive, cost, micro_batches

lengths = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.integers(1, 30)), max_size=25)


def examples_of(sizes):
    return [
        TokenizedExample([1] * p, [[1] * c, [1] * r], [[True] * c, [True] * r], row=row)
        for row, (p, c, r) in enumerate(sizes)
    ]


def computed(batch, layout="shared"):
    """Tokens that a forest of these examples is computed over."""
    paths = [len(e.prompt) + len(c) for e in batch for c in e.completions]
    unshared = sum(paths) if layout == "unshared" else max(paths) * len(paths)
    return sum(e.length for e in batch) if layout == "shared" else unshared


layouts = st.sampled_from(["shared", "unshared", "padded"])


@given(lengths, st.integers(1, 200), st.integers(1, 30), layouts)
def test_every_example_once_within_the_budget(sizes, budget, at_least, layout):
    examples = examples_of(sizes)
    cut = micro_batches(examples, budget, at_least, layout)
    assert sorted(e.row for batch in cut for e in batch) == list(range(len(examples)))
    fewest = len(micro_batches(examples, budget, layout=layout))
    assert all(cut) and len(cut) == max(
        fewest, min(at_least, len(examples))
    )  # so that all ranks have as many
    for batch in cut:
        assert len(batch) == 1 or computed(batch, layout) <= budget


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 100))
def test_no_more_of_them_than_when_the_cheapest_is_filled_first(tokens, budget):
    """The plain way, one number of micro-batches after the other: slow, and never better."""
    examples = [TokenizedExample([], [[1] * n], [[True] * n]) for n in tokens]
    bins = -(-sum(tokens) // budget)
    while bins < len(tokens):
        filled = [0] * bins
        for length in sorted(tokens, reverse=True):
            room = [b for b in range(bins) if not filled[b] or filled[b] + length <= budget]
            if not room:
                break
            filled[min(room, key=filled.__getitem__)] += length
        else:
            break
        bins += 1
    assert len(micro_batches(examples, budget)) <= bins


@pytest.mark.parametrize("shortest", [513, 342, 50])
def test_thousands_of_rows_are_cut_without_trying_every_number(shortest, monkeypatch):
    fill, tried = packing._fill, []
    monkeypatch.setattr(packing, "_fill", lambda *args: tried.append(args[3]) or fill(*args))
    examples = examples_of([(shortest - 2 + n % 50, 1, 1) for n in range(2000)])
    micro_batches(examples, 1024)
    assert len(tried) < 30


def test_rows_that_are_padded_stand_with_others_of_their_length():
    examples = examples_of([(600, 1, 1), *[(8, 1, 1)] * 50])
    cut = micro_batches(examples, 1300, layout="padded")
    assert [len(batch) for batch in cut] == [1, 50]


@given(lengths, st.integers(1, 200), st.randoms())
def test_the_cut_does_not_depend_on_the_order_of_rows(sizes, budget, random):
    examples = examples_of(sizes)
    shuffled = random.sample(examples, len(examples))
    loads = [
        sorted(sum(e.length for e in batch) for batch in micro_batches(e, budget))
        for e in (examples, shuffled)
    ]
    assert loads[0] == loads[1]


def test_no_more_micro_batches_than_needed_and_balanced():
    examples = examples_of([(10, 5, 5)] * 8)
    cut = micro_batches(examples, budget=80)
    assert [len(batch) for batch in cut] == [4, 4]
    costs = [
        sum(map(cost, batch)) for batch in micro_batches(examples_of([(n, 5, 5) for n in range(20)]), 200)
    ]
    assert max(costs) < 1.2 * min(costs)


def test_nothing_gives_nothing():
    assert micro_batches([], budget=10) == [] == consecutive([], budget=10)


@given(lengths, st.integers(1, 200), layouts)
def test_a_consecutive_cut_keeps_the_order_and_the_budget(sizes, budget, layout):
    cut = consecutive(examples_of(sizes), budget, layout)
    assert [e.row for batch in cut for e in batch] == list(range(len(sizes)))
    for batch in cut:
        assert len(batch) == 1 or computed(batch, layout) <= budget
    for batch, following in pairwise(cut):  # no earlier cut than needed
        assert computed([*batch, following[0]], layout) > budget


def test_a_consecutive_cut_fills_the_budget_exactly():
    assert [len(batch) for batch in consecutive(examples_of([(2, 4, 4)] * 5), budget=20)] == [2, 2, 1]


# Packs


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 50))
def test_packs_hold_every_row_once_and_waste_little(lengths, capacity):
    packs = best_fit_decreasing(lengths, capacity)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    filled = [sum(lengths[index] for index in pack) for pack in packs]
    assert all(len(pack) == 1 or tokens <= capacity for pack, tokens in zip(packs, filled, strict=True))
    within = [tokens for tokens in filled if tokens <= capacity]
    assert sum(tokens <= capacity / 2 for tokens in within) <= 1  # two half-empty packs would be one


def test_packs_by_hand():
    assert best_fit_decreasing([3, 7, 5, 4, 1], 10) == [[1, 0], [2, 3, 4]]
    assert best_fit_decreasing([12, 2], 10) == [[0], [1]]  # longer than a pack: one of its own


def test_packed_rows_of_a_whole_set():
    rows = [
        {"prompt_ids": [1] * p, "completion_ids": [[2] * c], "completion_mask": [[True] * c], "row": row}
        for row, (p, c) in enumerate([(1, 2), (3, 4), (0, 5), (2, 2), (0, 1)])
    ]
    packs = PackedRows(Dataset.from_list(rows), 10)
    assert [[row["row"] for row in packs[index]] for index in range(len(packs))] == [[1, 0], [2, 3, 4]]
    assert packs.lengths.tolist() == [3, 7, 5, 4, 1] and packs.fullness == 1.0
    assert packs.padded_fullness(5) == pytest.approx(20 / 35)
