"""The rows of one source, where each of them comes from, and how it is read."""

from __future__ import annotations

import importlib
import importlib.util
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset

from burnish.data.example import Example, TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import Family, Recognition, renamed
from burnish.errors import UserError, shorten

ID_COLUMNS = ("id", "row_id", "prompt_id", "uid", "uuid", "_id", "idx", "index")
"""Columns with a person's own name of a row, which messages give beside its number."""


@dataclass(frozen=True)
class Origins:
    """Names of the rows of a source, for messages."""

    name: str  # the file, the folder, the hub id
    numbers: Sequence[int] | None = None  # the number in the source of every row; None: they are all there
    files: Sequence[tuple[str, int]] = ()  # of several: each with the number in the source of its first row

    def number(self, index: int) -> int:
        return index if self.numbers is None else self.numbers[index]

    def of(self, index: int, row: Mapping[str, Any]) -> str:
        """`pairs.jsonl, row 17 (id 95)`; of several files, the row's own with its number there."""
        file, number = self.name, self.number(index)
        if self.files:
            file, first = self.files[bisect_right(self.files, number, key=lambda each: each[1]) - 1]
            number -= first
        name = next((name for name in ID_COLUMNS if isinstance(row.get(name), int | str)), None)
        return f"{file}, row {number}" + (f" ({name} {row[name]})" if name else "")

    def select(self, indices: Sequence[int]) -> Origins:
        return replace(self, numbers=[self.number(index) for index in indices])


@dataclass(frozen=True)
class Source:
    """Rows of a file, a folder, a hub dataset, or of memory."""

    dataset: Dataset
    origins: Origins
    columns: Mapping[str, str] = field(default_factory=dict)  # its own names of columns
    weight: float = 1.0  # how many times its rows are in an epoch; at least 1
    notes: tuple[str, ...] = ()  # what was done to it

    def __len__(self) -> int:
        return len(self.dataset)

    def select(self, indices: Sequence[int]) -> Source:
        """Some of the rows, which keep their numbers."""
        return replace(self, dataset=self.dataset.select(indices), origins=self.origins.select(indices))

    def sample(self, count: int, seed: int) -> Source:
        """So many of the rows, drawn by the seed, in their order."""
        return self.select(sorted(random.Random(seed).sample(range(len(self)), count)))


@dataclass(frozen=True)
class RowStream:
    """Rows that are read as they are needed, again from the start for every epoch."""

    rows: Iterable[Mapping[str, Any]]
    name: str
    columns: Mapping[str, str] = field(default_factory=dict)


ReadRow = Callable[[Mapping[str, Any]], Example | TokenizedExample]
"""What a row means, as a family of formats or a function of one's own has it. Raises `UserError`."""


@dataclass(frozen=True)
class RowReader:
    """Reads a row as a method does, after what the options say of columns."""

    read_row: ReadRow
    options: PreparationOptions

    def __call__(self, row: Mapping[str, Any]) -> Example | TokenizedExample:
        """Raises `UserError` naming the column."""
        row = self._rebuilt(row)
        if isinstance(self.read_row, Family):
            return self.read_row(row, self.options.columns)
        return self.read_row(renamed(row, self.options.columns))

    def recognise(self, row: Mapping[str, Any]) -> Recognition | None:
        """What rows like this one are taken for; None where a function of one's own reads them."""
        if not isinstance(self.read_row, Family):
            return None
        return self.read_row.recognise(self._rebuilt(row), self.options.columns)

    def _rebuilt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        text_field = self.options.dataset_text_field
        if self._function is not None:
            row = self._called(row)
        if text_field != "text" and text_field in row:
            row = {("text" if name == text_field else name): value for name, value in row.items()}
        return row

    def _called(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self.options.row_function
        assert self._function is not None
        try:
            made = self._function(dict(row))
        except UserError:
            raise
        except Exception as error:  # a person's own function raises anything
            raise UserError(
                f"row_function {name} raised {type(error).__name__}: {error}",
                fix="mend the function, or the row",
                reason=f"row_function raised {type(error).__name__}",
            ) from error
        if not isinstance(made, Mapping):
            raise UserError(
                f"row_function {name} should return a row (a dictionary), found {shorten(made)}",
                fix="return a dictionary with the columns of a known format",
                reason="row_function returned no row",
            )
        return made

    @cached_property
    def _function(self) -> Callable[[dict[str, Any]], Any] | None:
        return None if self.options.row_function is None else load_function(self.options.row_function)

    def __getstate__(self) -> dict[str, Any]:
        """Without the function, which another process loads by its name."""
        return {name: value for name, value in self.__dict__.items() if name != "_function"}


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns, as a dataset gives a batch, as rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def recognised(first: Mapping[str, Any], reader: RowReader, name: str) -> Recognition | None:
    """What rows are taken for, by the first of them. Raises `UserError`."""
    try:
        return reader.recognise(first)
    except UserError as error:
        raise error.at(name) from error.__cause__


def check_first(source: Source, read_row: ReadRow, options: PreparationOptions) -> None:
    """Refuse a source whose columns are of no known format, by its first row. Raises `UserError`.

    Where rows that cannot be read are skipped, what is in the row does not matter here.
    """
    reader = RowReader(read_row, options.with_columns(source.columns))
    first = source.dataset[0]
    try:
        reader.recognise(first)
        if options.on_bad_row == "stop":
            reader(first)
    except UserError as error:
        raise error.at(source.origins.of(0, first)) from error.__cause__


def load_function(name: str) -> Callable[..., Any]:
    """The function that `package.module:name` or `path/file.py:name` names. Raises `UserError`."""
    place, colon, attribute = name.rpartition(":") if ":" in name else name.rpartition(".")
    try:
        if not colon and not place:
            raise ModuleNotFoundError("no module named")
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        return getattr(module, attribute)
    except (ImportError, OSError, AttributeError) as error:
        raise UserError(
            f"cannot be loaded: {error}", where=name, fix="write package.module:name or path/file.py:name"
        ) from error


def parse_columns(value: Mapping[str, str] | str | None) -> dict[str, str]:
    """`prompt=question,chosen=good_answer` as a dictionary. Raises `UserError`."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    for name, equals, own in pairs:
        if not (name.strip() and equals and own.strip()):
            raise UserError(
                f"expected name=column, found {shorten(name + equals + own)}",
                where="columns",
                fix="write prompt=question,chosen=good_answer",
            )
    return {name.strip(): own.strip() for name, _, own in pairs}
