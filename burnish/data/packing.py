"""Cutting the examples of one step into micro-batches under a token budget, and rows of a set into packs.

Memory is bounded by tokens, not by the unluckiest batch, and the micro-batches cost about the same.
How a step is cut never changes its gradient: losses are sums, divided once by the step's count.

Packs are another matter: with `packing`, a pack of rows stands where a row stood, so that steps have about
equally many tokens. Rows never see each other in either case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from burnish.data.example import TokenizedExample

PAIR_COST = 1 / 1500
"""Cost of one attended pair in units of one token's matrix products (about right from 100M to 8B)."""


def cost(example: TokenizedExample) -> float:
    """Relative cost of an example: its tokens, and its attended pairs at `PAIR_COST` each."""
    return example.length + PAIR_COST * example.pairs


def micro_batches(
    examples: Sequence[TokenizedExample], budget: int, at_least: int = 1
) -> list[list[TokenizedExample]]:
    """Cut examples into as few micro-batches as the token budget allows, balanced by cost.

    An example longer than the budget gets a micro-batch of its own. `at_least` asks for more of them
    (ranks of a sharded model must run equally many forwards); never more than there are examples.
    Longest first into the cheapest bin that has room: deterministic, whatever the order of equals.
    """
    total = sum(example.length for example in examples)
    bins = min(len(examples), max(at_least, -(-total // budget) if examples else 0))
    order = sorted(range(len(examples)), key=lambda i: -cost(examples[i]))
    while True:
        packed = _fill(examples, order, bins, budget)
        if packed is not None:
            return [[examples[i] for i in sorted(indices)] for indices in packed]
        bins += 1


def consecutive(examples: Sequence[TokenizedExample], budget: int) -> list[list[TokenizedExample]]:
    """Cut examples into micro-batches under the token budget in their order, where rows must keep it."""
    cut: list[list[TokenizedExample]] = []
    tokens = 0
    for example in examples:
        if not cut or tokens + example.length > budget:
            cut.append([])
            tokens = 0
        cut[-1].append(example)
        tokens += example.length
    return cut


def _fill(
    examples: Sequence[TokenizedExample], order: list[int], bins: int, budget: int
) -> list[list[int]] | None:
    packed: list[list[int]] = [[] for _ in range(bins)]
    tokens, costs = [0] * bins, [0.0] * bins
    for i in order:
        length = examples[i].length
        room = [b for b in range(bins) if not packed[b] or tokens[b] + length <= budget]
        if not room:
            return None
        best = min(room, key=lambda b: costs[b])
        packed[best].append(i)
        tokens[best] += length
        costs[best] += cost(examples[i])
    return packed


# Packs over a whole set


class PackedRows:
    """A dataset whose elements are packs of rows: lists of what `rows` has. Made for `DataLoader`."""

    def __init__(self, rows: Dataset, capacity: int) -> None:
        """Packs of at most `capacity` tokens each. Rows have one completion."""
        self.rows, self.capacity = rows, capacity
        self.lengths = path_lengths(rows)
        self.packs = best_fit_decreasing(self.lengths.tolist(), capacity)

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        return [self.rows[row] for row in self.packs[index]]

    @property
    def fullness(self) -> float:
        """Tokens of all rows, as a share of the room in all packs."""
        return float(self.lengths.sum()) / (len(self) * self.capacity)

    def padded_fullness(self, batch_size: int) -> float:
        """What that share would be in random batches of `batch_size` rows, padded to their longest."""
        order = np.random.default_rng(0).permutation(self.lengths)
        batches = np.split(order, range(batch_size, len(order), batch_size))
        return float(self.lengths.sum()) / sum(int(batch.max()) * len(batch) for batch in batches)


def path_lengths(rows: Dataset) -> np.ndarray:  # int[rows]
    """Tokens of each prepared row: the prompt and its one completion."""
    columns = rows.with_format("arrow").select_columns(["prompt_ids", "completion_ids"])[:]
    completions = pc.list_flatten(columns["completion_ids"])
    return (
        pc.list_value_length(columns["prompt_ids"]).to_numpy() + pc.list_value_length(completions).to_numpy()
    )


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices of `lengths` in packs of at most `capacity`: longest first, each into the fullest with room.

    Never more than 11/9 of the fewest packs possible, and one more (Johnson 1973). A length above the
    capacity gets a pack of its own. Deterministic.
    """
    packs: list[list[int]] = []
    with_room: dict[int, list[int]] = defaultdict(list)  # room -> packs
    rooms = 0  # bit r is set where a pack has room r: the lowest bit from `length` on is the best fit
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            pack = with_room[room].pop()
            if not with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, pack = max(capacity, length), len(packs)
            packs.append([])
        packs[pack].append(index)
        left = room - length
        if left:
            with_room[left].append(pack)
            rooms |= 1 << left
    return packs
