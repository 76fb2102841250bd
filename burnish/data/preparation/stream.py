"""Rows that are read, checked and tokenized as training asks for them.

The same pass as for whole datasets runs on a batch of rows at a time, and what became of each is counted as
it goes: `kept + dropped == read` at any moment. A row is counted once, however often the stream starts anew.

Left out: workers and shares. Every process reads the whole stream and trains its part of each batch.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from torch.utils.data import IterableDataset

from burnish.data.preparation.batch import OUTCOME, Pass
from burnish.data.preparation.notes import LOOKED_AT, notes_of
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import apply_policy, refuse_nothing_kept, report_of
from burnish.data.preparation.report import PreparationReport
from burnish.data.sources.rows import Origins, ReadRow, RowStream, recognised
from burnish.errors import UserError

BATCH = 100
"""Rows that are read ahead."""

SHUFFLED = 1000
"""Prepared rows among which the next one is drawn."""

FEWEST = 1000
"""Rows of which a share may be skipped (`bad_row_budget`) while the stream has not come to its end."""


class PreparedStream(IterableDataset):
    """Rows of `TokenizedExample.to_row()`, made as they are asked for.

    `reports` has a report for every stream, of what was read until now. Iterating raises `UserError` at a row
    that cannot be read, or, where such rows are skipped, once there are too many.
    """

    def __init__(
        self,
        streams: Sequence[RowStream],
        read_row: ReadRow,
        tokenizer: Any,
        options: PreparationOptions,
        shuffle_seed: int | None = None,
        group: int = 1,
    ) -> None:
        """`shuffle_seed` draws rows out of a buffer; None: they come in their order.

        Rows come in groups of `group`, a batch of every rank: the last is filled up with None, which is no
        row, since a loader would fill it with rows from the beginning.
        """
        self.parts = [_Part(stream, read_row, tokenizer, options) for stream in streams]
        self.shuffle_seed, self.epoch, self.group = shuffle_seed, 0, group
        firsts = [next(iter(part), None) for part in self.parts]  # every stream shows its format at once
        first = next((row for row in firsts if row is not None), None)
        if first is None:
            raise UserError("there are no rows", where=self.parts[0].report.name, fix="check the file")
        self.first: dict[str, Any] = first

    @property
    def reports(self) -> list[PreparationReport]:
        return [part.report for part in self.parts]

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer: another epoch draws another order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any] | None]:
        rows = self._in_order()
        if self.shuffle_seed is not None:
            rows = shuffled(rows, random.Random(f"{self.shuffle_seed} {self.epoch}"))
        while group := list(itertools.islice(rows, self.group)):
            yield from group
            yield from [None] * (self.group - len(group))

    def _in_order(self) -> Iterator[dict[str, Any]]:
        return itertools.chain.from_iterable(self.parts)


def shuffled(rows: Iterable[dict[str, Any]], generator: random.Random) -> Iterator[dict[str, Any]]:
    """The rows in an order that the generator draws, out of a buffer of `SHUFFLED` of them."""
    buffer: list[dict[str, Any]] = []
    for row in rows:
        if len(buffer) < SHUFFLED:
            buffer.append(row)
            continue
        place = generator.randrange(SHUFFLED)
        yield buffer[place]
        buffer[place] = row
    generator.shuffle(buffer)
    yield from buffer


class _Part:
    """One stream: its rows through the pass, and the report on them."""

    def __init__(
        self, stream: RowStream, read_row: ReadRow, tokenizer: Any, options: PreparationOptions
    ) -> None:
        self.stream = stream
        self.read_row, self.options = read_row, options.with_columns(stream.columns)
        self.tokenizer = tokenizer
        self.report = PreparationReport(stream.name)
        self.first_fault: UserError | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        run: Pass | None = None
        recognition, notes = None, []
        start = 0
        rows = iter(self.stream.rows)
        while batch := list(itertools.islice(rows, BATCH)):
            if run is None:
                reader = self.stream.reader(batch[0], self.read_row, self.options)
                recognition = recognised(batch[0], reader, self.stream.name)
                carried = recognition.carried if recognition else ()
                run = Pass(Origins(self.stream.name), reader, self.tokenizer, carried)
                notes = notes_of(batch[:LOOKED_AT], reader, recognition, self.tokenizer)
            outcome = run(_alike(batch), list(range(start, start + len(batch))))
            if start >= self.report.read:
                found = report_of(outcome.select(["row", *OUTCOME]), self.stream.name, recognition, notes)
                self._count(found, batch, start, run)
            yield from _kept(outcome)
            start += len(batch)
        apply_policy(self.report, self.options, self._fault_of)
        if start:
            refuse_nothing_kept(self.report)

    def _count(
        self, found: PreparationReport, batch: Sequence[Mapping[str, Any]], start: int, run: Pass
    ) -> None:
        """Add what became of a batch; stop if too many rows cannot be read."""
        if found.faults and self.first_fault is None:
            index = min(tally.first for tally in found.faults.values())
            self.first_fault = run.fault_of(dict(batch[index - start]), index)
        self.report.format, self.report.notes = found.format, found.notes
        self.report.add(found)
        apply_policy(self.report, self.options, self._fault_of, rows=max(self.report.read, FEWEST))

    def _fault_of(self, index: int) -> UserError:
        assert self.first_fault is not None
        return self.first_fault


def _alike(batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the columns of all of them, as a whole dataset has them."""
    names = dict.fromkeys(name for row in batch for name in row)
    return [{name: row.get(name) for name in names} for row in batch]


def _kept(outcome: pa.Table) -> list[dict[str, Any]]:
    return outcome.filter(pc.equal(outcome["dropped"], "")).drop_columns(list(OUTCOME)).to_pylist()
