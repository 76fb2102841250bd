"""Values of cells: JSON in texts, nulls, and what is said of a wrong type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from burnish.errors import UserError, shorten


def from_json(value: str) -> Any:
    """What a string holds as JSON; the string itself if it is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def without_nulls(value: Any) -> Any:
    """The value without keys that are null, at any depth: Arrow gives every object the keys of all."""
    if isinstance(value, str):  # nearly always, and the question below is a slow one
        return value
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


KINDS = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
"""Names of types for reasons, which are the same for all rows with a fault."""


def wrong_type(column: str, value: Any, expected: str) -> UserError:
    where = f"column '{column}'"
    if value is None:
        return UserError(
            f"expected {expected}, found nothing (null, or the key is missing)",
            where=where,
            fix="fill it in",
            reason=f"{column} is null or missing",
        )
    return UserError(
        f"expected {expected}, found {shorten(value)}",
        where=where,
        fix="mend the row, or convert the column with Dataset.map",
        reason=f"{column} should be {expected}, found {KINDS.get(type(value), type(value).__name__)}",
    )
