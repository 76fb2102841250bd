"""A report as one self-contained HTML page: `burnish evaluate-reward MODEL DATA --html FILE`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.evaluation import words
from burnish.evaluation.report import RewardReport
from burnish.evaluation.statistics import Estimate
from burnish.pages.charts import Curve, Ticks, curves, interval
from burnish.pages.shell import render, write

TEMPLATE = Path(__file__).with_name("page.html")
TENTHS: Ticks = [(n / 10, f"{10 * n} %") for n in range(5, 11)]
QUARTERS: Ticks = [(n / 4, f"{25 * n} %") for n in range(5)]


def write_page(report: RewardReport, path: str | Path) -> Path:
    """Write the page, and return where it is. Raises `UserError` where nothing can be written."""
    return write(render(TEMPLATE, page_values(report)), path)


@dataclass(frozen=True)
class Line:
    """A share in a table of shares."""

    name: str
    rows: str
    value: str
    interval: str
    plot: Markup


def line(name: str, found: Estimate) -> Line:
    plot = interval(found.value, found.low, found.high) if found.rows else Markup("")
    return Line(name, f"{found.rows:,.0f}", units.share(found.value), words.interval(found), plot)


def lines(found: Iterable[tuple[str, Estimate]]) -> list[Line]:
    return [line(name, each) for name, each in found]


def page_values(report: RewardReport) -> dict[str, Any]:
    """Every name that `page.html` uses."""
    bias = report.length
    values = {
        "it": report,
        "name": PurePath(report.model).name,
        "data": PurePath(report.data).name,
        "verdict": words.verdict(report),
        "figures": figures(report),
        "facts": facts(report),
        "subsets": lines(report.subsets.items()),
        "by_margin": lines((words.margin_name(group), group.accuracy) for group in report.by_margin),
        "reliability": lines((units.share(b.confidence), b.accuracy) for b in report.reliability),
        "reliability_chart": reliability_chart(report),
        "calibration": words.calibration_meaning(report),
        "by_length": lines((words.length_name(group), group.accuracy) for group in report.by_length),
        "length_meaning": words.length_meaning(report),
        "length_sides": lines(
            [
                ("is longer", bias.where_longer),
                ("is about as long", bias.where_equal),
                ("is shorter", bias.where_shorter),
            ]
        ),
        "correlations": [
            (name, words.signed(each.value), words.signed_range(each))
            for name, each in (("all", bias.correlation), ("equally good", bias.at_equal_grade))
        ],
        "best_of": report.best_of,
        "best_of_chart": best_of_chart(report) if report.best_of else "",
        "score_of": words.score,
        "rows_of": words.rows,
    }
    return values | {"sections": sections(report)}


def sections(report: RewardReport) -> list[tuple[str, str]]:
    """Anchors and names of the sections that the page has."""
    there = {
        "subsets": ("Subsets", report.subsets),
        "confidence": ("Confidence", True),
        "length": ("Length", True),
        "best-of-n": ("Best of n", report.best_of),
    }
    return [(anchor, name) for anchor, (name, shown) in there.items() if shown]


def figures(report: RewardReport) -> list[tuple[str, str, str]]:
    """The numbers at the head: a term, its number, and a word on it."""
    found = [
        ("Right", units.share(report.accuracy.value), words.interval(report.accuracy)),
        ("Mean of subsets", units.share(report.mean_of_subsets) if len(report.subsets) > 1 else "", ""),
        ("Calibration error", f"{report.calibration_error:.3f}", ""),
        ("Log loss", f"{report.log_loss:.3f}", "0.693 knows nothing"),
        ("Rows scored", f"{report.kept:,}", f"of {report.read:,}"),
    ]
    return [each for each in found if each[1]]


def facts(report: RewardReport) -> list[tuple[str, str]]:
    """What was measured, and how: terms with their text."""
    found = [
        ("Model", report.model if report.model != PurePath(report.model).name else ""),
        ("Data", report.data),
        ("Read as", report.format),
        ("Pairs", f"{report.pairs:,}; a row with several counts once"),
        ("Equal rewards", f"{units.share(report.tied)} of pairs, each half right" if report.tied else ""),
        ("Left out", words.lost(report)),
        *(("Note", note) for note in report.notes),
    ]
    return [(term, text) for term, text in found if text]


def reliability_chart(report: RewardReport) -> Markup:
    """What is claimed across, what came true up."""
    points = [(each.confidence, each.accuracy.value) for each in report.reliability]
    ranges = [(each.accuracy.low, each.accuracy.high) for each in report.reliability]
    told = ", ".join(f"{units.share(a, 0)} claimed {units.share(b, 0)} right" for a, b in points)
    name = f"Reliability: {told}"
    low = 0.5 if all(low >= 0.5 for low, _ in ranges) else 0.0
    up = TENTHS if low else QUARTERS
    right = [(0.5, 0.5), (1.0, 1.0)]
    ideal = Curve("right as often as claimed", "rest", right)
    return curves([ideal, Curve("this model", "kept", points, ranges)], name, TENTHS, up)


def best_of_chart(report: RewardReport) -> Markup:
    """The number of completions across, doubling; the mean score of the one that is taken up."""
    found = report.best_of
    place = [math.log2(each.n) for each in found]
    picked = Curve(
        "the model's pick",
        "kept",
        [(x, each.picked.value) for x, each in zip(place, found, strict=True)],
        [(each.picked.low, each.picked.high) for each in found],
    )
    best = Curve("the best there is", "rest", [(x, each.best) for x, each in zip(place, found, strict=True)])
    values = [v for each in found for v in (each.picked.low, each.picked.high, each.best)]
    low, high = min(values), max(values)
    up = [(low + (high - low) * share, words.number(low + (high - low) * share)) for share in (0, 0.5, 1)]
    shown = [(x, str(each.n)) for x, each in zip(place, found, strict=True) if labelled(each.n, found[-1].n)]
    last = found[-1]
    name = (
        f"Best of n: a mean score of {words.number(found[0].picked.value)} at 1, of "
        f"{words.number(last.picked.value)} at {last.n}, where the best is {words.number(last.best)}"
    )
    return curves([best, picked], name, shown, up)


def labelled(n: int, last: int) -> bool:
    """Powers of two, and the last n where it is not too near to one."""
    return n == last or (n & (n - 1) == 0 and math.log2(last / n) > 0.4)
