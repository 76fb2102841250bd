"""Charts as inline SVG: histograms and divided bars.

The style sheet has the colors, by class, so that a chart follows the light or dark page. A chart is an
image with a name (`role="img"`, `aria-label`) that says in words what it shows; the numbers themselves
stand beside it in a table or a legend. Shapes carry `data-shape`, by which tests find them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

WIDTH, HEIGHT = 360, 170  # of a histogram, in its own units: about one pixel each on a phone
TOP, BOTTOM = 22, 42  # room for the line's label above the columns; for the quantiles and ticks below
PLOT = HEIGHT - TOP - BOTTOM
TICKS = 5
LEAST_PART = 0.012  # of a divided bar: about four pixels on a phone
LETTER = 6.6  # about the width of one, at the size the style gives to labels


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
    parts.append(_line("axis", 0, TOP + PLOT, WIDTH, TOP + PLOT))
    parts += _spread(scale, spread) if spread else []
    parts += [_tick(scale, edge) for edge in scale.ticks()]
    parts += _limit(cut, limit or 0) if cut is not None else []
    return _image("histogram", (WIDTH, HEIGHT), name, parts)


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
        shapes.append(_rectangle(part.kind, x, 0, width, 10, part.name))
        x += width
    return _image("divided", (1000, 10), name, shapes, stretch=True)


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
        _rectangle("cut" if cut is not None and x >= cut else "kept", x, TOP + PLOT - height, to - x, height)
        for x, to in pairwise(stops)
    )


def _spread(scale: Scale, spread: Spread) -> list[Markup]:
    y = TOP + PLOT + 9
    low, lower, middle, upper, high = map(
        scale, (spread.low, spread.lower, spread.middle, spread.upper, spread.high)
    )
    return [
        _line("whisker", low, y, high, y),
        _rectangle("box", lower, y - 3, max(upper - lower, 1), 6, "middle half"),
        _line("median", middle, y - 6, middle, y + 6),
    ]


def _tick(scale: Scale, edge: int) -> Markup:
    anchor = "start" if edge == scale.edges[0] else "end" if edge == scale.edges[-1] else "middle"
    return _text(scale(edge), HEIGHT - 6, anchor, f"{edge:,}")


def _limit(x: float, limit: int) -> list[Markup]:
    label = f"max_length {limit:,}"
    anchor = "end" if x + LETTER * len(label) > WIDTH else "start"
    aside = -4 if anchor == "end" else 4
    return [_line("limit", x, 4, x, TOP + PLOT), _text(x + aside, 14, anchor, label, "limit")]


def _image(
    kind: str, size: tuple[int, int], name: str, parts: Sequence[Markup], stretch: bool = False
) -> Markup:
    ratio = Markup(' preserveAspectRatio="none"') if stretch else Markup("")
    return Markup('<svg class="{}" viewBox="0 0 {} {}"{} role="img" aria-label="{}">{}</svg>').format(
        kind, *size, ratio, name, Markup("").join(parts)
    )


def _rectangle(kind: str, x: float, y: float, width: float, height: float, name: str = "rows") -> Markup:
    return Markup(
        '<rect class="{}" data-shape="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
    ).format(kind, name, x, y, width, height)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _text(x: float, y: float, anchor: str, text: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )
