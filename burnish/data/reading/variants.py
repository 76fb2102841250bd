"""Families of formats as the options of a method have them.

A family's name is what its prepared rows are cached by, so it says all that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from burnish.data.example import Example
from burnish.data.reading import readers, scores
from burnish.data.reading.family import Family, Format
from burnish.data.reading.formats import PREFERENCE, STEPWISE
from burnish.data.reading.readers import Row


def steps_ending_in(step_separator: str, last_step_only: bool = False) -> Family:
    """Stepwise supervision, each step followed by the separator; of all labels, or of the last one alone."""
    read = partial(readers.stepwise, step_separator=step_separator, last_step_only=last_step_only)
    name = f"stepwise, ending in {step_separator!r}{', last step only' if last_step_only else ''}"
    return replace(STEPWISE, name=name, formats=tuple(_reading(each, read) for each in STEPWISE.formats))


def _reading(known: Format, read: Callable[[Row], Example]) -> Format:
    """The format with another reader; token ids are as they are."""
    return replace(known, read=read) if known.sides else known


def pairs_with(column: str, read: Callable[[Callable[[Row], Any], Row], Example]) -> Family:
    """Pairs that all have one more column, which alone reaches the objective."""
    return Family(
        f"pairs with {column}",
        tuple(
            replace(
                pairs,
                name=f"{pairs.name}, with {column}",
                columns=(*pairs.columns, column),
                read=partial(read, pairs.read),
                carries=(column,),
            )
            for pairs in PREFERENCE.of_text
        ),
        purpose=PREFERENCE.purpose,
    )


WITH_MARGIN = pairs_with("margin", scores.with_margin)
WITH_PROBABILITY = pairs_with("chosen_probability", scores.with_probability)
