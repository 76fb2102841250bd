"""From dataset rows to token ids, in one pass.

`prepare` reads, tokenizes and truncates a batch of rows at a time; the result is cached on disk and read back
by memory mapping. The cache key is the data, the tokenizer with its template, the options, and the code
of `burnish/data`; when one of them changes, rows are prepared anew.

What became of every row is kept beside the result, so the report is counted from it and is the same whether
it was computed now or came from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from burnish.data.preparation.batch import Pass
from burnish.data.preparation.fingerprint import fingerprint
from burnish.data.preparation.notes import notes_of, spread
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.passing import outcome
from burnish.data.preparation.report import SHOWN_ROWS, PreparationReport, Tally
from burnish.data.reading.family import Recognition
from burnish.data.sources.rows import Origins, ReadRow, Source, recognised
from burnish.errors import UserError


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
    reader = source.reader(read_row, options)
    options = reader.options
    recognition = recognised(dataset[0], reader, name)
    pass_ = Pass(source.origins, reader, tokenizer, recognition.carried if recognition else ())
    key = fingerprint(source, read_row, tokenizer, options)
    kept, ledger = outcome(dataset, pass_, options, key, f"Preparing {name}")
    looked_at = [dataset[index] for index in spread(len(dataset))]
    notes = [*source.notes, *notes_of(looked_at, reader, recognition, tokenizer)]
    report = report_of(ledger, name, recognition, notes)
    apply_policy(report, options, lambda index: pass_.fault_of(dataset[index], index))
    refuse_nothing_kept(report)
    return Prepared(kept, report)


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
    if bad > 1 or not stops:
        budget = "" if stops else f", more than bad_row_budget={options.bad_row_budget:g} allows"
        lines.append(f"{bad} of {report.read} rows cannot be read{budget}:")
        lines += [f"  {reason}: {tally}" for reason, tally in [*report.faults.items()][:SHOWN_FAULTS]]
        if len(report.faults) > SHOWN_FAULTS:
            lines.append(f"  … and {len(report.faults) - SHOWN_FAULTS} more kinds of faults")
    ways = "; or drop such rows with --on_bad_row skip" if stops and bad < report.read else ""
    fix = (error.fix or "mend the row") + ways
    return UserError("\n  ".join(lines), where=error.where, fix=fix, reason=error.reason)


SHOWN_FAULTS = 8
"""Kinds of faults in a message."""


def _fix(reasons: str) -> str:
    if "max_length" in reasons or "truncation" in reasons:
        return "raise max_length"
    return "check that the rows have completions"


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
        notes=[*notes],
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


def _tallies(columns: pa.Table, reason_column: str) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    noted = columns.filter(pc.not_equal(columns[reason_column], ""))
    reasons, rows, indices = (noted[name].to_pylist() for name in (reason_column, "row", "index"))
    each = (
        (line, *place)
        for lines, *place in zip(reasons, rows, indices, strict=True)
        for line in lines.split("\n")
    )
    for reason, row, index in each:
        tally = tallies.setdefault(reason, Tally(first=index))
        tally.count += 1
        if len(tally.rows) < SHOWN_ROWS:
            tally.rows.append(row)
    return tallies
