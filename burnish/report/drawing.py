"""The pipeline as a drawing: data -> stages -> results, and which model goes where.

    wide    [data] -> [stage] -> [result]   a row a stage, models going down between them
    narrow  the same with data and result as lines in the stage's box, for a phone

A model that a stage starts from is a full arrow, a reference a dashed one. Where the earlier stage is not the
one right above, the arrow goes around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from burnish.pages.diagram import Arrow, Box, diagram

WIDE = 960.0
DATA, STAGE, RESULT = (0.0, 260.0), (330.0, 300.0), (700.0, 260.0)  # x and width of the columns
GAP = 46.0  # between rows, where the label of an arrow stands
BESIDE = 24.0  # between a model and a reference that go the same way
RAIL = 14.0  # between arrows that go around
NARROW, MARGIN = 360.0, 34.0


@dataclass(frozen=True)
class Link:
    """From a row above (a stage's index, or -1: the model that was there before) to a stage.

    `label`: what goes there. A reference has none, as its arrow is dashed.
    """

    source: int
    target: int
    label: str
    reference: bool = False


@dataclass(frozen=True)
class DrawnStage:
    """`state` is a class: finished, running, failed, waiting. `mark` is its word with a sign."""

    title: str
    method: str
    state: str
    mark: str
    data: Sequence[str]
    result: Sequence[str]


def drawings(start: str, stages: Sequence[DrawnStage], links: Sequence[Link]) -> list[Markup]:
    """The wide drawing and the narrow one, of which the style shows the one that fits."""
    name = in_words(start, stages, links)
    return [wide(start, stages, links, name), narrow(start, stages, links, name)]


def in_words(start: str, stages: Sequence[DrawnStage], links: Sequence[Link]) -> str:
    names = [stage.title for stage in stages]
    parts = [f"The pipeline: {start or 'a model'}"]
    for index, stage in enumerate(stages):
        said = [f"{stage.title} ({stage.method}, {stage.mark.lstrip('✓✕○● ')})"]
        said += [f"on {', '.join(stage.data)}"] if stage.data else []
        said += [
            f"{'its reference is' if link.reference else 'it starts from'} "
            f"{names[link.source] if link.source >= 0 else start}"
            for link in links
            if link.target == index
        ]
        said += [", ".join(stage.result)] if stage.result else []
        parts.append("; ".join(said))
    return ". ".join(parts)


def wide(start: str, stages: Sequence[DrawnStage], links: Sequence[Link], name: str) -> Markup:
    boxes, arrows = [], []
    origin = Box(STAGE[0], 1, STAGE[1], start, kind="model")
    rows = [origin]
    y = origin.bottom + GAP
    for stage in stages:
        box = Box(STAGE[0], y, STAGE[1], stage.title, [stage.method], stage.state, stage.mark)
        beside = []
        if stage.data:
            data = Box(DATA[0], y, DATA[1], stage.data[0], stage.data[1:], "data")
            arrows.append(Arrow([(data.right, box.middle), (box.x, box.middle)]))
            beside.append(data)
        if stage.result:
            result = Box(RESULT[0], y, RESULT[1] - 1, stage.result[0], stage.result[1:], "result")
            arrows.append(Arrow([(box.right, box.middle), (result.x, box.middle)]))
            beside.append(result)
        boxes += beside
        rows.append(box)
        y = max(each.bottom for each in (box, *beside)) + GAP
    arrows += model_arrows(rows, links, STAGE[0] + STAGE[1] / 2, STAGE[0])
    return diagram("wide", (WIDE, y - GAP + 1), name, [*rows, *boxes], arrows)


def narrow(start: str, stages: Sequence[DrawnStage], links: Sequence[Link], name: str) -> Markup:
    width = NARROW - MARGIN - 1
    rows = [Box(MARGIN, 1, width, start, kind="model")]
    for stage in stages:
        lines = [stage.method, " · ".join(stage.data[:2]), " · ".join(stage.result)]
        rows.append(
            Box(
                MARGIN,
                rows[-1].bottom + GAP,
                width,
                stage.title,
                list(filter(None, lines)),
                stage.state,
                stage.mark,
            )
        )
    arrows = model_arrows(rows, links, MARGIN + 40, MARGIN)
    return diagram("narrow", (NARROW, rows[-1].bottom + 1), name, rows, arrows)


def model_arrows(rows: Sequence[Box], links: Sequence[Link], center: float, left: float) -> list[Arrow]:
    """Down to the next row straight, further down around the left side. Row 0 is the model before all."""
    arrows: list[Arrow] = []
    around = 0
    for link in links:
        source, target = rows[link.source + 1], rows[link.target + 1]
        kind, label = ("reference", "") if link.reference else ("", link.label)
        if link.target == link.source + 1:
            x = center - (BESIDE if link.reference else 0)  # the label is on the other side
            label_at = (x + 10, target.y - GAP / 2 + 4)
            arrows.append(Arrow([(x, source.bottom), (x, target.y)], label, label_at, kind))
        else:
            around += 1
            rail = left - RAIL * around
            height = target.y + 12 if link.reference else target.bottom - 12
            points = [(left, source.middle + 6), (rail, source.middle + 6), (rail, height), (left, height)]
            arrows.append(Arrow(points, label, (left + 4, target.y - 8), kind))
    return arrows
