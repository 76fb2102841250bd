"""Which queries meet which keys: a forest cut into blocks, each one small matrix product.

A *block* is a run of query rows with every key that any of them sees, so its softmax is complete and
nothing has to be merged afterwards. For a prompt with two completions two blocks are typical:

            p p p p p c c c r r r
        p   x . . . . |                    x  seen
        p   x x . . . |                    .  in the block, masked
    1   p   x x x . . |                       not computed
        p   x x x x . |
        p   x x x x x |
            ----------+------------
        c   x x x x x x . . . . .
        c   x x x x x x x . . . .
    2   c   x x x x x x x x . . .          both completions share one product with the prompt
        r   x x x x x . . . x . .
        r   x x x x x . . . x x .
        r   x x x x x . . . x x x

Larger blocks mean fewer calls, smaller ones less masked work; `cut` finds the cheapest partition. Long
segments are cut into several blocks, which skips most of what causality masks and bounds memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from burnish.data.forest import Forest, Segment

Range = tuple[int, int]
"""Tokens `[start, stop)`."""

ATOM = 64  # rows; the finest cut of a segment
CALLS = 4096  # query-key pairs that cost as much as the dozen calls a block takes
PER_KEY = 12  # rows that cost as much as adding one key's gradient to the sum over blocks
PER_GATHERED_KEY = 8  # the same for copying a key whose neighbours are not in the block
GAP = 32  # keys between two ranges that are cheaper to mask than to leave out
LANES = 32  # bfloat16 softmax is 1.6 times faster on rows of whole vectors


class Block(NamedTuple):
    rows: Range
    keys: tuple[Range, ...]  # in order, disjoint
    columns: Range  # the columns, of all keys laid side by side, that are not seen by every row
    hidden: Tensor  # bool[rows, columns]: not seen


class Plan:
    """The blocks of a forest under one window. Kept on the forest: every layer and pass uses it again."""

    def __init__(self, forest: Forest, window: int | None) -> None:
        self.blocks = [_block(forest, rows, keys, window) for rows, keys in cut(forest, window)]
        self._biases: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}

    @staticmethod
    def of(forest: Forest, window: int | None) -> Plan:
        key = ("blocks", window)
        if key not in forest.plans:
            forest.plans[key] = Plan(forest, window)
        return forest.plans[key]

    def biases(self, like: Tensor) -> list[Tensor]:
        """Per block float[rows, 1, columns], to add to the logits: -inf where hidden, else 0.

        Of the dtype of `like`, and on its device.
        """
        key = like.dtype, like.device
        if key not in self._biases:
            empty = (torch.zeros(b.hidden.shape, dtype=like.dtype) for b in self.blocks)
            self._biases[key] = [
                zeros.masked_fill_(b.hidden, float("-inf")).unsqueeze(1).to(like.device)
                for zeros, b in zip(empty, self.blocks, strict=True)
            ]
        return self._biases[key]


def cut(forest: Forest, window: int | None) -> list[tuple[Range, tuple[Range, ...]]]:
    """The cheapest partition of all rows into runs, with the keys of each: a shortest path over the cuts."""
    atoms = list(_atoms(forest, window))
    best: list[float] = [0.0]
    choice: list[tuple[int, tuple[Range, ...]]] = []
    for last in range(len(atoms)):
        candidates = []
        keys: tuple[Range, ...] = ()
        for first in range(last, -1, -1):
            rows = atoms[last][0][1] - atoms[first][0][0]
            if rows > 16 * ATOM:
                break
            keys = _union(keys, atoms[first][1])
            candidates.append((best[first] + _cost(rows, keys), first, keys))
        cost, first, keys = min(candidates, key=lambda candidate: candidate[0])
        best.append(cost)
        choice.append((first, keys))
    blocks = []
    stop = len(atoms)
    while stop > 0:
        first, keys = choice[stop - 1]
        blocks.append(((atoms[first][0][0], atoms[stop - 1][0][1]), keys))
        stop = first
    return blocks[::-1]


def _cost(rows: int, keys: Sequence[Range]) -> float:
    count = sum(stop - start for start, stop in keys)
    gathered = PER_GATHERED_KEY if len(keys) > 1 else 0
    return CALLS + (rows + PER_KEY + gathered) * count


def _atoms(forest: Forest, window: int | None) -> Iterator[tuple[Range, tuple[Range, ...]]]:
    """Runs of at most ATOM rows of one segment, each with the keys that its rows see."""
    for segment in forest.segments:
        path = forest.path(segment)[:-1]
        for start in range(segment.start, segment.stop, ATOM):
            stop = min(start + ATOM, segment.stop)
            depth = segment.depth + start - segment.start
            oldest = 0 if window is None else max(0, depth - window + 1)
            above = [_from_depth(other, oldest) for other in path]
            own = _from_depth(segment._replace(stop=stop), oldest)
            yield (start, stop), _union((), [r for r in [*above, own] if r[0] < r[1]])


def _from_depth(segment: Segment, depth: int) -> Range:
    """The tokens of a segment at `depth` or deeper."""
    return segment.start + max(0, depth - segment.depth), segment.stop


def _union(some: Sequence[Range], others: Sequence[Range]) -> tuple[Range, ...]:
    """Both sets of ranges as one, with small gaps closed."""
    joined: list[Range] = []
    for start, stop in sorted([*some, *others]):
        if joined and start <= joined[-1][1] + GAP:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return tuple(joined)


def _block(forest: Forest, rows: Range, keys: tuple[Range, ...], window: int | None) -> Block:
    keys = _whole_vectors(keys, forest.size)
    hidden = ~_seen(forest, rows, keys, window)
    columns = hidden.any(0).nonzero().flatten()
    first, last = (int(columns[0]), int(columns[-1]) + 1) if columns.numel() else (0, 0)
    return Block(rows, keys, (first, last), hidden[:, first:last].contiguous())


def _whole_vectors(keys: tuple[Range, ...], size: int) -> tuple[Range, ...]:
    """Take in following tokens, masked, until the number of keys is a multiple of LANES."""
    missing = -sum(stop - start for start, stop in keys) % LANES
    start, stop = keys[-1]
    return (*keys[:-1], (start, stop + missing)) if stop + missing <= size else keys


def _seen(forest: Forest, rows: Range, keys: tuple[Range, ...], window: int | None) -> Tensor:
    """bool[rows, keys]: the part of `Forest.ancestors` that a block needs, within the window."""
    key = torch.cat([torch.arange(*r) for r in keys])
    seen = torch.zeros(rows[1] - rows[0], key.numel(), dtype=torch.bool)
    for segment in forest.segments:
        start, stop = max(rows[0], segment.start), min(rows[1], segment.stop)
        if start >= stop:
            continue
        part = (key >= segment.start) & (key <= torch.arange(start, stop)[:, None])
        for above in forest.path(segment)[:-1]:
            part |= (key >= above.start) & (key < above.stop)
        seen[start - rows[0] : stop - rows[0]] = part
    if window is not None:
        position = forest.position.cpu()
        seen &= position[slice(*rows), None] - position[key] < window
    return seen
