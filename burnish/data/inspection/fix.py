"""Writing a clean copy of a source, and beside it what was left out or mended.

    clean.jsonl               the rows in order, as they were written; and those with a blemish, mended
    clean.quarantine.jsonl    the rows that should not be trained, each with its reasons
    clean.mended.jsonl        the mended rows as they were, each with what was mended

A line of a JSON-lines file that needs no mending is copied byte for byte. Mended are HTML entities, carriage
returns and padding, invisible characters and stray columns, and only in texts where they were found.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset

from burnish.data.inspection.blemishes import mended
from burnish.data.inspection.checks import cure_of, stray_columns
from burnish.data.inspection.inspect import Rows
from burnish.data.inspection.inspection import Inspection
from burnish.data.inspection.seen import Seen
from burnish.data.sources import jsonl
from burnish.data.sources.files import opened, suffix_of
from burnish.data.sources.rows import Source
from burnish.errors import UserError


@dataclass
class Copy:
    """What was written, and where."""

    clean: Path
    quarantine: Path
    mends: Path
    kept: int = 0  # with the mended ones
    mended: int = 0
    quarantined: int = 0


@dataclass
class Sorted:
    """What is to become of the rows that have a finding, by their numbers."""

    out: dict[int, list[str]] = field(default_factory=dict)  # with the reasons
    mend: dict[int, list[str]] = field(default_factory=dict)


def sort_rows(inspection: Inspection) -> Sorted:
    """Which rows are left out and which are mended, with the reasons of each."""
    found = Sorted()
    places = {"quarantine": found.out, "mend": found.mend}
    for finding in inspection.findings:
        for row in finding.rows:
            if cure_of(finding) in places:
                places[cure_of(finding)].setdefault(row, []).append(finding.check)
    for row in found.out:
        found.out[row] += found.mend.pop(row, [])
    return found


def write_copy(inspection: Inspection, rows: Rows, out: Path) -> Copy:
    """Write the files that have rows. Raises `UserError` if one of them is there already."""
    write = WRITERS.get(out.suffix.lower())
    if write is None:
        raise UserError(
            f"cannot write {out.suffix or 'a file without a suffix'}",
            where=str(out),
            fix=f"use one of {', '.join(WRITERS)}",
        )
    copy = Copy(out, out.with_suffix(".quarantine.jsonl"), out.with_suffix(".mended.jsonl"))
    for path in (copy.clean, copy.quarantine, copy.mends):
        if path.exists():
            raise UserError(
                "the file is there already", where=str(path), fix="give another name, or delete it"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    clean, apart, mends = _divided(inspection, rows, copy)
    write(out, clean, rows.source.dataset)
    for path, records in ((copy.quarantine, apart), (copy.mends, mends)):
        if records:
            path.write_text("".join(_line(record) for record in records), encoding="utf-8")
    return copy


@dataclass
class Written:
    """A row of the copy: its values, and its line in the source where it can be copied as it is."""

    row: Mapping[str, Any]
    line: bytes | None = None


def _divided(
    inspection: Inspection, rows: Rows, copy: Copy
) -> tuple[list[Written], list[dict[str, Any]], list[dict[str, Any]]]:
    plan, stray = sort_rows(inspection), set(stray_columns(inspection.columns, inspection.used))
    clean, apart, mends = [], [], []
    for seen, (raw, line) in zip(Rows(rows.source, rows.reader), _originals(rows.source), strict=True):
        number = seen.number
        record = {"source": inspection.source, "row": number, "id": seen.own_id}
        if number in plan.mend:
            better = mend_row(raw, seen, stray)
            if better is not None:
                clean.append(Written(better))
                mends.append({**record, "mended": plan.mend[number], "before": raw})
                continue
            plan.out[number] = plan.mend[number]
        if number in plan.out:
            apart.append({**record, "reasons": plan.out[number], "data": raw})
        else:
            clean.append(Written(raw if line else _without(raw, stray), line))
    copy.kept, copy.mended, copy.quarantined = len(clean), len(mends), len(apart)
    return clean, apart, mends


def _without(row: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def mend_row(raw: Mapping[str, Any], seen: Seen, stray: set[str]) -> dict[str, Any] | None:
    """The row without blemishes; None where its texts are not found in it as they are read."""
    better = {piece.text: mended(piece.text, piece.first, piece.last) for piece in seen.pieces}
    better = {text: new for text, new in better.items() if text != new}
    found: set[str] = set()

    def mend(value: Any) -> Any:
        if isinstance(value, str) and value in better:
            found.add(value)
            return better[value]
        if isinstance(value, Mapping):
            return {key: mend(item) for key, item in value.items()}
        return [mend(item) for item in value] if isinstance(value, list) else value

    row = {name: mend(value) for name, value in _without(raw, stray).items()}
    return row if found == better.keys() else None


# The rows as they stand in the files


def _originals(source: Source) -> Iterator[tuple[Mapping[str, Any], bytes | None]]:
    """The rows of a source as they were written, with their lines if it is made of JSON lines."""
    files = [Path(name) for name, _ in source.origins.files] or [Path(source.origins.name)]
    if not all(path.is_file() and suffix_of(path) in (".jsonl", ".ndjson", ".json") for path in files):
        yield from ((row, None) for row in source.dataset)
        return
    wanted = iter([source.origins.number(index) for index in range(len(source))])
    at = next(wanted, None)
    every = (pair for path in files for pair in _of_file(path))
    for number, pair in enumerate(every):
        if number == at:
            yield pair
            at = next(wanted, None)


def _of_file(path: Path) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    with opened(path) as file:
        if file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            yield from ((row, None) for row in jsonl.rows_of(path))
            return
    with opened(path) as file:
        lines = (line for line in file if line.removeprefix(b"\xef\xbb\xbf").strip())
        for row, line in zip(jsonl.rows_of(path), lines, strict=True):
            yield row, line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n") + b"\n"


# Formats


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _write_lines(out: Path, rows: Sequence[Written], dataset: Dataset) -> None:
    with out.open("wb") as file:
        for each in rows:
            file.write(each.line if each.line is not None else _line(each.row).encode())


def _write_json(out: Path, rows: Sequence[Written], dataset: Dataset) -> None:
    lines = ",\n".join(_line(each.row).rstrip("\n") for each in rows)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _write_delimited(separator: str) -> Callable[[Path, Sequence[Written], Dataset], None]:
    def write(out: Path, rows: Sequence[Written], dataset: Dataset) -> None:
        names = [name for name in dataset.column_names if any(name in each.row for each in rows)]
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=separator)
            writer.writerow(names)
            writer.writerows(_cells(each.row, names) for each in rows)

    return write


def _cells(row: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    values = [row.get(name) for name in names]
    return [json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in values]


def _write_parquet(out: Path, rows: Sequence[Written], dataset: Dataset) -> None:
    names = {name: kind for name, kind in dataset.features.items() if any(name in w.row for w in rows)}
    columns = {name: [each.row.get(name) for each in rows] for name in names}
    Dataset.from_dict(columns, features=type(dataset.features)(names)).to_parquet(str(out))


WRITERS: dict[str, Callable[[Path, Sequence[Written], Dataset], None]] = {
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".json": _write_json,
    ".csv": _write_delimited(","),
    ".tsv": _write_delimited("\t"),
    ".parquet": _write_parquet,
}
"""Formats that a copy can be written in, by suffix."""
