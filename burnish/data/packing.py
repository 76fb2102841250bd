"""Cutting the examples of one step into micro-batches under a token budget, and rows of a set into packs.

Memory is bounded by tokens, not by the unluckiest batch, and the micro-batches cost about the same.
How a step is cut never changes its gradient: losses are sums, divided once by the step's count.

Packs are another matter: with `packing`, a pack of rows stands where a row stood, so that steps have about
equally many tokens. Rows never see each other in either case.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from burnish.data.example import TokenizedExample

Layout = Literal["shared", "unshared", "padded"]
"""How a micro-batch is computed: each prompt once; every completion with a copy of its prompt, end to end; or
every one of these in a row of its own, padded to the longest."""

PAIR_COST = 1 / 1500
"""Cost of one attended pair in units of one token's matrix products (about right from 100M to 8B)."""


def cost(example: TokenizedExample) -> float:
    """Relative cost of an example: its tokens, and its attended pairs at `PAIR_COST` each."""
    return example.length + PAIR_COST * example.pairs


def micro_batches(
    examples: Sequence[TokenizedExample], budget: int, at_least: int = 1, layout: Layout = "shared"
) -> list[list[TokenizedExample]]:
    """Cut examples into as few micro-batches as the token budget allows, balanced by cost.

    The budget bounds what is computed in the `layout`, padding included. An example beyond it gets a
    micro-batch of its own. `at_least` asks for more of them (ranks of a sharded model must run equally many
    forwards), which it gets as long as there are examples. Deterministic, whatever the order of equals.
    """
    costs = [cost(example) for example in examples]
    if layout == "padded":
        packed = _alike(examples, budget)
    else:
        packed = _balanced([_Size.of(e).computed(layout) for e in examples], costs, budget, at_least)
    _split(packed, costs, min(at_least, len(examples)), alike=layout == "padded")
    return [[examples[i] for i in sorted(indices)] for indices in packed]


def consecutive(
    examples: Sequence[TokenizedExample], budget: int, layout: Layout = "shared"
) -> list[list[TokenizedExample]]:
    """Cut examples into micro-batches under the token budget in their order, where rows must keep it."""
    cut: list[list[TokenizedExample]] = []
    filled = _Size()
    for example in examples:
        filled += (own := _Size.of(example))
        if not cut or filled.computed(layout) > budget:
            cut.append([])
            filled = own
        cut[-1].append(example)
    return cut


@dataclass(frozen=True)
class _Size:
    """What a micro-batch is computed over, in every layout."""

    shared: int = 0  # tokens, each prompt once
    unshared: int = 0  # tokens of all completions, each with its prompt
    rows: int = 0  # completions
    longest: int = 0  # tokens of the longest of them, with its prompt

    @staticmethod
    def of(example: TokenizedExample) -> _Size:
        paths = [len(example.prompt) + len(tokens) for tokens in example.completions]
        return _Size(example.length, sum(paths), len(paths), max(paths, default=0))

    def __add__(self, other: _Size) -> _Size:
        return _Size(
            self.shared + other.shared,
            self.unshared + other.unshared,
            self.rows + other.rows,
            max(self.longest, other.longest),
        )

    def computed(self, layout: Layout) -> int:
        """Tokens, padding included."""
        return {"shared": self.shared, "unshared": self.unshared, "padded": self.rows * self.longest}[layout]


def _balanced(lengths: list[int], costs: list[float], budget: int, at_least: int) -> list[list[int]]:
    """Indices in as few bins as are found, at most as many as best fit takes, or in `at_least`.

    Longest first into the cheapest bin that has room: that balances them, but may need a bin more than there
    are, so numbers of bins are tried from a lower bound on. Best fit, which fills one bin after the other,
    says when to stop.
    """
    order = sorted(range(len(lengths)), key=lambda i: -costs[i])
    packed = best_fit_decreasing(lengths, budget)
    for bins in range(_fewest(lengths, budget), len(packed) + 1):
        if filled := _fill(lengths, costs, order, bins, budget):
            packed = filled
            break
    if len(packed) < at_least:
        packed = _fill(lengths, costs, order, min(at_least, len(lengths)), budget) or packed
    return packed


def _fewest(lengths: Sequence[int], budget: int) -> int:
    """Bins that are needed at the least: for all tokens, and where only so many of the longest share one."""
    longest = sorted((min(length, budget) for length in lengths), reverse=True)
    least = -(-sum(longest) // budget) if longest else 0
    for place, length in enumerate(longest, 1):
        least = max(least, -(-place // max(1, budget // max(1, length))))
    return least


def _fill(
    lengths: list[int], costs: list[float], order: list[int], bins: int, budget: int
) -> list[list[int]] | None:
    """Each index into the cheapest of so many bins that has room; None where one finds no room."""
    packed: list[list[int]] = [[] for _ in range(bins)]
    tokens = [0] * bins
    cheapest = [(0.0, b) for b in range(bins)]  # a heap
    shortest = min(lengths, default=0)
    for i in order:
        without_room = []
        while cheapest and packed[cheapest[0][1]] and tokens[cheapest[0][1]] + lengths[i] > budget:
            bin = heapq.heappop(cheapest)
            if tokens[bin[1]] + shortest <= budget:  # else nothing fits in any more
                without_room.append(bin)
        if not cheapest:
            return None
        spent, b = cheapest[0]
        packed[b].append(i)
        tokens[b] += lengths[i]
        heapq.heapreplace(cheapest, (spent + costs[i], b))
        for bin in without_room:
            heapq.heappush(cheapest, bin)
    return packed


def _alike(examples: Sequence[TokenizedExample], budget: int) -> list[list[int]]:
    """Indices by length, longest first, so that rows padded to one length are about as long."""
    sizes = [_Size.of(example) for example in examples]
    packed: list[list[int]] = []
    filled = _Size()
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i].longest):
        filled += sizes[i]
        if not packed or filled.computed("padded") > budget:
            packed.append([])
            filled = sizes[i]
        packed[-1].append(i)
    return packed


def _split(packed: list[list[int]], costs: list[float], at_least: int, alike: bool) -> None:
    """Halve the costliest that can be halved until there are `at_least`."""
    while len(packed) < at_least:
        whole = max((p for p in packed if len(p) > 1), key=lambda p: sum(costs[i] for i in p))
        packed.remove(whole)
        middle = len(whole) // 2
        packed += [whole[:middle], whole[middle:]] if alike else [whole[::2], whole[1::2]]


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
