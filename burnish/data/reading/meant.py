"""Which of a row's columns stand for known ones, guessed by their names, for a person to look at."""

from __future__ import annotations

from burnish.data.reading.formats import FAMILIES, columns_meant, plain_formats, worth
from burnish.data.reading.readers import Row


def mapping_for(row: Row) -> dict[str, str]:
    """The columns of a format, each with the row's own that seems to be meant; none, where one is missing."""
    formats = [
        each
        for each in plain_formats(FAMILIES[:-1])
        if each.columns and all(columns_meant(each, row).values())
    ]
    best = max(formats, key=lambda candidate: worth(candidate, row), default=None)
    return {} if best is None else columns_meant(best, row)
