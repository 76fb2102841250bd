"""The one batch type: a packed prefix forest.

Trees are laid end to end, each prompt once, no padding and no shifted labels. Two DPO pairs:

    tokens    p0 p1 p2 | c0 c1 | r0 r1 r2 || q0 q1 | d0 | s0 s1
    position   0  1  2 |  3  4 |  3  4  5 ||  0  1 |  2 |  2  3     depth below the root
    parent    -1  0  1 |  2  3 |  2  5  6 || -1  8 |  9 |  9 11     the token whose hidden state predicts it
    branch    -1 -1 -1 |  0  0 |  1  1  1 || -1 -1 |  2 |  3  3     which completion; -1 in a shared prompt
    tree             branches 0, 1 -> 0, branches 2, 3 -> 1

A *segment* is a run of tokens between two bars. A token sees its own segment up to itself and every
segment above it. An example with a single completion is one segment, all of branch b.

Shapes: T tokens, N trained tokens, B branches, E trees, S segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from burnish.data.example import TokenizedExample


class Segment(NamedTuple):
    """A run of tokens `[start, stop)`; `parent` is the segment above it (-1 at a root)."""

    start: int
    stop: int
    parent: int
    depth: int  # position of its first token

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(eq=False)
class Forest:
    tokens: Tensor  # int[T]
    position: Tensor  # int[T]
    parent: Tensor  # int[T]
    branch: Tensor  # int[T]
    tree: Tensor  # int[B]
    trained: Tensor  # bool[T]
    segments: tuple[Segment, ...]  # host integers, for attention
    columns: dict[str, Any] = field(default_factory=dict)  # Tensor[E], or Tensor[E, k], or a list of E
    media: dict[str, Tensor] = field(default_factory=dict)  # handed to the backbone as keyword arguments
    routed: Any = None  # where routers are listened to: a `Routed` that adds up what they say

    @staticmethod
    def pack(examples: Sequence[TokenizedExample]) -> Forest:
        """Lay examples end to end, in the given order."""
        return _Packer().pack(examples)

    # Sizes

    @property
    def size(self) -> int:
        """T, the number of tokens."""
        return self.tokens.numel()

    @property
    def unshared_size(self) -> int:
        """The same where every branch has its own copy of the prompt."""
        leaves = {segment.parent for segment in self.segments}
        ends = (s for i, s in enumerate(self.segments) if i not in leaves)
        return sum(segment.depth + segment.length for segment in ends)

    @property
    def branches(self) -> int:
        return self.tree.numel()

    @property
    def trees(self) -> int:
        return int(self.tree[-1]) + 1 if self.branches else 0

    # What the objectives read

    @cached_property
    def target(self) -> Tensor:  # int[N]
        """Indices of the scored tokens, in branch order. A root has no parent and cannot be scored."""
        return torch.nonzero(self.trained & (self.parent >= 0)).flatten()

    @cached_property
    def target_branch(self) -> Tensor:  # int[N]
        """The branch of every scored token."""
        return self.branch[self.target]

    def above(self, branches: Tensor) -> Tensor:  # bool[B] -> int[M]
        """Indices of the tokens above these branches that can be scored but are not trained: prompts."""
        own = (self.branch < 0) | branches[self.branch.clamp(min=0)]
        return torch.nonzero(own & ~self.trained & (self.parent >= 0)).flatten()

    @cached_property
    def trained_per_branch(self) -> Tensor:  # int[B]
        return torch.bincount(self.target_branch, minlength=self.branches)

    @cached_property
    def leaf(self) -> Tensor:  # int[B]
        """The last token of every branch."""
        last = torch.zeros_like(self.tree)
        index = torch.arange(self.size, device=self.branch.device)
        own = self.branch >= 0
        return last.scatter_reduce_(0, self.branch[own], index[own], reduce="amax", include_self=False)

    def per_branch(self, values: Tensor) -> Tensor:  # float[N] -> float[B]
        """Sum per-token values over the tokens of each branch."""
        return values.new_zeros(self.branches).index_add(0, self.target_branch, values)

    def numbers(self, name: str, like: Tensor) -> Tensor:
        """A column of lists (scores, labels of steps), one after the other; of dtype and device of `like`."""
        column = self.columns[name]  # no tensor, where the lists are of different lengths
        if not isinstance(column, Tensor):
            column = torch.tensor([number for row in column for number in row], dtype=torch.float64)
        return column.flatten().to(like)

    # What attention reads

    attention_calls = 0
    """How many attention layers have run on this forest, for `certify`."""

    @cached_property
    def plans(self) -> dict[Any, Any]:
        """What attention backends work out once per forest and use in every layer and pass."""
        return {}

    @cached_property
    def multiplicity(self) -> Tensor:  # float[T]
        """How many branches a token belongs to: more than one in a shared prompt."""
        counts = [0.0] * len(self.segments)
        for index in range(len(self.segments) - 1, -1, -1):  # those below come after
            counts[index] = counts[index] or 1.0
            if (above := self.segments[index].parent) >= 0:
                counts[above] += counts[index]
        lengths = torch.tensor([segment.length for segment in self.segments])
        return torch.tensor(counts).repeat_interleave(lengths).to(self.tokens.device)

    @cached_property
    def ancestors(self) -> Tensor:  # bool[T, T]
        """`[q, k]`: k is q itself or above it. For the dense reference and for masks; T² bytes."""
        visible = torch.zeros(self.size, self.size, dtype=torch.bool)
        for segment in self.segments:
            rows = slice(segment.start, segment.stop)
            visible[rows, rows] = torch.ones(segment.length, segment.length, dtype=torch.bool).tril()
            for above in self.path(segment)[:-1]:
                visible[rows, above.start : above.stop] = True
        return visible.to(self.tokens.device)

    def path(self, segment: Segment) -> list[Segment]:
        """The segments from the root down to `segment`, both included."""
        path = [segment]
        while path[0].parent >= 0:
            path.insert(0, self.segments[path[0].parent])
        return path

    # Other shapes of the same batch

    def unshared(self) -> Forest:
        """Every branch a tree of its own, with its own copy of the prompt; scored tokens in the same order.

        This is what packing without sharing and padding run; scores and leaves come out in the same
        order as from the shared forest, so no caller notices.
        """
        return _Packer().unshare(self)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Forest:
        def move(value: Any) -> Any:
            return value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value

        tensors = {
            n: move(getattr(self, n)) for n in ("tokens", "position", "parent", "branch", "tree", "trained")
        }
        columns = {k: move(v) for k, v in self.columns.items()}
        return replace(self, **tensors, columns=columns, media={k: move(v) for k, v in self.media.items()})


class _Packer:
    """Collects segments, then makes the tensors."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.position: list[int] = []
        self.parent: list[int] = []
        self.branch: list[int] = []
        self.trained: list[bool] = []
        self.tree: list[int] = []
        self.segments: list[Segment] = []

    def pack(self, examples: Sequence[TokenizedExample]) -> Forest:
        for tree, example in enumerate(examples):
            if len(example.completions) == 1:
                tokens = example.prompt + example.completions[0]
                mask = [False] * len(example.prompt) + example.trained[0]
                self._add(tokens, mask, above=-1, branch=self._branch(tree))
                continue
            prompt = self._add(example.prompt, [False] * len(example.prompt), above=-1, branch=-1)
            for tokens, mask in zip(example.completions, example.trained, strict=True):
                self._add(tokens, mask, above=prompt, branch=self._branch(tree))
        return self._forest(stack_columns([example.columns for example in examples]))

    def unshare(self, forest: Forest) -> Forest:
        tokens, trained = forest.tokens.tolist(), forest.trained.tolist()
        for segment in forest.segments:
            branch = int(forest.branch[segment.start])
            if branch < 0:
                continue
            path = forest.path(segment)
            self.tree.append(branch)
            self._add(
                [t for part in path for t in tokens[part.start : part.stop]],
                [t for part in path for t in trained[part.start : part.stop]],
                above=-1,
                branch=branch,
            )
        return self._forest({}).to(forest.tokens.device)

    def _branch(self, tree: int) -> int:
        self.tree.append(tree)
        return len(self.tree) - 1

    def _add(self, tokens: list[int], trained: list[bool], above: int, branch: int) -> int:
        """Append a segment below segment `above`; returns its index (or `above`, if it is empty)."""
        if not tokens:
            return above
        start = len(self.tokens)
        parent_segment = self.segments[above] if above >= 0 else None
        depth = parent_segment.depth + parent_segment.length if parent_segment else 0
        self.tokens += tokens
        self.position += range(depth, depth + len(tokens))
        self.parent += [
            parent_segment.stop - 1 if parent_segment else -1,
            *range(start, start + len(tokens) - 1),
        ]
        self.branch += [branch] * len(tokens)
        self.trained += trained
        self.segments.append(Segment(start, start + len(tokens), above, depth))
        return len(self.segments) - 1

    def _forest(self, columns: dict[str, Any]) -> Forest:
        def integers(values: Iterable[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long)

        return Forest(
            tokens=integers(self.tokens),
            position=integers(self.position),
            parent=integers(self.parent),
            branch=integers(self.branch),
            tree=integers(self.tree),
            trained=torch.tensor(self.trained, dtype=torch.bool),
            segments=tuple(self.segments),
            columns=columns,
        )


def stack_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of E examples: numbers (and equal-length lists of numbers) as tensors, the rest as lists."""
    stacked: dict[str, Any] = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        try:
            stacked[name] = torch.tensor(values, dtype=torch.float64 if _has_float(values) else torch.long)
        except (TypeError, ValueError):
            stacked[name] = values
    return stacked


def _has_float(values: Any) -> bool:
    return isinstance(values, float) or (isinstance(values, list) and any(map(_has_float, values)))
