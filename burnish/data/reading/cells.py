"""The cells of a row by their type. All raise `UserError` naming the column.

Files of text cells (CSV) hold numbers as `0.5`, flags as `true`, and lists as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.example import Text
from burnish.data.reading.messages import messages_in, read_messages, unwrapped
from burnish.data.reading.values import from_json, wrong_type

Row = Mapping[str, Any]


def text(row: Row, column: str) -> Text:
    """A string, or messages, which may be JSON in a string."""
    value = row[column]
    value = unwrapped(messages_in(value) if isinstance(value, str) else value, column)
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) and not (
        isinstance(value, Sequence) and all(isinstance(item, Mapping) for item in value)
    ):
        raise wrong_type(column, value, "a string or a list of messages")
    return read_messages(value, column)


def string(row: Row, column: str) -> str:
    if not isinstance(row[column], str):
        raise wrong_type(column, row[column], "a string")
    return row[column]


def optional(row: Row, column: str) -> str:
    """A string; empty where it is null or missing."""
    return "" if row.get(column) is None else string(row, column)


def number(row: Row, column: str) -> float:
    value = _number(row[column])
    if value is None:
        raise wrong_type(column, row[column], "a finite number")
    return value


def numbers(row: Row, column: str) -> list[float]:
    """A list of numbers, or of true and false."""
    found = [_number(item, flags=True) for item in list_of(object, row, column, "a list of finite numbers")]
    known = [value for value in found if value is not None]
    if len(known) < len(found):
        raise wrong_type(column, row[column], "a list of finite numbers")
    return known


def flag(row: Row, column: str) -> bool:
    """True or false, 1 or 0."""
    value = _number(row[column], flags=True)
    if value not in (0, 1):
        raise wrong_type(column, row[column], "true or false (1 or 0)")
    return bool(value)


def list_of(kind: Any, row: Row, column: str, expected: str) -> list[Any]:
    """A list with items of one type."""
    value = from_json(row[column]) if isinstance(row[column], str) else row[column]
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(item, kind) for item in value)
    ):
        raise wrong_type(column, row[column], expected)
    return list(value)


def integers(row: Row, column: str, expected: str = "a list of integers") -> list[int]:
    """A list of integers; whole numbers also where another row's fractions made floats of them."""
    found = list_of(int | float, row, column, expected)
    if not all(isinstance(value, int) or value.is_integer() for value in found):
        raise wrong_type(column, row[column], expected)
    return [int(value) for value in found]


FLAGS = {"true": 1.0, "false": 0.0}


def _number(value: Any, flags: bool = False) -> float | None:
    """A finite number, also from its text; None for anything else."""
    if flags and isinstance(value, str) and value.strip().lower() in FLAGS:
        return FLAGS[value.strip().lower()]
    if isinstance(value, bool) and not flags:
        return None
    try:
        found = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
