"""A report as text, in 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.evaluation import words
from burnish.evaluation.report import RewardReport
from burnish.evaluation.statistics import Estimate

BAR = 20


def show(report: RewardReport, console: Console) -> None:
    """Print everything."""
    sections: list[RenderableType | None] = [
        _header(report),
        Text(words.verdict(report), style="bold"),
        _shares("subset", report.subsets.items(), _mean(report)),
        _shares("predicted margin", [(words.margin_name(g), g.accuracy) for g in report.by_margin]),
        _calibration(report),
        _length(report),
        _best_of(report),
    ]
    for section in sections:
        if section is not None:
            console.print(section)
            console.print()


def _header(report: RewardReport) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("model", Text(report.model))
    table.add_row("data", Text(report.data))
    table.add_row("read as", Text(report.format))
    table.add_row("rows", Text(f"{report.read:,} read, {report.kept:,} scored, {report.pairs:,} pairs"))
    if lost := words.lost(report):
        table.add_row("left out", Text(lost, style="yellow"))
    for note in report.notes:
        table.add_row("note", Text(note))
    return table


def _mean(report: RewardReport) -> str:
    if len(report.subsets) < 2:
        return ""
    return f"mean of the subsets {units.share(report.mean_of_subsets)}"


def _shares(title: str, found: Iterable[tuple[str, Estimate]], below: str = "") -> RenderableType | None:
    """A line for each share: its name, rows, value, interval, and a bar."""
    found = list(found)
    if not found:
        return None
    table = _table(title)
    for name, each in found:
        cells = (f"{each.rows:,.0f}", units.share(each.value), words.interval(each))
        table.add_row(Text(name), *cells, Text(bar(each), style="cyan"))
    return Group(table, Text(below, style="dim")) if below else table


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column(title, style="bold", overflow="fold", max_width=24)
    for name in ("rows", "right", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("0 %    half   100 %", no_wrap=True)
    return table


def bar(estimate: Estimate) -> str:
    """The interval as a line from 0 to 100 %, the value a dot on it, and a half marked."""
    if not estimate.rows:
        return ""
    places = [round(share * (BAR - 1)) for share in (estimate.low, estimate.value, estimate.high)]
    cells = ["·" if place == BAR // 2 else " " for place in range(BAR)]
    cells[places[0] : places[2] + 1] = "─" * (places[2] - places[0] + 1)
    cells[places[1]] = "●"
    return "".join(cells)


def _calibration(report: RewardReport) -> RenderableType:
    table = _table("claimed")
    for each in report.reliability:
        right = each.accuracy
        cells = (f"{right.rows:,.0f}", units.share(right.value), words.interval(right))
        table.add_row(units.share(each.confidence), *cells, Text(bar(right), style="cyan"))
    numbers = (
        f"expected calibration error {report.calibration_error:.3f}, log loss {report.log_loss:.3f}, "
        f"ties {units.share(report.tied)}"
    )
    return Group(table, Text(words.calibration_meaning(report), style="dim"), Text(numbers))


def _length(report: RewardReport) -> RenderableType:
    bias = report.length
    groups = [("longer", bias.where_longer), ("equal", bias.where_equal), ("shorter", bias.where_shorter)]
    table = _shares("better one is", [(words.length_name(g), g.accuracy) for g in report.by_length])
    plain, partial = bias.correlation, bias.at_equal_grade
    lines = [
        words.length_meaning(report),
        f"right where the better one is {', '.join(f'{n} {units.share(e.value)}' for n, e in groups)}",
        f"correlation of reward and length {words.signed(plain.value)} ({words.signed_range(plain)}), "
        f"of equally good completions {words.signed(partial.value)} ({words.signed_range(partial)})",
    ]
    return Group(*([table] if table else []), *map(Text, lines))


def _best_of(report: RewardReport) -> RenderableType | None:
    if not report.best_of:
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("best of", "mean score of the pick", "95 % interval", "of the best there is"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in report.best_of:
        low, high = words.score(each.picked.low), words.score(each.picked.high)
        table.add_row(str(each.n), words.score(each.picked.value), f"{low} to {high}", words.score(each.best))
    over = report.best_of[-1]
    return Group(table, Text(f"over {words.rows(over.picked.rows)} with {over.n} completions or more"))
