"""Boxes and arrows as one SVG: what follows from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from burnish.pages.svg import LETTER, image, path, text

PADDING = 14  # around the text of a box
TITLE_LINE, LINE = 20, 17  # heights of a line
TITLE_LETTER = 8.0  # about the width of a letter of a title
CORNER = 8
HEAD = 5  # half the width of an arrow's head


@dataclass(frozen=True)
class Box:
    """`kind` is a class of the style sheet; `mark` stands at the right end of the title."""

    x: float
    y: float
    width: float
    title: str
    lines: Sequence[str] = ()
    kind: str = ""
    mark: str = ""

    @property
    def height(self) -> float:
        return 2 * PADDING + TITLE_LINE + LINE * len(self.lines) - 6

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def drawn(self) -> list[Markup]:
        inside = self.width - 2 * PADDING
        top = self.y + PADDING
        for_title = inside - (LETTER * len(self.mark) + PADDING if self.mark else 0)
        parts = [
            Markup(
                '<rect class="node {}" data-box="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>'
            ).format(self.kind, self.title, self.x, self.y, self.width, self.height, CORNER),
            text(
                self.x + PADDING, round(top + 11), "start", cut(self.title, for_title / TITLE_LETTER), "title"
            ),
        ]
        if self.mark:
            parts.append(text(self.right - PADDING, round(top + 11), "end", self.mark, f"mark {self.kind}"))
        for index, words in enumerate(self.lines):
            y = round(top + TITLE_LINE + 10 + LINE * index)
            parts.append(text(self.x + PADDING, y, "start", cut(words, inside / LETTER), "word"))
        return parts


@dataclass(frozen=True)
class Arrow:
    """Straight pieces from point to point, the last one with the head. `at` is where the label begins."""

    points: Sequence[tuple[float, float]]
    label: str = ""
    at: tuple[float, float] = (0.0, 0.0)
    kind: str = ""
    anchor: str = "start"

    def drawn(self) -> list[Markup]:
        (x0, y0), (x, y) = self.points[-2:]
        steps = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in self.points)
        across = 1 if x > x0 else -1 if x < x0 else 0
        down = 0 if across else 1 if y >= y0 else -1
        back_x, back_y = x - across * HEAD * 1.6, y - down * HEAD * 1.6
        head = (
            f"M{x:.1f} {y:.1f} L{back_x - down * HEAD:.1f} {back_y - across * HEAD:.1f} "
            f"L{back_x + down * HEAD:.1f} {back_y + across * HEAD:.1f} Z"
        )
        parts = [
            path(f"arrow {self.kind}", steps, self.label or "arrow"),
            path(f"head {self.kind}", head, "head"),
        ]
        if self.label:
            parts.append(text(self.at[0], round(self.at[1]), self.anchor, self.label, "word"))
        return parts


def diagram(
    kind: str, size: tuple[float, float], name: str, boxes: Sequence[Box], arrows: Sequence[Arrow]
) -> Markup:
    """Arrows under boxes. `name` says in words what leads where."""
    parts = [part for arrow in arrows for part in arrow.drawn()]
    parts += [part for box in boxes for part in box.drawn()]
    return image(f"diagram {kind}", size, name, parts)


def cut(words: str, letters: float) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    limit = max(int(letters), 2)
    return words if len(words) <= limit else f"{words[: limit - 1]}…"
