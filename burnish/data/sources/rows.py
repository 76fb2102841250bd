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
from burnish.data.reading.family import Family, Recognition, as_chat, check_targets, renamed
from burnish.data.reading.meant import mapping_for
from burnish.data.reading.values import without_nulls
from burnish.errors import UserError, nearest, shorten

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
    is_json: bool = False  # read from JSON, where a null is what somebody wrote
    notes: tuple[str, ...] = ()  # what was done to it

    def __len__(self) -> int:
        return len(self.dataset)

    def reader(self, read_row: ReadRow, options: PreparationOptions) -> RowReader:
        """What reads its rows. Raises `UserError` for names of columns that no format reads."""
        structs = () if self.is_json else struct_columns(self.dataset.features)
        options = replace(options.with_columns(self.columns), struct_columns=structs)
        return reader_for(self.dataset[0], read_row, options, self.origins.name)

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

    def reader(self, first: Mapping[str, Any], read_row: ReadRow, options: PreparationOptions) -> RowReader:
        """What reads its rows, of which this is the first. Raises `UserError`."""
        structs = struct_columns(getattr(self.rows, "features", None) or {})
        options = replace(options.with_columns(self.columns), struct_columns=structs)
        return reader_for(first, read_row, options, self.name)


def struct_columns(features: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns in which Arrow has objects: all of one type have all of its keys, null where there was none."""
    return tuple(name for name, feature in features.items() if _has_struct(feature))


def _has_struct(feature: Any) -> bool:
    if isinstance(feature, dict):
        return True
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return inner is not None and _has_struct(inner)


ReadRow = Callable[[Mapping[str, Any]], Example | TokenizedExample]
"""What a row means, as a family of formats or a function of one's own has it. Raises `UserError`."""


@dataclass(frozen=True)
class RowReader:
    """Reads a row as a method does, after what the options say of columns."""

    read_row: ReadRow
    options: PreparationOptions
    guessed: Mapping[str, str] = field(default_factory=dict)  # columns that were taken by their names

    def __call__(self, row: Mapping[str, Any]) -> Example | TokenizedExample:
        """Raises `UserError` naming the column."""
        row = self._rebuilt(row)
        if isinstance(self._read, Family):
            return self._read(row, self._columns, self.options.as_chats)
        example = self.read_row(renamed(row, self._columns))
        if self.options.as_chats and isinstance(example, Example):
            return as_chat(example, has_prompt=bool(example.prompt))
        return example

    def recognise(self, row: Mapping[str, Any]) -> Recognition | None:
        """What rows like this one are taken for; None where a function of one's own reads them."""
        if not isinstance(self._read, Family):
            return None
        return self._read.recognise(self._rebuilt(row), self._columns)

    @cached_property
    def _columns(self) -> dict[str, str]:
        text = self.options.dataset_text_field
        named = {"text": text} if text not in (None, "text") else {}
        return {**named, **self.options.columns, **self.guessed}

    @cached_property
    def _read(self) -> ReadRow:
        """Where a column of text is named, it is the text, whatever other formats the columns would make."""
        if self.options.dataset_text_field is None or not isinstance(self.read_row, Family):
            return self.read_row
        texts = tuple(each for each in self.read_row.formats if "text" in each.columns)
        return replace(self.read_row, formats=texts) if texts else self.read_row

    def _rebuilt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.options.struct_columns:
            found = {name: without_nulls(row[name]) for name in self.options.struct_columns if name in row}
            row = {**row, **found}
        return row if self._function is None else self._called(row)

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


def reader_for(
    first: Mapping[str, Any], read_row: ReadRow, options: PreparationOptions, name: str
) -> RowReader:
    """What reads rows like the first; columns of other names are taken for those that seem to be meant.

    Raises `UserError` for a name on the left of `columns` that no format reads, and a text field that is not
    there; `name` is that of the source.
    """
    try:
        return _reader_for(first, read_row, options)
    except UserError as error:
        raise error.at(name) from error.__cause__


def _reader_for(first: Mapping[str, Any], read_row: ReadRow, options: PreparationOptions) -> RowReader:
    reader = RowReader(read_row, options)
    text = options.dataset_text_field
    row = reader._rebuilt(first)
    if text is not None and text not in row:
        raise UserError(
            f"no column '{text}'; there is {', '.join(row)}.{nearest(text, row)}",
            where="dataset_text_field",
            fix="name the column that holds the text",
        )
    if not isinstance(read_row, Family):
        return reader
    check_targets(options.columns, read_row.known)
    if text is not None or read_row.find(renamed(row, options.columns)) is not None:
        return reader
    guessed = mapping_for(renamed(row, options.columns), [read_row])
    return replace(reader, guessed={name: options.columns.get(own) or own for name, own in guessed.items()})


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
    first = source.dataset[0]
    reader = source.reader(read_row, options)
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
    """`question=ticket,chosen=good_answer,context=` as a dictionary; an empty one is left out.

    Raises `UserError`.
    """
    if value is None or isinstance(value, Mapping):
        return {name: own or "" for name, own in (value or {}).items()}
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    for name, equals, own in pairs:
        if not (name.strip() and equals):
            raise UserError(
                f"expected name=column, found {shorten(name + equals + own)}",
                where="columns",
                fix="write question=ticket,chosen=good_answer; context= leaves a column out",
            )
    return {name.strip(): own.strip() for name, _, own in pairs}
