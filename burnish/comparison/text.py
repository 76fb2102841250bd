"""A comparison for the terminal: measures, win rates, and answers side by side.

In a terminal the answers stand in columns, and in 80 columns or fewer of three models below each other;
where the output goes into a file, every line begins with what it is.
"""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.comparison import words
from burnish.comparison.prompts import as_text
from burnish.comparison.result import SHARE, Comparison, Measure, Pair
from burnish.data.example import Text as Prompt
from burnish.pages.shell import visible

LEAST_COLUMN = 30
"""Characters that an answer needs to stand beside another."""

LONGEST = 600
"""Characters that are shown of an answer or a prompt."""


def show(comparison: Comparison, console: Console, shown: int) -> None:
    """Print measures, and the answers to `shown` prompts: those first at which the models differ most."""
    rows = comparison.prompts.rows
    console.print(Text(f"{len(rows):,} prompts of {comparison.prompts.name}"))
    for note in comparison.notes:
        console.print(Text(f"note: {note}"))
    console.print()
    for place in words.most_telling(comparison, shown):
        _answers(comparison, place, console)
    console.print(_measures(comparison))
    for place, (later, earlier) in enumerate(comparison.answered.pairs):
        console.print(Text(f"{comparison.names[later]} against {comparison.names[earlier]}", style="cyan"))
        console.print(_pairs(comparison, place))
        console.print()
    for measure in comparison.measures:
        for note in measure.notes:
            console.print(Text(f"note: {words.title(measure)}: {note}"))


# Answers


def _answers(comparison: Comparison, place: int, console: Console) -> None:
    row = comparison.prompts.rows[place]
    texts = [clipped(comparison.answered.answer(place, m)) for m in range(len(comparison.names))]
    prompt = clipped(last_turn(row.prompt))
    reference = clipped(as_text(row.reference)) if row.reference is not None else None
    if not console.is_terminal:
        return _plain(comparison, place, prompt, reference, texts, console)
    head = Text.assemble((f"{row.index}  ", "dim"), (prompt, "bold"))
    console.print(head)
    if reference is not None:
        console.print(Text.assemble(("reference  ", "dim"), reference))
    if console.width // len(texts) < LEAST_COLUMN:
        for name, text in zip(comparison.names, texts, strict=True):
            console.print(Text.assemble((f"{name}  ", "cyan"), text))
    else:
        console.print(_columns(comparison.names, texts))
    values = _values(comparison, place)
    if values:
        console.print(Text(values, style="dim"))
    console.print()
    return None


def _columns(names: list[str], texts: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
    for name in names:
        table.add_column(Text(name, style="cyan"), ratio=1, overflow="fold")
    table.add_row(*map(Text, texts))
    return table


def _plain(
    comparison: Comparison, place: int, prompt: str, reference: str | None, texts: list[str], console: Console
) -> None:
    """A line for everything, its line breaks as spaces."""
    index = comparison.prompts.rows[place].index
    lines = [("prompt", prompt), *([("reference", reference)] if reference is not None else [])]
    lines += zip(comparison.names, texts, strict=True)
    for name, text in lines:
        print(f"{index}\t{name}\t{' '.join(text.split())}", file=console.file)
    if values := _values(comparison, place):
        print(f"{index}\tmeasures\t{values}", file=console.file)
    print(file=console.file)


def _values(comparison: Comparison, place: int) -> str:
    """What the measures say of the answers to one prompt."""
    found = []
    for measure in comparison.measures:
        if measure.higher_is_better is None or measure.name == "finished" or measure.values is None:
            continue
        values = [words.value(each, measure.unit) for each in measure.values[place]]
        found.append(f"{words.title(measure)}: {' | '.join(values)}")
    return "   ".join(found)


def clipped(text: str) -> str:
    text = visible(text.strip())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def last_turn(prompt: Prompt) -> str:
    """What was asked: the last message, after how many others."""
    if isinstance(prompt, str):
        return prompt
    before = len(prompt) - 1
    text = as_text(prompt[-1:])
    return f"({units.counted(before, 'message')} before) {text}" if before else text


# Measures


def _measures(comparison: Comparison) -> Table:
    """A column for each model: the value, and below it the interval."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("measure", style="bold", overflow="fold")
    for name in comparison.names:
        table.add_column(Text(name, style="cyan"), justify="right", overflow="fold")
    for measure in comparison.measures:
        unit = "" if measure.unit in (SHARE, "score", "reward") else f"\n{measure.unit}"
        cells = [
            Text.assemble(
                words.value(each.value, measure.unit), (f"\n{words.interval(each, measure.unit)}", "dim")
            )
            for each in measure.models
        ]
        table.add_row(Text.assemble(words.title(measure), (unit, "dim")), *cells)
    return table


def _pairs(comparison: Comparison, place: int) -> Table:
    """What every measure says of one pair of models."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", overflow="fold", max_width=24)
    table.add_column(overflow="fold")
    for measure in comparison.measures:
        parts = _said(measure, measure.pairs[place])
        told = words.verdict(comparison, measure, measure.pairs[place])
        table.add_row(Text(words.title(measure)), Text.assemble("; ".join(parts), ": ", (told, "bold")))
    return table


def _said(measure: Measure, pair: Pair) -> list[str]:
    parts = []
    if pair.difference is not None:
        between = words.change_interval(pair.difference, measure.unit)
        parts.append(f"{words.change(pair.difference, measure.unit)} ({between})")
    if pair.wins is not None and measure.name != "finished":
        parts.append(f"win rate {words.rate(pair)}, {words.tally(pair)}")
        if pair.wins.length_controlled is not None:
            parts.append(f"length-controlled {words.controlled(pair)}")
    return parts
