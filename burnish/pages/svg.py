"""The shapes that charts and drawings are made of, as escaped SVG.

The style sheet has the colors, by class, so that a chart follows the light or dark page. Shapes carry
`data-shape`, by which tests find them.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

LETTER = 6.6  # about the width of one, at the size the style gives to labels

Point = tuple[float, float]


def image(
    kind: str, size: tuple[float, float], name: str, parts: Sequence[Markup], stretch: bool = False
) -> Markup:
    """Without a name it is nothing but decoration."""
    ratio = Markup(' preserveAspectRatio="none"') if stretch else Markup("")
    role = Markup('role="img" aria-label="{}"').format(name) if name else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" viewBox="0 0 {} {}"{} {}>{}</svg>').format(
        kind, *size, ratio, role, Markup("").join(parts)
    )


def rectangle(
    kind: str, x: float, y: float, width: float, height: float, name: str = "rows", round: float = 0
) -> Markup:
    corner = Markup(' rx="{}"').format(round) if round else Markup("")
    return Markup(
        '<rect class="{}" data-shape="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"{}/>'
    ).format(kind, name, x, y, width, height, corner)


def circle(kind: str, x: float, y: float, name: str, radius: float = 3.5) -> Markup:
    return Markup('<circle class="{}" data-shape="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
        kind, name, x, y, radius
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def polyline(kind: str, points: Sequence[Point], name: str) -> Markup:
    """Points joined in one stroke."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" data-line="{}" points="{}"/>').format(kind, name, places)


def path(kind: str, steps: str, name: str) -> Markup:
    return Markup('<path class="{}" data-line="{}" d="{}"/>').format(kind, name, steps)


def text(x: float, y: float, anchor: str, words: str, kind: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, words
    )
