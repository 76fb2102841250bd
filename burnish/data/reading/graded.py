"""Completions whose quality is known, by which a reward model can be measured.

    prompt, completions, scores (or labels)     any number of completions, each with its own
    prompt, chosen, rejected                    where either may be a list of several (RewardBench 2)
    any pair that a reward model is trained on  see `formats.PREFERENCE`

Of each the reader makes the column `labels`: a number per completion, more being better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from burnish.data.example import Example, Text, as_turns
from burnish.data.reading import cells
from burnish.data.reading.cells import Row
from burnish.data.reading.family import Family, Format
from burnish.data.reading.formats import PREFERENCE
from burnish.data.reading.readers import CHOICE, TEMPLATE_COLUMNS, template_columns
from burnish.errors import UserError

GRADES = "labels"
"""The column of prepared rows: float per completion."""

SUBSET = ("subset",)
"""Columns that say what kind of row it is."""


def _graded(row: Row, prompt: Text, completions: Sequence[Text], grades: Sequence[float]) -> Example:
    """All of them as plain text, or all as chats."""
    if not all(isinstance(text, str) for text in (prompt, *completions)):
        prompt, completions = as_turns(prompt, "user"), [as_turns(text, "assistant") for text in completions]
    return Example(prompt, tuple(completions), {**template_columns(row), GRADES: [*map(float, grades)]})


def scored_completions(row: Row) -> Example:
    listed = cells.list_of(object, row, "completions", "a list of completions")
    completions, scores = _several({"completions": listed}, "completions"), cells.numbers(row, "scores")
    if len(completions) != len(scores):
        raise UserError(
            f"{len(completions)} completions, but {len(scores)} scores",
            where="columns 'completions', 'scores'",
            fix="give every completion one number",
            reason="completions and scores differ in number",
        )
    if len(completions) < 2:
        raise UserError(
            f"two completions or more can be compared, found {len(completions)}",
            where="column 'completions'",
            fix="put all completions of a prompt into one row",
            reason="fewer than two completions",
        )
    return _graded(row, cells.text(row, "prompt"), completions, scores)


def chosen_and_rejected(row: Row) -> Example:
    """Every chosen one is better than every rejected one."""
    chosen, rejected = (_several(row, name) for name in CHOICE)
    for name, found in zip(CHOICE, (chosen, rejected), strict=True):
        if not found:
            raise UserError("the list is empty", where=f"column '{name}'", fix="give at least one completion")
    grades = [1.0] * len(chosen) + [0.0] * len(rejected)
    return _graded(row, cells.text(row, "prompt"), [*chosen, *rejected], grades)


def _several(row: Row, column: str) -> list[Text]:
    """A list of completions, each a string or messages; a single one is a list of one."""
    if not _is_several(row[column]):
        return [cells.text(row, column)]
    return [cells.text({column: item}, column) for item in row[column]]


def _is_several(value: Any) -> bool:
    """A list whose items are no messages: texts, or chats."""
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and all(isinstance(item, str | Sequence) for item in value)


def _has_several(row: Row) -> bool:
    return any(_is_several(row[name]) for name in CHOICE)


def _pair(read: Callable[[Row], Any], row: Row) -> Example:
    pair: Example = read(row)
    columns = {name: value for name, value in pair.columns.items() if name in TEMPLATE_COLUMNS}
    return replace(pair, columns={**columns, GRADES: [1.0, 0.0]}, plain=pair.plain and _plain(pair.plain))


def _plain(pair: Example) -> Example:
    return replace(pair, columns={GRADES: [1.0, 0.0]})


GRADED = Family(
    "graded",
    (
        Format(
            "completions with scores",
            ("prompt", "completions", "scores"),
            scored_completions,
            optional=SUBSET,
            makes=(GRADES,),
        ),
        Format(
            "completions with labels",
            ("prompt", "completions", "labels"),
            scored_completions,
            aliases={"scores": "labels"},
            optional=SUBSET,
            makes=(GRADES,),
        ),
        Format(
            "several chosen or rejected",
            ("prompt", *CHOICE),
            chosen_and_rejected,
            when=_has_several,
            optional=SUBSET,
            makes=(GRADES,),
        ),
        *(
            replace(
                pairs,
                read=partial(_pair, pairs.read),
                optional=(*pairs.optional, *SUBSET),
                carries=(),
                makes=(GRADES,),
            )
            for pairs in PREFERENCE.of_text
        ),
    ),
    purpose="measuring reward models",
)
