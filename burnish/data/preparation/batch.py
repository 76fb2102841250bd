"""A batch of rows through the pass: read, tokenized, fitted to the length, as one Arrow table.

Every row read is in the table, dropped ones with their reason, so whatever is said of the rows is counted
from it. Token ids go from lists into flat buffers at once; Arrow's own way through nested lists takes ten
times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from burnish.data.example import PREPARED_COLUMNS, Example, TokenizedExample, joined_warnings
from burnish.data.preparation.truncate import fit, nothing_said
from burnish.data.reading.messages import unread_keys
from burnish.data.sources.rows import Origins, RowReader
from burnish.data.text.encode import Encoded
from burnish.data.text.tokenize import Drafts, assemble_all, draft_all, encode_all
from burnish.errors import UserError

Read = Example | TokenizedExample | UserError
"""What a row was read as, or what is wrong with it."""

Found = list[TokenizedExample] | UserError
"""What comes of a row before truncation, or what is wrong with it."""


OUTCOME = {
    "index": pa.int64(),  # in the dataset of the source
    "piece": pa.int32(),  # several come of a row that is split
    "dropped": pa.string(),  # why, or empty
    "fault": pa.bool_(),  # dropped because it cannot be read
    "warning": pa.string(),
    "truncated": pa.bool_(),
    "length": pa.int32(),
    "scored": pa.int32(),
}
"""Columns of the ledger: what became of a row, from which the report is counted."""


class Begun(NamedTuple):
    """A batch whose texts are ready for the tokenizer."""

    indices: Sequence[int]
    origins: list[str]
    read: list[Read]
    drafts: Drafts  # of the examples among them


@dataclass(frozen=True)
class Outcome:
    """What became of a row, or of a piece of it."""

    index: int
    example: TokenizedExample
    piece: int = 0
    dropped: str = ""
    fault: bool = False
    truncated: bool = False


@dataclass
class Pass:
    """What is done to a batch of rows. The parts are called one by one to let the tokenizer, which needs no
    Python, work beside the rest."""

    origins: Origins
    reader: RowReader
    tokenizer: Any
    carried: tuple[str, ...] = ()  # columns of numbers that every row has

    def __call__(self, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> pa.Table:
        """Rows, and their indices in the dataset, to the columns of `table`."""
        begun = self.begin(rows, indices)
        return self.finish(begun, self.encode(begun))

    def made_of(self, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> list[Found]:
        """What comes of each row before truncation, or what is wrong with it, with its place."""
        begun = self.begin(rows, indices)
        return list(self._found(begun, self.encode(begun)))

    def begin(self, rows: Sequence[Mapping[str, Any]], indices: Sequence[int]) -> Begun:
        origins = [self.origins.of(index, row) for index, row in zip(indices, rows, strict=True)]
        read = [self._read(*each) for each in zip(rows, indices, origins, strict=True)]
        examples = [example for example in read if isinstance(example, Example)]
        return Begun(indices, origins, read, draft_all(examples, self.tokenizer, self.reader.options))

    def encode(self, begun: Begun) -> dict[int, Encoded]:
        return encode_all(begun.drafts, self.tokenizer)

    def finish(self, begun: Begun, encoded: dict[int, Encoded]) -> pa.Table:
        found = self._found(begun, encoded)
        outcomes = [self._outcomes(*each) for each in zip(begun.indices, found, strict=True)]
        return table(list(chain.from_iterable(outcomes)), self.carried)

    def _found(self, begun: Begun, encoded: dict[int, Encoded]) -> Iterable[Found]:
        fresh = iter(assemble_all(begun.drafts, encoded, self.tokenizer, self.reader.options))
        for example, origin in zip(begun.read, begun.origins, strict=True):
            found = next(fresh) if isinstance(example, Example) else example
            if isinstance(found, UserError):
                yield found.at(origin)
            elif isinstance(found, TokenizedExample):
                yield [found]
            else:
                yield self._with_unread_keys(found, example)

    def _with_unread_keys(self, found: list[TokenizedExample], example: Read) -> list[TokenizedExample]:
        """The rows, with a warning of keys of their messages that nothing reads."""
        unread = unread_keys(example, self._template)
        if not unread:
            return found
        warning = f"messages have keys that nothing reads: {', '.join(unread)}"
        return [replace(each, warning=joined_warnings([each.warning, warning])) for each in found]

    @cached_property
    def _template(self) -> str:
        return str(getattr(self.tokenizer, "chat_template", None) or "")

    def fault_of(self, row: Mapping[str, Any], index: int) -> UserError:
        """What is wrong with a row that cannot be read."""
        (found,) = self.made_of([row], [index])
        if not isinstance(found, UserError):
            try:
                for example in found:
                    fit(example, self.reader.options)
            except UserError as error:
                return error.at(found[0].origin)
        assert isinstance(found, UserError)
        return found

    def _read(
        self, row: Mapping[str, Any], index: int, origin: str
    ) -> Example | TokenizedExample | UserError:
        try:
            example = replace(self.reader(row), row=self.origins.number(index), origin=origin)
        except UserError as error:
            return error
        if isinstance(example, TokenizedExample):
            return self._within_vocabulary(example)
        if why := nothing_said(example):
            return TokenizedExample([], [], [], row=example.row, origin=origin, dropped=why)
        return example

    def _within_vocabulary(self, example: TokenizedExample) -> TokenizedExample | UserError:
        largest = max(max(ids, default=0) for ids in (example.prompt, *example.completions))
        if largest < self._vocabulary:
            return example
        return UserError(
            f"token id {largest}, and the tokenizer has {self._vocabulary:,}",
            where="column 'input_ids'",
            fix="make the rows with this model's tokenizer",
            reason="token ids beyond the vocabulary",
        )

    @cached_property
    def _vocabulary(self) -> int:
        return len(self.tokenizer)

    def _outcomes(self, index: int, found: Found) -> list[Outcome]:
        """An outcome for every piece that is kept, or one that says why there is none."""
        if isinstance(found, UserError):
            return [Outcome(index, self._blank(index), dropped=found.reason, fault=True)]
        kept, why = [], ""
        for before in found:
            try:
                pieces, reason = fit(before, self.reader.options)
            except UserError as error:
                return [Outcome(index, self._blank(index), dropped=error.reason, fault=True)]
            why = why or reason
            kept += [(piece, piece is not before) for piece in pieces]
        if not kept:
            return [Outcome(index, self._blank(index), dropped=why)]
        return [
            Outcome(index, example, piece, truncated=truncated)
            for piece, (example, truncated) in enumerate(kept)
        ]

    def _blank(self, index: int) -> TokenizedExample:
        return TokenizedExample([], [], [], row=self.origins.number(index))


# Columns

LISTS = ("labels", "scores")
"""Columns that hold several numbers for a row: one per step, completion or attribute."""


def table(outcomes: Sequence[Outcome], carried: Iterable[str] = ()) -> pa.Table:
    """Arrow columns of the same types for every batch; numbers that an objective reads are float64."""
    examples = [outcome.example for outcome in outcomes]
    names = dict.fromkeys([*carried, *(name for example in examples for name in example.columns)])
    completions = [example.completions for example in examples]
    columns = {
        "prompt_ids": _lists([example.prompt for example in examples], np.int32),
        "completion_ids": _nested(completions, np.int32),
        "completion_mask": _nested([example.trained for example in examples], np.bool_),
        "row": pa.array([example.row for example in examples], pa.int64()),
        "origin": pa.array([example.origin for example in examples], pa.string()),
        **{name: _numbers(name, examples) for name in names},
    }
    values = {
        "warning": [example.warning for example in examples],
        "length": [example.length for example in examples],
        "scored": [example.trained_tokens for example in examples],
    }
    for name, kind in OUTCOME.items():
        found = values[name] if name in values else [getattr(outcome, name) for outcome in outcomes]
        columns[name] = pa.array(found, kind)
    return pa.table(columns)


def _numbers(name: str, examples: Sequence[TokenizedExample]) -> pa.Array:
    kind = pa.list_(pa.float64()) if name in LISTS else pa.float64()
    return pa.array([example.columns.get(name) for example in examples], kind)


def _lists(lists: Sequence[Sequence[Any]], kind: Any) -> pa.ListArray:
    offsets = _offsets(lists)
    values = np.fromiter(chain.from_iterable(lists), kind, count=offsets[-1])
    return pa.ListArray.from_arrays(offsets, pa.array(values))


def _nested(lists: Sequence[Sequence[Sequence[Any]]], kind: Any) -> pa.ListArray:
    inner = _lists(list(chain.from_iterable(lists)), kind)
    return pa.ListArray.from_arrays(_offsets(lists), inner)


def _offsets(lists: Sequence[Sequence[Any]]) -> Any:
    """Where each list begins among the values of all, and where the last one ends: int32[N + 1]."""
    lengths = np.fromiter(map(len, lists), np.int32, count=len(lists))
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])


assert set(table([]).column_names) == PREPARED_COLUMNS | OUTCOME.keys()
