"""Several sources as one dataset.

Every source is read and prepared by itself, so their formats may differ; then the prepared rows are put
together. A weight says how many times a source's rows are in an epoch: 0.5 is a half of them, drawn by the
seed, 2 is all of them twice.

    a.jsonl  b.jsonl:0.5           names, with weights
    - {path: a.jsonl}              entries of a config
    - {path: b.jsonl, weight: 0.5, columns: {question: ticket}}

A fraction (TRL's) is a source's share of the mixture, in place of a weight. The mixture is then as large as
it can be without repeating a row, and takes the first rows of each source.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets

from burnish.data.example import PREPARED_COLUMNS
from burnish.data.sources.files import is_pattern
from burnish.data.sources.rows import RowStream, Source, parse_columns
from burnish.data.sources.source import DataFiles, load_rows, load_stream
from burnish.errors import UserError, nearest, shorten


@dataclass(frozen=True)
class Entry:
    """One source of a mixture, as a config names it."""

    path: str
    name: str | None = None  # of the configuration, where a hub dataset has several
    split: str | None = None  # None: the one that is asked for
    data_files: DataFiles | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    fraction: float | None = None

    @property
    def is_file(self) -> bool:
        """Whether it names a file, a part of one (rows.jsonl#500), or several by a pattern."""
        names = (self.path, self.path.rpartition("#")[0] or self.path)
        return any(Path(name).expanduser().is_file() or is_pattern(name) for name in names)

    def for_its_rows(self) -> Entry:
        """The entry of a file that is named for its rows, whatever the split of folders and of the hub."""
        return replace(self, split="train") if self.is_file and self.split is None else self

    @staticmethod
    def of(given: str | Mapping[str, Any]) -> Entry:
        """An entry from a name (`rows.jsonl:0.5`) or a mapping. Raises `UserError`."""
        if isinstance(given, str):
            return Entry._of_name(given)
        if not isinstance(given, Mapping) or "path" not in given:
            raise UserError(
                f"a dataset needs a path, found {shorten(given)}",
                fix="write {path: rows.jsonl}",
            )
        values = dict(given)
        names = [each.name for each in fields(Entry)]
        unknown = next((key for key in values if key not in names), None)
        if unknown is not None:
            raise UserError(
                f"a dataset has no key '{unknown}'.{nearest(str(unknown), names)}",
                fix=f"the keys are {', '.join(names)}",
            )
        values = {key: value for key, value in values.items() if value is not None}
        if "weight" in values and "fraction" in values:
            raise UserError(
                "both weight and fraction are given",
                where=str(values["path"]),
                fix="give one: how many times its rows are in an epoch, or its share of the mixture",
            )
        return Entry(**{**values, "columns": parse_columns(values.get("columns")), "weight": _weight(values)})

    @staticmethod
    def _of_name(name: str) -> Entry:
        found = re.fullmatch(r"(.+):(\d+\.?\d*|\.\d+)", name)
        if found is None or Path(name).expanduser().exists():
            return Entry(name)
        return Entry(found[1], weight=_weight({"path": found[1], "weight": found[2]}))


def _weight(values: Mapping[str, Any]) -> float:
    given = values.get("weight", 1.0)
    try:
        weight = float(given)
    except (TypeError, ValueError):
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise UserError(
            f"the weight of {values['path']} is {shorten(given)}, expected a number above 0",
            fix="1 is every row once an epoch, 0.5 a half of them, 2 every row twice",
        )
    return weight


def load_mixture(
    entries: Sequence[Entry], *, split: str = "train", config: str | None = None, seed: int = 42
) -> list[Source]:
    """The sources of a mixture. Of one with a weight below 1 only its share is kept. Raises `UserError`."""
    sources = []
    for entry in entries:
        source = load_rows(
            entry.path,
            config=entry.name or config,
            split=entry.split or split,
            data_files=entry.data_files,
            columns=entry.columns,
            seed=seed,
        )
        sources.append(weighted(source, entry.weight, seed))
    fractions = [entry.fraction for entry in entries]
    if all(each is None for each in fractions):
        return sources
    counts = counts_of_fractions([len(source) for source in sources], fractions)
    pairs = zip(sources, fractions, counts, strict=True)
    return [_first(source, fraction, count) for source, fraction, count in pairs if count]


def load_streams(
    entries: Sequence[Entry], *, split: str = "train", config: str | None = None
) -> list[RowStream]:
    """The same as streams, to be read one after the other. Raises `UserError`: streams have no weights."""
    streams = []
    for entry in entries:
        if entry.weight != 1 or entry.fraction is not None:
            raise UserError(
                f"{entry.path} has a weight or a fraction, and how many rows a stream has is not known",
                where="dataset_streaming",
                fix="leave out dataset_streaming, or mix them with datasets.interleave_datasets in Python",
            )
        streams += load_stream(
            entry.path,
            config=entry.name or config,
            split=entry.split or split,
            data_files=entry.data_files,
            columns=entry.columns,
        )
    return streams


def weighted(source: Source, weight: float, seed: int) -> Source:
    """The source so many times in an epoch; below 1, the share of its rows that the seed draws."""
    if weight == 1:
        return source
    if weight > 1:
        return replace(source, weight=weight, notes=(*source.notes, f"{weight:g} times in an epoch"))
    count = max(1, round(weight * len(source)))
    note = f"weight {weight:g}: {count:,} of {len(source):,} rows, drawn by seed {seed}"
    return replace(source.sample(count, seed), notes=(*source.notes, note))


def counts_of_fractions(lengths: Sequence[int], fractions: Sequence[Any]) -> list[int]:
    """How many rows of each dataset make the largest mixture of these shares that repeats no row.

    Fractions count relative to their sum. Raises `UserError` where one is missing or negative, or all are 0.
    """
    for each in fractions:
        if not isinstance(each, int | float) or not 0 <= each < float("inf"):
            raise UserError(
                f"found {shorten(each)} among the fractions of the datasets",
                where="fraction",
                fix="give every dataset its share, a number from 0 on, or none of them",
            )
    if not sum(fractions):
        raise UserError("all fractions are 0", where="fraction", fix="give a share above 0")
    shares = [each / sum(fractions) for each in fractions]
    rows = min(length / share for length, share in zip(lengths, shares, strict=True) if share)
    return [min(length, round(rows * share)) for length, share in zip(lengths, shares, strict=True)]


def _first(source: Source, fraction: Any, count: int) -> Source:
    note = f"fraction {fraction:g}: the first {count:,} of {len(source):,} rows"
    return replace(source.select(range(count)), notes=(*source.notes, note))


def mixed(prepared: Sequence[Dataset], sources: Sequence[Source], seed: int) -> Dataset:
    """The prepared rows of all sources, each as often as its weight says. Raises `UserError`."""
    _check_numbers(prepared, sources)
    parts = [_repeated(rows, source.weight, seed) for rows, source in zip(prepared, sources, strict=True)]
    return concatenate_datasets(parts) if len(parts) > 1 else parts[0]


def _check_numbers(prepared: Sequence[Dataset], sources: Sequence[Source]) -> None:
    """Numbers that the objective reads (a margin) must be in all sources or in none."""
    carried = [set(rows.column_names) - PREPARED_COLUMNS for rows in prepared]
    for numbers, source in zip(carried, sources, strict=True):
        for name in set().union(*carried) - numbers:
            having = sources[next(index for index, found in enumerate(carried) if name in found)]
            raise UserError(
                f"no column '{name}', and {having.origins.name} has it",
                where=source.origins.name,
                fix=f"add the column '{name}' to all sources, or remove it from all",
            )


def _repeated(rows: Dataset, weight: float, seed: int) -> Dataset:
    whole, rest = divmod(weight, 1)
    if weight == 1:
        return rows
    share = sorted(random.Random(seed).sample(range(len(rows)), round(rest * len(rows))))
    return rows.select([*range(len(rows))] * int(whole) + share)
