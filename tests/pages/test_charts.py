"""Charts by the numbers of their shapes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from burnish.pages.charts import (
    PLOT,
    TOP,
    WIDTH,
    Curve,
    Part,
    Scale,
    Spread,
    curves,
    divided,
    histogram,
    interval,
)

BINS = [(0, 10, 4), (10, 20, 8), (20, 40, 0), (40, 80, 2)]
SPREAD = Spread(low=5, lower=10, middle=15, upper=20, high=60)


def shapes(svg: str, tag: str = "rect", kind: str | None = None) -> list[dict[str, str]]:
    found = [element.attrib for element in ElementTree.fromstring(svg).iter(tag)]
    return [each for each in found if kind is None or each["class"] == kind]


def test_columns_are_as_high_as_their_counts():
    columns = shapes(histogram(BINS, "lengths"), kind="kept")
    assert [float(each["height"]) for each in columns] == [PLOT / 2, PLOT, PLOT / 4]
    assert all(float(each["y"]) + float(each["height"]) == TOP + PLOT for each in columns)


def test_bins_of_any_width_are_columns_of_one():
    columns = shapes(histogram(BINS, "lengths"), kind="kept")
    assert len({each["width"] for each in columns}) == 1
    starts = [float(each["x"]) for each in columns]
    assert starts == pytest.approx([0.75, WIDTH / 4 + 0.75, 3 * WIDTH / 4 + 0.75], abs=0.06)


def test_the_scale_is_straight_within_a_bin():
    scale = Scale([0, 10, 20, 40, 80])
    quarter = WIDTH / 4
    assert [scale(x) for x in (0, 5, 10, 30, 60, 80)] == [
        0, 0.5 * quarter, quarter, 2.5 * quarter, 3.5 * quarter, WIDTH,
    ]  # fmt: skip
    assert scale(-5) == 0 and scale(1000) == WIDTH


def test_what_is_past_the_limit_has_another_color():
    svg = histogram(BINS, "lengths", limit=15)
    kept, cut = shapes(svg, kind="kept"), shapes(svg, kind="cut")
    assert [float(each["height"]) for each in kept] == [PLOT / 2, PLOT]
    assert [float(each["height"]) for each in cut] == [PLOT, PLOT / 4]
    line = float(shapes(svg, "line", "limit")[0]["x1"])
    assert line == 1.5 * WIDTH / 4 == float(cut[0]["x"])
    assert float(kept[1]["x"]) + float(kept[1]["width"]) == pytest.approx(line, abs=0.11)
    assert "max_length 15" in svg


def test_a_limit_that_nothing_reaches_is_not_drawn():
    svg = histogram(BINS, "lengths", limit=80)
    assert not shapes(svg, "line", "limit") and not shapes(svg, kind="cut")


def test_the_label_of_the_limit_stays_inside():
    texts = shapes(histogram(BINS, "lengths", limit=75), "text", "limit")
    assert texts[0]["text-anchor"] == "end"


def test_quantiles_stand_under_their_lengths():
    svg = histogram(BINS, "lengths", SPREAD)
    whisker, box, median = (
        shapes(svg, "line", "whisker"),
        shapes(svg, kind="box"),
        shapes(svg, "line", "median"),
    )
    quarter = WIDTH / 4
    assert (float(whisker[0]["x1"]), float(whisker[0]["x2"])) == (0.5 * quarter, 3.5 * quarter)
    assert (float(box[0]["x"]), float(box[0]["width"])) == (quarter, quarter)
    assert float(median[0]["x1"]) == 1.5 * quarter


@pytest.mark.parametrize("bins", [[], [(7, 8, 3)], [(0, 1, 0), (1, 2, 0)], [(5, 5, 1)]])
def test_odd_distributions_are_drawn(bins):
    svg = histogram(bins, "lengths", SPREAD if bins else None, limit=1)
    assert "nan" not in svg.lower() and (not bins or ElementTree.fromstring(svg) is not None)


def test_a_divided_bar_shares_its_whole_length():
    parts = [Part("whole", 60, "kept"), Part("cut", 20, "cut"), Part("none", 0, "lost")]
    found = shapes(divided(parts, "rows"))
    assert [float(each["width"]) for each in found] == [750, 250]
    assert [float(each["x"]) for each in found] == [0, 750]
    assert [each["class"] for each in found] == ["kept", "cut"]


def test_one_row_of_a_million_can_be_seen():
    found = shapes(divided([Part("most", 999_999, "kept"), Part("one", 1, "lost")], "rows"))
    assert float(found[1]["width"]) > 10
    assert sum(float(each["width"]) for each in found) == pytest.approx(1000, abs=0.1)


def test_an_empty_bar_is_empty():
    assert shapes(divided([], "rows")) == [] == shapes(divided([Part("none", 0, "kept")], "rows"))


def test_charts_are_images_with_an_escaped_name():
    for svg in (histogram(BINS, 'a "<b>"'), divided([Part("x", 1, "kept")], 'a "<b>"')):
        assert re.match(r'<svg [^>]*role="img" aria-label="a &#34;&lt;b&gt;&#34;"', svg)


def test_points_of_a_curve_are_where_their_values_are():
    across, up = [(0.0, "0"), (1.0, "1")], [(0.0, "none"), (0.5, "half"), (1.0, "all")]
    curve = Curve("model", "kept", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)], [(0.0, 0.5), (0.5, 1.0), (1.0, 1.0)])
    svg = curves([curve], "a curve", across, up, diagonal=True)
    points = [(float(p["cx"]), float(p["cy"])) for p in shapes(svg, "circle")]
    lines = [[float(line[key]) for key in ("x1", "y1", "x2", "y2")] for line in shapes(svg, "line", "axis")]
    assert points[0] == (lines[0][0], lines[0][1]) and points[2] == (lines[2][2], lines[2][1])
    assert points[1] == ((points[0][0] + points[2][0]) / 2, lines[1][1])
    ranges = [(float(each["y1"]), float(each["y2"])) for each in shapes(svg, "line", "whisker")]
    assert ranges == [(lines[0][1], lines[1][1]), (lines[1][1], lines[2][1]), (lines[2][1], lines[2][1])]
    (diagonal,) = shapes(svg, "line", "limit")
    assert (float(diagonal["x1"]), float(diagonal["y1"])) == points[0]


def test_what_lies_outside_of_the_frame_stays_at_its_edge():
    ends = [(0.0, "0"), (1.0, "1")]
    inside, outside = (
        shapes(curves([Curve("x", "kept", points)], "a curve", ends, ends), "circle")
        for points in ([(0.0, 1.0)], [(-3.0, 7.0)])
    )
    assert inside == outside


def test_an_interval_stands_between_0_and_100():
    svg = interval(0.5, 0.25, 0.75, mark=0.4)
    (share,), (whisker,), (mark,) = (
        shapes(svg, kind="kept"),
        shapes(svg, "line", "whisker"),
        shapes(svg, "line", "median"),
    )
    assert float(share["x"]) + float(share["width"]) / 2 == pytest.approx(50, abs=0.06)
    assert (float(whisker["x1"]), float(whisker["x2"]), float(mark["x1"])) == (25, 75, 40)
    assert 'aria-hidden="true"' in svg and "role" not in svg
    assert float(shapes(interval(1.0, 0.9, 1.0), kind="kept")[0]["x"]) == 97.5
