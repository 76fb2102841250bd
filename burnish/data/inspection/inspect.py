"""An inspection: one pass over the rows, through the code that trains.

rows -> Example -> TokenizedExample -> within max_length
        reader     tokenizer           fit

Every check and every figure sees each row once. Without a tokenizer the pass ends at the examples, and
lengths are characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from burnish.data.example import CONTROL_TOKENS, Example, TokenizedExample
from burnish.data.inspection.checks import (
    CHECKS,
    DROPPED,
    TOO_LONG,
    UNREADABLE,
    WARNED,
    Check,
    Collector,
    Setting,
)
from burnish.data.inspection.figures import Figures
from burnish.data.inspection.inspection import Finding, Inspection, Severity, ShownRow
from burnish.data.inspection.overlap import Evaluation
from burnish.data.inspection.seen import Seen, plain
from burnish.data.inspection.shown import shown_row
from burnish.data.preparation.notes import NULLS, TURNS, guess_notes, notes_of, spread
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.truncate import EQUAL, fit, nothing_said
from burnish.data.reading.family import Family, Recognition, check_targets
from burnish.data.reading.formats import family_of, known_columns
from burnish.data.reading.meant import mapping_for
from burnish.data.sources.rows import RowReader, Source, recognised, rows_of
from burnish.errors import UserError

EXAMPLES_OF_A_FINDING = 5
SEVERITIES: tuple[Severity, ...] = ("fault", "dropped", "warning", "note")


@dataclass(frozen=True)
class Rows:
    """A source with the code that reads, tokenizes and cuts its rows."""

    source: Source
    reader: RowReader
    tokenizer: Any = None

    def __iter__(self) -> Iterator[Seen]:
        """Every row with what comes of it in training; its faults are findings, not errors."""
        size = self.reader.options.batch_size
        for start in range(0, len(self.source), size):
            rows = rows_of(self.source.dataset[start : start + size])
            found = [self._read(index, row) for index, row in enumerate(rows, start)]
            if self.tokenizer is not None:
                self._tokenize([seen for seen in found if seen.example is not None and not seen.dropped])
            yield from found

    def _read(self, index: int, row: Mapping[str, Any]) -> Seen:
        origins = self.source.origins
        seen = Seen(origins.number(index), row)
        try:
            example = replace(self.reader(row), row=seen.number, origin=origins.of(index, row))
        except UserError as error:
            seen.fault = error
            return seen
        if isinstance(example, TokenizedExample):
            seen.tokenized = [example]
            self._fit(seen)
        else:
            seen.example = example
            seen.dropped = nothing_said(example) or (EQUAL if _all_equal(example) else "")
        return seen

    def _tokenize(self, batch: list[Seen]) -> None:
        from burnish.data.text.tokenize import tokenize  # it needs transformers, and the rest does not

        examples = [seen.example for seen in batch if seen.example is not None]
        made = tokenize(examples, self.tokenizer, self.reader.options)
        for seen, found in zip(batch, made, strict=True):
            if isinstance(found, UserError):
                seen.fault = found
            else:
                seen.tokenized = found
                self._fit(seen)

    def _fit(self, seen: Seen) -> None:
        for example in seen.tokenized:
            try:
                pieces, reason = fit(example, self.reader.options)
            except UserError as error:
                seen.fault, seen.kept = error, []
                return
            seen.kept += pieces
            seen.dropped = seen.dropped or reason
        seen.dropped = "" if seen.kept else seen.dropped


def _all_equal(example: Example) -> bool:
    return len(example.completions) > 1 and len(set(map(plain, example.completions))) == 1


def inspect(
    source: Source,
    options: PreparationOptions,
    *,
    family: Family | None = None,
    tokenizer: Any = None,
    evaluation: Source | None = None,
    show: int = 0,
) -> Inspection:
    """Everything there is to know of the rows. Raises `UserError` if their format is unknown.

    `family` is what the method reads; None: the first that reads the columns. `evaluation`: rows that must
    not be among these. `show`: how many rows to show as they are trained, which takes a tokenizer.
    """
    reader = reader_of(source, options, family)
    recognition = recognised(source.dataset[0], reader, source.origins.name)
    used = _used(recognition)
    held_out = _evaluation(evaluation, reader) if evaluation is not None else None
    setting = Setting(tokenizer, used, held_out)
    made = [(check, check.make(setting)) for check in CHECKS]
    collectors = [(check, collector) for check, collector in made if collector is not None]
    figures = Figures(tokenizer, options.max_length)
    tally = Tally()
    shown: list[ShownRow] = []
    for seen in Rows(source, reader, tokenizer):
        tally.add(seen)
        figures.add(seen)
        for _, collector in collectors:
            collector.add(seen)
        if len(shown) < show and seen.kept:
            shown.append(shown_row(seen, tokenizer))
    inspection = figures.inspection(source.origins.name, _name(reader), recognition)
    inspection.findings = tally.findings(collectors)
    inspection.shown = shown
    inspection.evaluation = evaluation.origins.name if evaluation is not None else ""
    rows = [source.dataset[index] for index in spread(len(source))]
    said = [note for note in notes_of(rows, reader, recognition, tokenizer) if note in (TURNS, NULLS)]
    inspection.notes = [*source.notes, *guess_notes(reader), *said]  # of the others there are checks
    inspection.used = list(used)
    return inspection


def reader_of(source: Source, options: PreparationOptions, family: Family | None = None) -> RowReader:
    """How the rows are read: by the family, or by the first that knows the columns. Raises `UserError`."""
    if family is not None:
        return source.reader(family, options)
    as_it_is = source.reader(cast(Any, dict), options)
    row: Any = as_it_is(source.dataset[0])
    try:
        check_targets(as_it_is.options.columns, known_columns())
        try:
            return source.reader(family_of(row), options)
        except UserError:
            guessed = mapping_for(row)
            if not guessed:
                raise
    except UserError as error:
        raise error.at(source.origins.name) from error.__cause__
    return source.reader(family_of(row, guessed), options)


def _used(recognition: Recognition | None) -> tuple[str, ...]:
    return recognition.used if recognition is not None else ()


def _name(reader: RowReader) -> str:
    return reader.read_row.name if isinstance(reader.read_row, Family) else ""


def _evaluation(source: Source, reader: RowReader) -> Evaluation:
    """The rows of an evaluation, as its own columns are named; those that cannot be read are left out."""
    columns = source.columns or reader.options.columns
    own = replace(source, columns={}).reader(reader.read_row, replace(reader.options, columns=columns))
    recognised(source.dataset[0], own, source.origins.name)
    found = Evaluation()
    for seen in Rows(source, own):
        found.add(seen)
    return found


def _said(fault: UserError) -> str:
    return f"{fault.where}: {fault.what}" if fault.where else fault.what


def _fix(fix: str) -> str:
    return f"{fix or 'mend the row'}, or drop such rows (--on_bad_row skip)"


def _of_dropped(reason: str) -> tuple[str, str]:
    return TOO_LONG if "max_length" in reason or "truncation" in reason else DROPPED


class Tally:
    """The rows by number, with their own ids, and what could not be read or trained of them."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}
        self._faults: dict[str, dict[int, str]] = {}
        self._fixes: dict[str, str] = {}
        self._dropped: dict[str, dict[int, str]] = {}
        self._warned: dict[str, dict[int, str]] = {}

    def add(self, seen: Seen) -> None:
        if seen.own_id:
            self._ids[seen.number] = seen.own_id
        if seen.fault is not None:
            self._faults.setdefault(seen.fault.reason, {})[seen.number] = _said(seen.fault)
            self._fixes.setdefault(seen.fault.reason, seen.fault.fix)
        elif seen.dropped:
            self._dropped.setdefault(seen.dropped, {})[seen.number] = ""
        else:
            for warning in {line for example in seen.tokenized for line in example.warning.splitlines()}:
                self._warned.setdefault(warning, {})[seen.number] = ""

    def findings(self, collectors: list[tuple[Check, Collector]]) -> list[Finding]:
        """All of them, the gravest first and then the most frequent."""
        found = [
            self._finding(reason, "fault", UNREADABLE, _fix(self._fixes[reason]), rows)
            for reason, rows in self._faults.items()
        ]
        found += [
            self._finding(why, "dropped", *_of_dropped(why), rows) for why, rows in self._dropped.items()
        ]
        found += [
            self._finding(why, "warning", *WARNED, rows)
            for why, rows in self._warned.items()
            if why != CONTROL_TOKENS  # a check of its own says which
        ]
        for check, collector in collectors:
            rows = collector.found()
            if rows:
                found.append(self._finding(check.name, check.severity, check.meaning, check.fix, rows))
        return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), -f.count))

    def _finding(
        self, name: str, severity: Severity, meaning: str, fix: str, rows: Mapping[int, str]
    ) -> Finding:
        numbers = sorted(rows)
        ids = [self._ids.get(number, "") for number in numbers]
        found = [rows[number] for number in numbers[:EXAMPLES_OF_A_FINDING] if rows[number]]
        return Finding(name, severity, numbers, ids if any(ids) else [], meaning, fix, found)
