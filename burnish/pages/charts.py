"""Charts as inline SVG: histograms, divided bars, curves, and shares with their intervals.

A chart is an image with a name (`role="img"`, `aria-label`) that says in words what it shows; the numbers
themselves stand beside it in a table or a legend. `series.py` has the curves of a training run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from burnish.pages.svg import LETTER, circle, image, line, rectangle, text

WIDTH, HEIGHT = 360, 170  # of a histogram, in its own units: about one pixel each on a phone
TOP, BOTTOM = 22, 42  # room for the line's label above the columns; for the quantiles and ticks below
PLOT = HEIGHT - TOP - BOTTOM
FRAME, LEFT, RIGHT, ABOVE, BELOW = 230, 44, 14, 10, 26  # of curves: height, and the room around the plot
TICKS = 5
LEAST_PART = 0.012  # of a divided bar: about four pixels on a phone


@dataclass(frozen=True)
class Spread:
    """Five quantiles of a distribution, drawn under its columns as a line, a box and a stroke."""

    low: int  # 10 %
    lower: int  # 25 %
    middle: int
    upper: int  # 75 %
    high: int  # 90 %


@dataclass(frozen=True)
class Part:
    """One part of a divided bar. `kind` is a class of the style sheet: kept, cut, lost, rest."""

    name: str
    value: float
    kind: str


def histogram(
    bins: Sequence[tuple[int, int, int]], name: str, spread: Spread | None = None, limit: int | None = None
) -> Markup:
    """Columns for (from, up to, count), of one width each however wide their bins are.

    What lies past `limit` has another color, and a dashed line stands there.
    """
    if not bins:
        return Markup("")
    scale = Scale([start for start, _, _ in bins] + [bins[-1][1]])
    cut = None if limit is None or limit >= scale.edges[-1] else scale(limit)
    most = max(count for _, _, count in bins) or 1
    parts = [_column(scale(start), scale(end), count / most, cut) for start, end, count in bins]
    parts.append(line("axis", 0, TOP + PLOT, WIDTH, TOP + PLOT))
    parts += _spread(scale, spread) if spread else []
    parts += [_tick(scale, edge) for edge in scale.ticks()]
    parts += _limit(cut, limit or 0) if cut is not None else []
    return image("histogram", (WIDTH, HEIGHT), name, parts)


def divided(parts: Sequence[Part], name: str) -> Markup:
    """One bar whose parts are as long as their values, the smallest still long enough to be seen.

    It is stretched to the width it gets.
    """
    parts = [part for part in parts if part.value]
    values = [part.value / sum(part.value for part in parts) for part in parts]
    widths = [max(value, LEAST_PART) for value in values]
    shapes, x = [], 0.0
    for part, width in zip(parts, widths, strict=True):
        width *= 1000 / sum(widths)
        shapes.append(rectangle(part.kind, x, 0, width, 10, part.name))
        x += width
    return image("divided", (1000, 10), name, shapes, stretch=True)


@dataclass(frozen=True)
class Curve:
    """Points joined by a line, each with a range if there are any. `kind` is a class of the style sheet."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]
    ranges: Sequence[tuple[float, float]] = ()


Ticks = Sequence[tuple[float, str]]
"""Values on an axis, the first and the last being its ends, with what is written there."""


def curves(lines: Sequence[Curve], name: str, across: Ticks, up: Ticks, diagonal: bool = False) -> Markup:
    """Curves in one frame; `diagonal` adds the line from corner to corner."""
    x = _Axis(across[0][0], across[-1][0], LEFT, WIDTH - RIGHT)
    y = _Axis(up[0][0], up[-1][0], FRAME - BELOW, ABOVE)
    parts = [line("axis", LEFT, y(value), WIDTH - RIGHT, y(value)) for value, _ in up]
    parts += [text(LEFT - 6, round(y(value) + 4), "end", label) for value, label in up]
    parts += [text(x(value), FRAME - 6, "middle", label) for value, label in across]
    if diagonal:
        parts.append(line("limit", x(across[0][0]), y(up[0][0]), x(across[-1][0]), y(up[-1][0])))
    for curve in lines:
        at = [(x(a), y(b)) for a, b in curve.points]
        parts += [line(f"{curve.kind} joint", *a, *b) for a, b in pairwise(at)]
        for (left, _), (low, high) in zip(at, curve.ranges, strict=False):
            parts.append(line("whisker", left, y(low), left, y(high)))
        parts += [circle(curve.kind, a, b, curve.name) for a, b in at]
    return image("curves", (WIDTH, FRAME), name, parts)


def interval(
    value: float, low: float, high: float, mark: float | None = 0.5, ends: tuple[float, float] = (0.0, 1.0)
) -> Markup:
    """A value with its interval, on a line between `ends`, with a stroke at `mark`.

    Made to stand beside its numbers, so it has no name of its own.
    """
    start, stop = ends
    value, low, high = (share_of(each, start, stop) for each in (value, low, high))
    at = [] if mark is None else [share_of(mark, start, stop)]
    parts = [
        line("axis", 0, 5, 100, 5),
        *(line("median", 100 * each, 1, 100 * each, 9) for each in at),
        line("whisker", 100 * low, 5, 100 * high, 5),
        rectangle("kept", min(max(100 * value - 1.25, 0), 97.5), 1, 2.5, 8, "share"),
    ]
    return image("interval", (100, 10), "", parts, stretch=True)


def bar(share: float, kind: str = "kept") -> Markup:
    """A bar as long as a share of 1, to stand beside its number."""
    return image(
        "interval", (100, 10), "", [rectangle(kind, 0, 1, max(100 * share, 0.8), 8, "bar")], stretch=True
    )


def share_of(value: float, start: float, stop: float) -> float:
    """Where a value stands between two others, from 0 to 1; what lies outside stays at the end."""
    return min(max((value - start) / ((stop - start) or 1), 0.0), 1.0)


@dataclass(frozen=True)
class _Axis:
    """From values to places, linearly."""

    start: float
    stop: float
    at_start: float
    at_stop: float

    def __call__(self, value: float) -> float:
        return self.at_start + share_of(value, self.start, self.stop) * (self.at_stop - self.at_start)


class Scale:
    """From lengths to x: between its edges every bin is as wide as the others."""

    def __init__(self, edges: Sequence[int]) -> None:
        self.edges = list(edges)
        self.step = WIDTH / max(len(self.edges) - 1, 1)

    def __call__(self, value: float) -> float:
        value = min(max(value, self.edges[0]), self.edges[-1])
        index = min(bisect_right(self.edges, value), len(self.edges) - 1) - 1
        start, end = self.edges[index], self.edges[index + 1]
        return self.step * (index + (value - start) / max(end - start, 1))

    def ticks(self) -> list[int]:
        """Edges to be labelled: the first, the last, and evenly chosen ones between."""
        last = len(self.edges) - 1
        count = min(TICKS, last + 1)
        chosen = sorted({round(i * last / (count - 1)) for i in range(count)})
        return [self.edges[index] for index in chosen]


def _column(start: float, end: float, share: float, cut: float | None) -> Markup:
    """A column, in two pieces where the limit goes through it. A count of one still shows."""
    if not share:
        return Markup("")
    height = max(share * PLOT, 1.5)
    left, right = start + 0.75, max(end - 0.75, start + 1)
    stops = [left, right] if cut is None else sorted({left, min(max(cut, left), right), right})
    return Markup("").join(
        rectangle("cut" if cut is not None and x >= cut else "kept", x, TOP + PLOT - height, to - x, height)
        for x, to in pairwise(stops)
    )


def _spread(scale: Scale, spread: Spread) -> list[Markup]:
    y = TOP + PLOT + 9
    low, lower, middle, upper, high = map(
        scale, (spread.low, spread.lower, spread.middle, spread.upper, spread.high)
    )
    return [
        line("whisker", low, y, high, y),
        rectangle("box", lower, y - 3, max(upper - lower, 1), 6, "middle half"),
        line("median", middle, y - 6, middle, y + 6),
    ]


def _tick(scale: Scale, edge: int) -> Markup:
    anchor = "start" if edge == scale.edges[0] else "end" if edge == scale.edges[-1] else "middle"
    return text(scale(edge), HEIGHT - 6, anchor, f"{edge:,}")


def _limit(x: float, limit: int) -> list[Markup]:
    label = f"max_length {limit:,}"
    anchor = "end" if x + LETTER * len(label) > WIDTH else "start"
    aside = -4 if anchor == "end" else 4
    return [line("limit", x, 4, x, TOP + PLOT), text(x + aside, 14, anchor, label, "limit")]
