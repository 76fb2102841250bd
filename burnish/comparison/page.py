"""A comparison as one self-contained HTML page: `burnish compare A B --prompts DATA --html FILE`."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.comparison import words
from burnish.comparison.prompts import as_text
from burnish.comparison.result import SHARE, Comparison, Measure
from burnish.comparison.text import last_turn
from burnish.evaluation.statistics import Estimate
from burnish.pages.charts import interval
from burnish.pages.shell import render, visible, write

TEMPLATE = Path(__file__).with_name("page.html")
OPEN, LISTED = 12, 200
"""Prompts whose answers are shown at once, and in all."""


def write_page(comparison: Comparison, path: str | Path) -> Path:
    """Write the page, and return where it is. Raises `UserError` where nothing can be written."""
    return write(render(TEMPLATE, page_values(comparison)), path)


@dataclass(frozen=True)
class Line:
    name: str
    value: str
    interval: str
    plot: Markup


@dataclass(frozen=True)
class Duel:
    name: str
    difference: str
    rate: str
    tally: str
    controlled: str
    verdict: str
    plot: Markup


@dataclass(frozen=True)
class Card:
    """One measure."""

    title: str
    note: str
    lines: list[Line]
    duels: list[Duel]
    notes: list[str]


@dataclass(frozen=True)
class Row:
    index: int
    prompt: str
    before: str  # the turns before the last one
    reference: str
    answers: list[tuple[str, Markup, str]]  # model, text with its differences, what measures say


def page_values(comparison: Comparison) -> dict[str, Any]:
    """Every name that `page.html` uses."""
    order = words.most_telling(comparison, LISTED)
    rows = [row_of(comparison, place) for place in order]
    sampling = comparison.sampling
    how = (
        "the likeliest token each time"
        if not sampling.temperature
        else f"temperature {sampling.temperature:g}"
    )
    facts = [
        ("Prompts", f"{len(comparison.prompts.rows):,} of {comparison.prompts.name}"),
        ("Read as", comparison.prompts.format),
        ("Answers", f"{how}, at most {sampling.max_new_tokens:,} tokens, seed {sampling.seed}"),
        *((model["name"], model["path"]) for model in comparison.models),
        *(("Note", note) for note in comparison.notes),
    ]
    return {
        "title": " and ".join(comparison.names),
        "data": PurePath(comparison.prompts.name).name,
        "facts": facts,
        "verdict": headline(comparison),
        "cards": [card_of(comparison, measure) for measure in comparison.measures],
        "open_rows": rows[:OPEN],
        "more_rows": rows[OPEN:],
        "left_out": len(comparison.prompts.rows) - len(rows),
        "sections": [("measures", "Measures"), ("answers", "Answers")],
        "prompts": units.counted(len(comparison.prompts.rows), "prompt"),
    }


def headline(comparison: Comparison) -> str:
    """The last model against the first by the measure that says most."""
    if len(comparison.names) < 2:
        return f"{comparison.names[0]} alone: nothing to compare it with."
    telling = [m for m in comparison.measures if m.higher_is_better is not None and m.name != "finished"]
    if not telling:
        return "No measure says which answers are better."
    last, first = len(comparison.names) - 1, 0
    pair = next(p for p in telling[0].pairs if (p.of, p.against) == (last, first))
    title = words.title(telling[0])
    verdict = words.verdict(comparison, telling[0], pair)
    return f"{comparison.names[last]} against {comparison.names[first]}, by {title}: {verdict}."


def card_of(comparison: Comparison, measure: Measure) -> Card:
    ends = ends_of(measure)
    direction = {True: "higher is better", False: "lower is better", None: "neither way is better"}
    return Card(
        words.title(measure),
        f"{measure.unit}, {direction[measure.higher_is_better]}",
        [
            line_of(name, found, measure.unit, ends)
            for name, found in zip(comparison.names, measure.models, strict=True)
        ],
        [duel_of(comparison, measure, place) for place in range(len(measure.pairs))],
        measure.notes,
    )


def ends_of(measure: Measure) -> tuple[float, float]:
    """The ends of the axis on which the intervals of a measure stand."""
    if measure.unit == SHARE:
        return 0.0, 1.0
    known = [v for each in measure.models for v in (each.low, each.high, each.value) if not math.isnan(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def line_of(name: str, found: Estimate, unit: str, ends: tuple[float, float]) -> Line:
    known = not math.isnan(found.value)
    plot = interval(found.value, found.low, found.high, None, ends) if known else Markup("")
    return Line(name, words.value(found.value, unit), words.interval(found, unit), plot)


def duel_of(comparison: Comparison, measure: Measure, place: int) -> Duel:
    pair = measure.pairs[place]
    difference = "–"
    if pair.difference is not None:
        between = words.change_interval(pair.difference, measure.unit)
        difference = f"{words.change(pair.difference, measure.unit)} ({between})"
    wins, plot = pair.wins, Markup("")
    shown = wins is not None and measure.name != "finished" and not math.isnan(wins.rate.value)
    if wins is not None and shown:
        plot = interval(wins.rate.value, wins.rate.low, wins.rate.high)
    return Duel(
        f"{comparison.names[pair.of]} against {comparison.names[pair.against]}",
        difference,
        words.rate(pair) if shown else "",
        words.tally(pair) if shown else "",
        words.controlled(pair) if shown else "",
        words.verdict(comparison, measure, pair),
        plot,
    )


# Answers


def row_of(comparison: Comparison, place: int) -> Row:
    row = comparison.prompts.rows[place]
    texts = [comparison.answered.answer(place, m) for m in range(len(comparison.names))]
    before = (
        ""
        if isinstance(row.prompt, str)
        else "\n\n".join(f"{message['role']}: {message.get('content') or ''}" for message in row.prompt[:-1])
    )
    last = row.prompt if isinstance(row.prompt, str) else as_text(row.prompt[-1:])
    answers = [
        (name, marked(text, texts[0] if number else None), said_of(comparison, place, number))
        for number, (name, text) in enumerate(zip(comparison.names, texts, strict=True))
    ]
    reference = "" if row.reference is None else as_text(row.reference)
    return Row(row.index, last if before else last_turn(row.prompt), before, reference, answers)


def said_of(comparison: Comparison, place: int, model: int) -> str:
    """What the measures say of one answer."""
    found = []
    for measure in comparison.measures:
        if measure.values is None or measure.higher_is_better is None or measure.name == "finished":
            continue
        found.append(f"{words.title(measure)} {words.value(measure.values[place][model], measure.unit)}")
    if not comparison.answered.said[model].answers[place].finished:
        found.append("cut off at the limit")
    return " · ".join(found)


def marked(text: str, first: str | None) -> Markup:
    """An answer, with what the first model did not say marked word by word."""
    if not text:
        return Markup('<span class="muted">(nothing)</span>')
    if first is None or first == text:
        return Markup("{}").format(visible(text))
    old, new = (re.findall(r"\s+|\S+", each) for each in (first, text))
    parts = []
    for kind, _, _, start, stop in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        piece = visible("".join(new[start:stop]))
        if piece:
            shown = kind in ("insert", "replace") and piece.strip()
            parts.append(Markup('<mark class="differs">{}</mark>' if shown else "{}").format(piece))
    return Markup("").join(parts)
