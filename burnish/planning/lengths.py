"""What the rows of a run come to: steps, tokens, and the largest micro-batch, from their lengths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset

from burnish.data.example import TokenizedExample
from burnish.data.packing import PackedRows, micro_batches
from burnish.data.preparation.stream import PreparedStream
from burnish.engine.rows import collate

LOOKED_AT = 256
"""Steps whose micro-batches are cut, to find the largest; and rows that are read of a stream."""


@dataclass(frozen=True)
class Steps:
    """The steps of a run on one device."""

    rows: Sequence[Any]  # rows, or packs of them
    args: Any
    known: int  # rows there are; of a stream, those that were read
    streamed: bool = False

    @staticmethod
    def of(dataset: Any, args: Any) -> Steps:
        """Of prepared rows, as `Engine` takes them."""
        if isinstance(dataset, PreparedStream):
            read = list(itertools.islice(iter(dataset), LOOKED_AT))
            return Steps(read, args, len(read), streamed=True)
        if getattr(args, "packing", False):
            return Steps(PackedRows(dataset, args.max_length), args, len(dataset))  # type: ignore[arg-type]
        return Steps(dataset, args, len(dataset))

    @property
    def rows_of_step(self) -> int:
        """Rows (or packs) of a step on this device."""
        return self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps

    @cached_property
    def count(self) -> int:
        """Optimizer steps, as the trainer counts them."""
        args = self.args
        if args.max_steps > 0:
            return args.max_steps
        batches = math.ceil(len(self.rows) / (args.per_device_train_batch_size * args.world_size))
        return math.ceil(
            args.num_train_epochs * max(1, math.ceil(batches / args.gradient_accumulation_steps))
        )

    @cached_property
    def epochs(self) -> float:
        rows = self.count * self.rows_of_step * self.args.world_size
        return min(rows / max(1, len(self.rows)), self._most_epochs)

    @property
    def _most_epochs(self) -> float:
        return math.inf if self.args.max_steps > 0 else self.args.num_train_epochs

    def examples(self) -> Iterator[list[TokenizedExample]]:
        """The examples of each step, in the order that training will draw them."""
        taken = 0
        for epoch in itertools.count():
            order = self._order(epoch)
            for start in range(0, len(order), self.rows_of_step):
                if taken == self.count:
                    return
                taken += 1
                rows = collate([self.rows[index] for index in order[start : start + self.rows_of_step]])
                yield list(itertools.chain.from_iterable(rows))

    def _order(self, epoch: int) -> list[int]:
        """As accelerate's sampler has it, whose seed is the run's."""
        if self.streamed or self.args.train_sampling_strategy != "random":
            return list(range(len(self.rows)))
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        sampler = SeedableRandomSampler(range(len(self.rows)), data_seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    def micro_batches(self, budget: int) -> MicroBatches:
        """How the first steps are cut, as training cuts them, and the largest micro-batch of these."""
        first: list[TokenizedExample] = []
        later: list[TokenizedExample] = []
        several = False
        for step, examples in enumerate(itertools.islice(self.examples(), LOOKED_AT)):
            cut = micro_batches(examples, budget)
            several = several or len(cut) > 1
            if step == 0:
                first = max(cut, key=size)
            else:
                later = max(later, *cut, key=size)
        return MicroBatches(later or first, several, size(first))

    @cached_property
    def tokens(self) -> int:
        """Tokens that are computed in all steps on this device: a prompt once."""
        return int(self.lengths.mean() * self.epochs * len(self.lengths) / self.args.world_size)

    @cached_property
    def lengths(self) -> np.ndarray:  # int[rows]
        """Tokens of each row, the prompt once and every completion."""
        rows = self.rows.rows if isinstance(self.rows, PackedRows) else self.rows
        if isinstance(rows, Dataset):
            return forest_lengths(rows)
        return np.array([example.length for [example] in collate(list(rows))])


@dataclass(frozen=True)
class MicroBatches:
    """How steps are cut."""

    largest: list[TokenizedExample]  # of the steps after the first, where there are any
    several: bool  # whether a step has more than one
    first_tokens: int  # of the largest in the first step, in which the optimizer keeps nothing yet

    @property
    def tokens(self) -> int:
        return size(self.largest)


def size(examples: Sequence[TokenizedExample]) -> int:
    return sum(example.length for example in examples)


def forest_lengths(rows: Dataset) -> np.ndarray:  # int[rows]
    """Tokens of each prepared row in a forest, read off its columns."""
    import pyarrow.compute as pc

    columns = rows.with_format("arrow").select_columns(["prompt_ids", "completion_ids"])[:]
    prompts = pc.list_value_length(columns["prompt_ids"]).to_numpy()
    nested = columns["completion_ids"].combine_chunks()
    each = pc.list_value_length(nested.flatten()).to_numpy()
    ends = np.concatenate([[0], np.cumsum(pc.list_value_length(nested).to_numpy())])
    sums = np.concatenate([[0], np.cumsum(each)])
    return prompts + sums[ends[1:]] - sums[ends[:-1]]
