"""From dataset rows to token ids, in one pass.

`prepare` reads, tokenizes and truncates a batch of rows at a time through `Dataset.map`, so the result is
cached on disk and read back by memory mapping. The cache key is the data, the tokenizer with its template,
the options, and the code of this folder; when one of them changes, rows are prepared anew.

Every row read is in the output of the pass, dropped ones with their reason, so the report is counted from the
result itself and is the same whether it was computed now or came from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.fingerprint import Hasher

from burnish.data.example import PREPARED_COLUMNS, Example, TokenizedExample
from burnish.data.formats import Recognition
from burnish.data.options import POLICY, PreparationOptions
from burnish.data.report import SHOWN_ROWS, PreparationReport, Tally
from burnish.data.rows import Origins, RowReader, Source
from burnish.data.tokenize import tokenize
from burnish.data.truncate import fit, nothing_said
from burnish.errors import UserError

ReadRow = Callable[[Mapping[str, Any]], Example | TokenizedExample]


class Prepared(NamedTuple):
    dataset: Dataset  # columns of `TokenizedExample.to_row()`
    report: PreparationReport


def prepare(
    rows: Dataset | Source,
    read_row: ReadRow,
    tokenizer: Any,
    options: PreparationOptions,
    name: str = "dataset",
) -> Prepared:
    """Rows as the rows of `TokenizedExample`, and what became of each.

    `read_row` says what a row means, as `formats.LANGUAGE` does. Raises `UserError` naming the first row
    that cannot be read, or, where such rows are skipped, once there are too many; and where no row is left.
    """
    source = rows if isinstance(rows, Source) else Source(rows, Origins(name))
    dataset, name = source.dataset, source.origins.name
    if not len(dataset):
        raise UserError("there are no rows", where=name, fix="check the file, the split and your filters")
    options = replace(options, columns={**options.columns, **source.columns})
    reader = RowReader(read_row, options)
    recognition = recognised(dataset[0], reader, name)
    pass_ = Pass(source.origins, reader, tokenizer, recognition.carried if recognition else ())
    outcome = dataset.map(
        pass_,
        batched=True,
        with_indices=True,
        batch_size=options.batch_size,
        num_proc=options.num_proc,
        remove_columns=dataset.column_names,
        new_fingerprint=_fingerprint(source, read_row, tokenizer, options),
        desc=f"Preparing {name}",
    )
    columns = outcome.with_format("arrow").select_columns(["row", *OUTCOME])[:]
    report = report_of(columns, name, recognition, source.notes)
    apply_policy(report, options, lambda index: pass_.fault_of(dataset[index], index))
    refuse_nothing_kept(report)
    return Prepared(_kept(outcome), report)


def recognised(first: Mapping[str, Any], reader: RowReader, name: str) -> Recognition | None:
    """What rows are taken for, by the first of them. Raises `UserError`."""
    try:
        return reader.recognise(first)
    except UserError as error:
        raise error.at(name) from error.__cause__


def apply_policy(
    report: PreparationReport,
    options: PreparationOptions,
    fault_of: Callable[[int], UserError],
    rows: int | None = None,
) -> None:
    """Stop at rows that cannot be read, or at more of them than may be skipped of `rows` (those read).

    `fault_of` says what is wrong with the row of an index: the pass keeps reasons only.
    """
    bad = sum(tally.count for tally in report.faults.values())
    budget = options.bad_row_budget * ((rows or report.read) if options.bad_row_budget < 1 else 1)
    if bad and (options.on_bad_row == "stop" or bad > budget):
        first = min(tally.first for tally in report.faults.values())
        raise _with_others(fault_of(first), report, options, bad)


def refuse_nothing_kept(report: PreparationReport) -> None:
    """Stop where no row is left."""
    if not report.kept:
        reasons = "; ".join(f"{reason}: {tally}" for reason, tally in report.dropped.items())
        raise UserError(
            f"none of the {report.read} rows can be trained: {reasons}",
            where=report.name,
            fix=_fix(reasons),
        )


def _with_others(
    error: UserError, report: PreparationReport, options: PreparationOptions, bad: int
) -> UserError:
    """The first fault, with how many others there are and what may be done about all of them."""
    stops = options.on_bad_row == "stop"
    lines = [error.what]
    if bad > 1:
        budget = "" if stops else f", more than bad_row_budget={options.bad_row_budget:g} allows"
        lines.append(f"{bad} of {report.read} rows cannot be read{budget}:")
        lines += [f"  {reason}: {tally}" for reason, tally in report.faults.items()]
    ways = "; or drop such rows with --on_bad_row skip" if stops else ""
    fix = (error.fix or "mend the row") + ways
    return UserError("\n  ".join(lines), where=error.where, fix=fix, reason=error.reason)


def _fix(reasons: str) -> str:
    if "max_length" in reasons or "truncation" in reasons:
        return "raise max_length"
    return "check that the rows have completions"


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
"""Columns that live until the report is counted."""

IDS = pa.list_(pa.int32())
SCHEMA = {
    "prompt_ids": IDS,
    "completion_ids": pa.list_(IDS),
    "completion_mask": pa.list_(pa.list_(pa.bool_())),
    "row": pa.int64(),
    "origin": pa.string(),
}
assert SCHEMA.keys() == PREPARED_COLUMNS


@dataclass
class Pass:
    """What `Dataset.map` runs on a batch; picklable, for several processes."""

    origins: Origins
    reader: RowReader
    tokenizer: Any
    carried: tuple[str, ...] = ()  # columns of numbers that every row has

    def __call__(self, batch: dict[str, list[Any]], indices: list[int]) -> pa.Table:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        outcomes = []
        for index, found in zip(indices, self.made_of(rows, indices), strict=True):
            outcomes += self._outcomes(index, found)
        return _table(outcomes, self.carried)

    def made_of(
        self, rows: list[dict[str, Any]], indices: list[int]
    ) -> list[list[TokenizedExample] | UserError]:
        """What comes of each row before truncation, or what is wrong with it, with its place."""
        origins = [self.origins.of(index, row) for index, row in zip(indices, rows, strict=True)]
        read = [self._read(*each) for each in zip(rows, indices, origins, strict=True)]
        texts = [example for example in read if isinstance(example, Example)]
        fresh = iter(tokenize(texts, self.tokenizer, self.reader.options))
        found = [
            next(fresh) if isinstance(e, Example) else [e] if isinstance(e, TokenizedExample) else e
            for e in read
        ]
        return [
            e.at(origin) if isinstance(e, UserError) else e for e, origin in zip(found, origins, strict=True)
        ]

    def fault_of(self, row: dict[str, Any], index: int) -> UserError:
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

    def _read(self, row: dict[str, Any], index: int, origin: str) -> Example | TokenizedExample | UserError:
        try:
            example = replace(self.reader(row), row=self.origins.number(index), origin=origin)
        except UserError as error:
            return error
        if isinstance(example, Example) and (why := nothing_said(example)):
            return TokenizedExample([], [], [], row=example.row, origin=origin, dropped=why)
        return example

    def _outcomes(self, index: int, found: list[TokenizedExample] | UserError) -> list[dict[str, Any]]:
        """A row of the outcome for every piece that is kept, or one that says why there is none."""
        if isinstance(found, UserError):
            return [self._outcome(index, TokenizedExample([], [], []), dropped=found.reason, fault=True)]
        kept, why = [], ""
        for before in found:
            try:
                pieces, reason = fit(before, self.reader.options)
            except UserError as error:
                return [self._outcome(index, before, dropped=error.reason, fault=True)]
            why = why or reason
            kept += [(piece, piece is not before) for piece in pieces]
        if not kept:
            return [self._outcome(index, found[0], dropped=why)]
        return [
            self._outcome(index, example, piece=piece, truncated=truncated)
            for piece, (example, truncated) in enumerate(kept)
        ]

    def _outcome(
        self,
        index: int,
        example: TokenizedExample,
        *,
        piece: int = 0,
        dropped: str = "",
        fault: bool = False,
        truncated: bool = False,
    ) -> dict[str, Any]:
        return {
            **example.to_row(),
            "index": index,
            "piece": piece,
            "dropped": dropped,
            "fault": fault,
            "warning": example.warning,
            "truncated": truncated,
            "length": example.length,
            "scored": example.trained_tokens,
        }


def _table(rows: list[dict[str, Any]], carried: tuple[str, ...]) -> pa.Table:
    """Arrow columns of the same types for every batch; numbers that an objective reads are float64."""
    names = dict.fromkeys([*rows[0], *carried, *(name for row in rows for name in row)])
    types = {**SCHEMA, **OUTCOME, "labels": pa.list_(pa.float64())}
    return pa.table(
        {name: pa.array([row.get(name) for row in rows], types.get(name, pa.float64())) for name in names}
    )


def report_of(
    columns: pa.Table, name: str, recognition: Recognition | None, notes: Sequence[str] = ()
) -> PreparationReport:
    """What became of rows, counted from the outcome of the pass: its `row` and the columns of `OUTCOME`."""
    kept = columns.filter(pc.equal(columns["dropped"], ""))
    faulty = pc.field("fault")

    def total(column: str) -> int:
        return pc.sum(pc.cast(kept[column], pa.int64())).as_py() or 0

    return PreparationReport(
        name=name,
        format=str(recognition or ""),
        notes=[*notes, *_notes(recognition)],
        read=pc.count_distinct(columns["index"]).as_py(),
        kept=pc.count_distinct(kept["index"]).as_py(),
        examples=len(kept),
        faults=_tallies(columns.filter(faulty), "dropped"),
        dropped=_tallies(columns, "dropped"),
        warnings=_tallies(kept, "warning"),
        truncated=total("truncated"),
        tokens=total("length"),
        trained_tokens=total("scored"),
        longest=pc.max(kept["length"]).as_py() or 0,
    )


def _notes(recognition: Recognition | None) -> list[str]:
    """What a person should know of how rows are taken."""
    if recognition and recognition.family == "language" and "label" in recognition.unused:
        return [
            "the column 'label' is not used: completions that it calls bad are trained like the others; "
            "filter them out"
        ]
    return []


def _tallies(columns: pa.Table, reason_column: str) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    noted = columns.filter(pc.not_equal(columns[reason_column], ""))
    reasons, rows, indices = (noted[name].to_pylist() for name in (reason_column, "row", "index"))
    for reason, row, index in zip(reasons, rows, indices, strict=True):
        tally = tallies.setdefault(reason, Tally(first=index))
        tally.count += 1
        if len(tally.rows) < SHOWN_ROWS:
            tally.rows.append(row)
    return tallies


def _kept(outcome: Dataset) -> Dataset:
    reasons = outcome.with_format("arrow")["dropped"][:]
    keep = [i for i, reason in enumerate(reasons.to_pylist()) if not reason]
    rows = outcome if len(keep) == len(outcome) else outcome.select(keep)
    return rows.remove_columns(list(OUTCOME))


def _fingerprint(source: Source, read_row: ReadRow, tokenizer: Any, options: PreparationOptions) -> str:
    settings = {name: value for name, value in asdict(options).items() if name not in POLICY}
    parts = [
        source.dataset._fingerprint,
        repr(source.origins),
        Hasher.hash(read_row),
        _tokenizer_identity(tokenizer),
        json.dumps(settings, sort_keys=True, default=repr),
        *(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()[:16]


def _tokenizer_identity(tokenizer: Any) -> str:
    vocabulary = (
        tokenizer.backend_tokenizer.to_str()
        if tokenizer.is_fast
        else repr(sorted(tokenizer.get_vocab().items()))
    )
    return "\n".join(
        [
            type(tokenizer).__name__,
            vocabulary,
            repr(tokenizer.special_tokens_map),
            repr(tokenizer.chat_template),
        ]
    )
