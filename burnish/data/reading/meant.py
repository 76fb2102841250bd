"""Which of a row's columns stand for known ones, guessed by their names, for a person to look at.

The same guess is used where rows are read (and said in the plan), in `burnish init`, and in errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from burnish.data.reading.family import Family, Format
from burnish.data.reading.formats import ANSWERS, FAMILIES, PROMPT_ONLY
from burnish.data.reading.readers import PROMPT_NAMES, Row, usual
from burnish.data.reading.side_columns import SIDE_COLUMNS
from burnish.errors import UserError, nearest

COMPLETIONS = (*ANSWERS, "target", "reply", "assistant")
LOOKALIKES = {
    "question": PROMPT_NAMES,
    "prompt": PROMPT_NAMES,
    "answer": COMPLETIONS,
    "completion": COMPLETIONS,
    "chosen": ("good_answer", "accepted", "preferred", "winner", "better", "response_chosen", "good"),
    "rejected": ("bad_answer", "dispreferred", "loser", "worse", "response_rejected", "bad"),
    "messages": ("conversation", "chat", "dialogue", "turns"),
    "text": ("content", "document", "story"),
}
"""Other people's names for the columns."""

MOST_ALTERNATIVES = 8
"""Formats that an error lists."""


def mapping_for(row: Row, families: Sequence[Family] = FAMILIES) -> dict[str, str]:
    """The columns of a format, each with the row's own that seems to be meant; none, where one is missing."""
    spelled = _spellings(row)
    as_usual = {name: row[own] for name, own in spelled.items()}
    for family in families:
        found = family.find(as_usual)
        if found is not None and family is not PROMPT_ONLY:
            wanted = [*found.columns, *found.optional, *found.carries]
            return _renames({name: spelled[name] for name in wanted if name in spelled}, spelled)
    complete = [
        each for each in suggested(families) if each.columns and all(columns_meant(each, row, False).values())
    ]
    best = _likeliest(complete, row)
    return {} if not best else _renames(columns_meant(best[0], row, False), spelled)


def _spellings(row: Row) -> dict[str, str]:
    """The row's columns by their names in small letters, with underscores for spaces and hyphens."""
    found: dict[str, str] = {}
    for name in row:
        found.setdefault(usual(name), name)
    return found


def _renames(columns: Mapping[str, str], spelled: Mapping[str, str]) -> dict[str, str]:
    """What has to be renamed, with the side columns that are only spelled in another way."""
    taken = set(columns.values())
    sides = {name: spelled[name] for name in SIDE_COLUMNS if name in spelled and spelled[name] not in taken}
    return {name: own for name, own in {**sides, **columns}.items() if name != own}


def suggested(families: Iterable[Family]) -> list[Format]:
    """The formats that a person is told of: each once, by the usual names of its columns."""
    formats = [each for family in families if family is not PROMPT_ONLY for each in family.formats]
    named = [each for each in formats if not each.aliases or _is_usual(each)]
    return list({each.columns: each for each in reversed(named)}.values())[::-1]


def _is_usual(known: Format) -> bool:
    """Of questions and answers by many names, those of the plain names."""
    return "question" in known.columns and not {*ANSWERS} - {"answer"} & {*known.columns}


def may_have_answers(row: Row) -> bool:
    """Whether the row has every column of a format with answers, some of them under other names."""
    return any(all(columns_meant(each, row).values()) for each in suggested(FAMILIES))


def _likeliest(formats: Iterable[Format], row: Row) -> list[Format]:
    """The formats, the nearest to the row first."""
    return sorted(formats, key=lambda each: worth(each, row), reverse=True)


def worth(wanted: Format, row: Row) -> tuple[float, ...]:
    """How near a row is to a format: the share of its columns that are there, how many, and how few of them
    under other names; a text is rather a question than a prompt without a chat template."""
    renames = columns_meant(wanted, row)
    missing = sum(not found for found in renames.values())
    alike = missing - sum(not found for found in columns_meant(wanted, row, False).values())
    known = len(wanted.columns) - missing + alike / 2  # alike is below 0: one that only looks alike is a half
    if known <= 0 or not wanted.columns:
        return 0.0, 0.0, 0.0, float(wanted.sides)
    asked = next((renames.get(name) or name for name in ("prompt", "question") if name in wanted.columns), "")
    fitting = ("question" in wanted.columns) == isinstance(row.get(asked), str) if asked else 0.5
    return known / len(wanted.columns), known, -len(renames), float(fitting)


def columns_meant(wanted: Format, row: Row, resembling: bool = True) -> dict[str, str]:
    """The columns that a format misses, each with the row's column that may be meant (or nothing).

    `resembling`: names that only look alike count too (a slip of the pen). What is read without asking goes
    by known names alone: `text_id` is no `text`.
    """
    free = {name: None for name in row if name not in wanted.columns}
    found: dict[str, str] = {}
    for name in wanted.columns:
        if name not in row:
            found[name] = _lookalike(name, free, resembling)
            free.pop(found[name], None)
    return found


def _lookalike(name: str, columns: Iterable[str], resembling: bool) -> str:
    known = (name, *LOOKALIKES.get(name, ()), f"{name}s")
    spelled = _spellings(dict.fromkeys(columns))
    found = next((spelled[each] for each in known if each in spelled), "")
    if found or not resembling:
        return found
    return next((column for column in spelled.values() if nearest(column, [name])), "")


def no_format(row: Row, families: Sequence[Family]) -> UserError:
    """What is said of a row of no known format: the likeliest first, and how to name its columns."""
    formats = _likeliest(suggested(families) or [each for f in families for each in f.formats], row)
    names = list(dict.fromkeys(" + ".join(each.columns) for each in formats))
    expected = " | ".join(names[:MOST_ALTERNATIVES])
    if len(names) > MOST_ALTERNATIVES:
        expected += f" | {len(names) - MOST_ALTERNATIVES} more (docs/data.md)"
    renames = _renames(columns_meant(formats[0], row), _spellings(row))
    pairs = ",".join(f"{name}={found or 'YOUR_COLUMN'}" for name, found in renames.items())
    fix = f"say which is which (--columns {pairs}), or build the columns with Dataset.map"
    others = [f for f in FAMILIES if f not in families and f is not PROMPT_ONLY and f.find(row) is not None]
    what = f"no known format: found columns {', '.join(row) or 'none'}; expected {expected}"
    if others:
        meant = max(others, key=lambda family: _columns_used(family, row))
        what += f".\n  These columns are rows for {meant.purpose} ({_name(meant, row)})"
        found = any(columns_meant(formats[0], row).values())
        fix = fix if found else "train such rows by that method, or give rows as expected"
    return UserError(what, fix=fix, reason="no known format")


def _name(family: Family, row: Row) -> str:
    found = family.find(row)
    return found.name if found else ""


def _columns_used(family: Family, row: Row) -> int:
    found = family.find(row)
    return len(found.columns) if found else 0
