"""Where the arrows of a pipeline go."""

from __future__ import annotations

import re

import pytest

from burnish.report.drawing import MARGIN, NARROW, DrawnStage, Link, narrow, wide


def stage(title: str) -> DrawnStage:
    return DrawnStage(
        title, "Some method", "finished", "✓ finished", ["rows.jsonl", "9 rows"], ["1 → 2", "loss"]
    )


def arrows(svg: str, kind: str = "arrow ") -> list[list[float]]:
    found = re.findall(rf'<path class="{kind}"[^>]* d="([^"]+)"', svg)
    return [[float(each) for each in re.findall(r"-?[\d.]+", path)] for path in found]


@pytest.mark.parametrize("draw", [wide, narrow])
def test_a_model_goes_straight_down_and_its_reference_beside_it(draw):
    links = [Link(-1, 0, "new adapter"), Link(0, 1, "goes on"), Link(0, 1, "", reference=True)]
    svg = draw("base", [stage("sft"), stage("dpo")], links, "a drawing")
    (reference,) = arrows(svg, "arrow reference")
    model = next(each for each in arrows(svg) if each[1] == reference[1] and each[3] == reference[3])
    assert model[0] == model[2] and reference[0] == reference[2]
    assert MARGIN < reference[0] < model[0]  # the label stands right of the model's arrow
    assert svg.count(">goes on<") == 1


@pytest.mark.parametrize("draw", [wide, narrow])
def test_past_another_stage_it_goes_around_and_stays_in_the_drawing(draw):
    links = [Link(-1, 0, ""), Link(0, 1, ""), Link(0, 2, "goes on"), Link(0, 2, "", reference=True)]
    svg = draw("base", [stage("sft"), stage("reward"), stage("dpo")], links, "a drawing")
    (reference,) = arrows(svg, "arrow reference")
    around = next(each for each in arrows(svg) if len(each) == 8)
    assert 0 < reference[2] < around[2] < around[0]
    assert reference[5] != around[5]  # their heads are apart
    assert draw is wide or f"0 0 {NARROW}" in svg
