"""Curves of a training run: several over the steps in one frame, each with its name where it ends.

    raw values       faint, every spike kept
    smoothed         a strong line over them
    measured rarely  dots (an evaluation), joined by a dashed line

Long runs have more values than a chart has pixels: `thinned` keeps the highest and the lowest of each
stretch, `smoothed` is taken of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from markupsafe import Markup

from burnish.pages.svg import LETTER, Point, circle, image, line, polyline, text

WIDTH, HEIGHT = 360, 210  # in its own units: about one pixel each on a phone
TOP, BOTTOM, ROOM = 10, 26, 8  # above and below the plot, and around labels
NAME_LETTER = 7.2  # about the width of a letter of a name, which is bold
APART = 13  # least distance of two labels
STRETCHES = 150  # of a run, of which each keeps its highest and its lowest value
SMOOTH_FROM = 16  # values; fewer are shown as they are
SMOOTHED_SHARE = 20  # a smoothed value is the mean of about a twentieth of the run
LINES_ACROSS = 4


@dataclass(frozen=True)
class Series:
    """`kind` is a class of the style sheet: kept, other, rest. `raw` stands faint behind `points`."""

    name: str
    kind: str
    points: Sequence[Point]
    raw: Sequence[Point] = ()
    dots: bool = False
    label: str = ""  # at its end; nothing where empty


@dataclass(frozen=True)
class Axis:
    """From values to places. `ticks` are values between `low` and `high` with what is written there."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1; what lies outside stays at the end."""
        low, high, value = (self._scaled(each) for each in (self.low, self.high, value))
        return min(max((value - low) / ((high - low) or 1), 0.0), 1.0)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.logarithmic else value


def series(lines: Sequence[Series], name: str, across: Axis, up: Axis) -> Markup:
    """Curves in one frame, the last one on top; `name` says in words what they show."""
    left = ROOM + LETTER * max((len(label) for _, label in up.ticks), default=0)
    right = WIDTH - ROOM - NAME_LETTER * max((len(each.label) for each in lines), default=0)
    bottom = HEIGHT - BOTTOM

    def place(point: Point) -> Point:
        return left + across.share(point[0]) * (right - left), bottom - up.share(point[1]) * (bottom - TOP)

    parts = []
    for value, label in up.ticks:
        _, y = place((across.low, value))
        parts += [
            line("axis", left, y, right, y),
            text(left - ROOM / 2 - 2, round(y + 4), "end", label),
        ]
    for value, label in across.ticks:
        x, _ = place((value, up.low))
        parts.append(text(x, HEIGHT - 6, "middle", label))
    for each in lines:
        parts += _drawn(each, place)
    labelled = [each for each in lines if each.label and each.points]
    heights = spread_apart([place(each.points[-1])[1] for each in labelled], TOP, bottom)
    for each, y in zip(labelled, heights, strict=True):
        parts.append(text(right + ROOM / 2 + 2, round(y + 4), "start", each.label, f"name {each.kind}"))
    return image("series", (WIDTH, HEIGHT), name, parts)


def _drawn(each: Series, place: Callable[[Point], Point]) -> list[Markup]:
    points = [place(point) for point in each.points]
    parts = []
    if each.raw:
        parts.append(polyline(f"raw {each.kind}", [place(point) for point in each.raw], f"{each.name}, raw"))
    if len(points) > 1:
        parts.append(polyline(f"{each.kind} dashed" if each.dots else each.kind, points, each.name))
    if each.dots or len(points) == 1:
        parts += [circle(each.kind, x, y, each.name, 3) for x, y in points]
    return parts


def spread_apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """The places nearest to `heights`, in their order, that are `APART` from each other."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed: list[float] = []
    for index in order:
        placed.append(max(heights[index], placed[-1] + APART if placed else top))
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], bottom)
        bottom = placed[i] - APART
    found = [0.0] * len(heights)
    for index, place in zip(order, placed, strict=True):
        found[index] = place
    return found


# Values


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most two points of each of `STRETCHES` stretches: its lowest and its highest."""
    if len(points) <= 2 * STRETCHES:
        return list(points)
    kept = []
    for stretch in _stretches(points):
        low, high = min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])
        kept += sorted({low, high})
    return kept


def smoothed(points: Sequence[Point], middle: Callable[[Sequence[float]], float] = fmean) -> list[Point]:
    """Means, or what `middle` says, of windows of about a twentieth of the points: `STRETCHES` of them or so.

    A few points stay as they are.
    """
    if len(points) < SMOOTH_FROM:
        return list(points)
    values = [value for _, value in points]
    half = max(len(points) // (2 * SMOOTHED_SHARE), 1)
    found = []
    for index in sorted({*range(0, len(points), max(len(points) // STRETCHES, 1)), len(points) - 1}):
        found.append((points[index][0], middle(values[max(index - half, 0) : index + half + 1])))
    return found


def _stretches(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    edges = [len(points) * i // STRETCHES for i in range(STRETCHES + 1)]
    for start, stop in pairwise(edges):
        yield points[start:stop]


# Axes


def round_axis(low: float, high: float, lines: int = LINES_ACROSS, percent: bool = False) -> Axis:
    """From a round number below `low` to one above `high`, with about `lines` lines."""
    step = round_step(((high - low) or abs(high) or 1.0) / lines)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    if percent:
        first, last = max(first, 0), min(last, math.ceil(1 / step - 1e-9))
    values = [index * step for index in range(first, last + 1)]
    return Axis(values[0], values[-1], [(value, tick(value, step, percent)) for value in values])


def log_axis(low: float, high: float) -> Axis:
    """Powers of ten, and the axis from the lowest to the highest value. All are above zero."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last += first == last
    every = math.ceil((last - first) / 5)
    ticks = [(10.0**power, tick(10.0**power, 10.0**power)) for power in range(first, last + 1, every)]
    return Axis(10.0**first, 10.0**last, ticks, logarithmic=True)


def step_axis(last: float, first: float = 0.0) -> Axis:
    """Steps across: the ends are those of the run, the ticks round numbers between."""
    step = max(round_step(((last - first) or 1) / 3), 1)
    values = [
        index * step for index in range(math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9) + 1)
    ]
    return Axis(first, max(last, first + 1), [(value, f"{value:,.0f}") for value in values])


def round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ... (and 0.1, 0.2, 0.5, ...) that is not smaller."""
    power = math.floor(math.log10(least))
    steps = (float(f"{factor}e{power}") for factor in (1, 2, 5, 10, 20))
    return next(step for step in steps if step >= least * (1 - 1e-9))


def tick(value: float, step: float, percent: bool = False) -> str:
    """A value on an axis, with as many decimals as its step needs."""
    if percent:
        return f"{100 * value:.{max(0, -math.floor(math.log10(100 * step) + 1e-9))}f} %"
    if value and step < 1e-3:
        return _power(value, step)
    if step >= 1e5:
        return f"{value / 1e6:g}M"
    if step >= 1e3:
        return f"{value / 1e3:g}k"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}".replace("-", "−") if value else "0"


def _power(value: float, step: float) -> str:
    """2e-5: as short as it goes, and as exact as the step."""
    power = math.floor(math.log10(abs(value)) + 1e-9)
    decimals = max(0, power - math.floor(math.log10(step) + 1e-9))
    return f"{value / 10.0**power:.{decimals}f}e{power}".replace("-", "−")
