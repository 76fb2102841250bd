"""Rows whose completions have numbers: ranked lists, scores, and pairs that come with more than an order.

Every reader here makes the column `scores`, a list of numbers (of a list: one per completion, more being
better; of a scored completion: one per attribute), or carries the one column that a loss of pairs reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.example import Example, Text, as_turns
from burnish.data.reading import cells
from burnish.data.reading.cells import Row
from burnish.data.reading.readers import TEMPLATE_COLUMNS, template_columns
from burnish.data.reading.values import wrong_type
from burnish.errors import UserError, shorten

SCORES = "scores"
"""The column of numbers in prepared rows: float per completion, or per attribute."""

# A prompt with several completions in an order


def scored_list(row: Row) -> Example:
    """Completions with `scores`, more being better."""
    return _in_order(row, "scores", 1.0)


def ranked_list(row: Row) -> Example:
    """Completions with `ranks`, 1 being the best; those of one rank are not compared."""
    return _in_order(row, "ranks", -1.0)


def _in_order(row: Row, column: str, sign: float) -> Example:
    prompt, numbers = cells.text(row, "prompt"), cells.numbers(row, column)
    completions = [
        cells.text({"completions": each}, "completions")
        for each in cells.list_of(str | Sequence, row, "completions", "a list of completions")
    ]
    _check_order(completions, numbers, column)
    scores = [sign * number for number in numbers]
    if not all(isinstance(text, str) for text in (prompt, *completions)):
        prompt, completions = as_turns(prompt, "user"), [as_turns(text, "assistant") for text in completions]
    return Example(prompt, tuple(completions), {**template_columns(row), SCORES: scores})


def scored_responses(row: Row) -> Example:
    """UltraFeedback's rows: completions as objects with `response` and `overall_score`."""
    question = cells.string(row, "prompt")
    found = cells.list_of(Mapping, row, "completions", "a list of objects")
    for each in found:
        if not {"response", "overall_score"} <= each.keys():
            raise wrong_type("completions", each, "objects with response and overall_score")
    answers = [cells.string(each, "response") for each in found]
    scores = [cells.number(each, "overall_score") for each in found]
    _check_order(answers, scores, "completions")
    columns = {**template_columns(row), SCORES: scores}
    plain = Example(f"{question}\n", tuple(answers), columns)
    completions = tuple(as_turns(answer, "assistant") for answer in answers)
    return Example(as_turns(question, "user"), completions, columns, plain=plain)


def has_responses(row: Row) -> bool:
    """Whether the completions of a row are objects, not texts or chats."""
    completions = row["completions"]
    listed = isinstance(completions, Sequence) and not isinstance(completions, str)
    return listed and len(completions) > 0 and all(isinstance(each, Mapping) for each in completions)


def _check_order(completions: Sequence[Text], numbers: Sequence[float], column: str) -> None:
    if len(completions) != len(numbers):
        raise UserError(
            f"{len(completions)} completions, but {len(numbers)} {column}",
            where=f"columns 'completions', '{column}'",
            fix="give every completion one number",
            reason="completions and their numbers differ in number",
        )
    if len(set(numbers)) < 2:
        raise UserError(
            f"no completion is better than another, found {shorten(numbers)}",
            where=f"column '{column}'",
            fix="remove the row, or give the completions different numbers",
            reason="no completion is better than another",
        )


# A completion with a score, or several


def with_scores(
    read: Callable[[Row], Any], attributes: Sequence[str], levels: Sequence[float], row: Row
) -> Example:
    """A row with one completion, and its score of every attribute; one of `levels`, if there are any."""
    example: Example = read(row)
    scores = [cells.number(row, name) for name in attributes]
    for name, score in zip(attributes, scores, strict=True):
        if levels and score not in levels:
            raise UserError(
                f"expected one of the levels {', '.join(f'{level:g}' for level in levels)}, found {score:g}",
                where=f"column '{name}'",
                fix="name all values that scores have in ordinal_levels, or train with loss_type=regression",
                reason="a score that is no level",
            )
    return with_column(example, SCORES, scores)


def with_column(example: Example, name: str, value: Any) -> Example:
    """The example with this column alone for the objective; its plain form too."""
    columns = {key: kept for key, kept in example.columns.items() if key in TEMPLATE_COLUMNS}
    plain = example.plain and with_column(example.plain, name, value)
    return replace(example, columns={**columns, name: value}, plain=plain)


# A pair, and how much is known of it


def with_margin(read: Callable[[Row], Any], row: Row) -> Example:
    """A pair with `margin`, by how much chosen is better, at least 0."""
    return _with_number(read, "margin", (0, float("inf")), "0 or more", row)


def with_probability(read: Callable[[Row], Any], row: Row) -> Example:
    """A pair with `chosen_probability`, how probable it is that chosen is the better one."""
    return _with_number(read, "chosen_probability", (0, 1), "a probability from 0 to 1", row)


def _with_number(
    read: Callable[[Row], Any], column: str, bounds: tuple[float, float], expected: str, row: Row
) -> Example:
    value = cells.number(row, column)
    if not bounds[0] <= value <= bounds[1]:
        raise wrong_type(column, row[column], expected)
    return with_column(read(row), column, value)
