"""Curves of a run: what is kept of long ones, where points and labels stand, and what is on the axes."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from xml.etree import ElementTree

import pytest

from burnish.pages.series import (
    APART,
    BOTTOM,
    HEIGHT,
    STRETCHES,
    TOP,
    Axis,
    Series,
    log_axis,
    round_axis,
    series,
    smoothed,
    spread_apart,
    step_axis,
    thinned,
)

HALVES = Axis(0.0, 1.0, [(0.0, "0"), (0.5, "half"), (1.0, "1")])


def shapes(svg: str, tag: str) -> list[dict[str, str]]:
    return [element.attrib for element in ElementTree.fromstring(svg).iter(tag)]


def places(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def test_points_stand_between_the_lines_of_the_axis():
    svg = series([Series("loss", "kept", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])], "a curve", HALVES, HALVES)
    (line,) = shapes(svg, "polyline")
    lines = [float(each["y1"]) for each in shapes(svg, "line")]
    found = places(line["points"])
    assert [y for _, y in found] == lines == [HEIGHT - BOTTOM, (HEIGHT - BOTTOM + TOP) / 2, TOP]
    assert found[1][0] == pytest.approx((found[0][0] + found[2][0]) / 2, abs=0.06)
    assert found[0][0] == float(shapes(svg, "line")[0]["x1"])


def test_an_evaluation_is_dots_and_raw_values_are_faint():
    curve = Series("train", "kept", [(0.0, 0.2), (1.0, 0.1)], raw=[(0.0, 0.3), (0.5, 0.0), (1.0, 0.1)])
    dots = Series("eval", "other", [(0.0, 0.5), (1.0, 0.4)], dots=True)
    svg = series([curve, dots], "both", HALVES, HALVES)
    assert [each["class"] for each in shapes(svg, "polyline")] == ["raw kept", "kept", "other dashed"]
    assert [each["data-shape"] for each in shapes(svg, "circle")] == ["eval", "eval"]


def test_one_point_is_a_dot_and_values_outside_stay_in_the_frame():
    (dot,) = shapes(series([Series("x", "kept", [(0.5, 7.0)])], "one", HALVES, HALVES), "circle")
    assert float(dot["cy"]) == TOP


def test_names_stand_where_curves_end_and_never_on_each_other():
    lines = [Series(f"{i}", "kept", [(0, 0.5), (1, 0.5 + i / 1000)], label=f"curve {i}") for i in range(3)]
    svg = series(lines, "three", HALVES, HALVES)
    names = [each for each in shapes(svg, "text") if each["class"].startswith("name")]
    found = sorted(int(each["y"]) for each in names)
    assert len(found) == 3 and all(b - a >= APART - 1 for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ([], []),
        ([50.0], [50.0]),
        ([50.0, 50.0], [50.0, 63.0]),
        ([99.0, 20.0, 98.0], [100.0, 20.0, 87.0]),
        ([99.0, 100.0, 100.0], [74.0, 87.0, 100.0]),
    ],
)
def test_labels_are_spread_apart_within_the_frame(heights, placed):
    assert spread_apart(heights, 0.0, 100.0) == placed


def test_a_long_run_keeps_its_spikes():
    points = [(float(step), 0.0) for step in range(10_000)]
    points[7777] = (7777.0, 50.0)
    points[123] = (123.0, -3.0)
    kept = thinned(points)
    assert len(kept) <= 2 * STRETCHES
    assert {points[7777], points[123]} <= set(kept) and kept == sorted(kept)
    assert thinned(points[:100]) == points[:100]


def test_smoothing_is_the_mean_of_a_window_or_its_median():
    points = [(float(step), float(step % 2)) for step in range(40)]
    points[20] = (20.0, 1000.0)
    means, medians = dict(smoothed(points)), dict(smoothed(points, median))
    assert means[10] == pytest.approx(2 / 3) and means[20] == pytest.approx(1002 / 3)
    assert medians[20] == 1.0
    assert smoothed(points)[0][0] == 0.0 and smoothed(points)[-1][0] == 39.0
    assert smoothed(points[:5]) == points[:5]
    assert len(smoothed([(float(i), 1.0) for i in range(10_000)])) <= STRETCHES + 5


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.09, 0.8, ["0", "0.2", "0.4", "0.6", "0.8"]),
        (-3.2, 4.1, ["−4", "−2", "0", "2", "4", "6"]),
        (0.0, 2e-5, ["0", "5e−6", "1.0e−5", "1.5e−5", "2.0e−5"]),
        (1900, 2400, ["1800", "2000", "2200", "2400"]),
        (5.0, 5.0, ["4", "6"]),
    ],
)
def test_axes_begin_and_end_at_round_numbers(low, high, labels):
    axis = round_axis(low, high)
    assert [label for _, label in axis.ticks] == labels
    assert axis.low <= low and axis.high >= high


def test_shares_stay_between_none_and_all():
    axis = round_axis(0.43, 1.0, percent=True)
    assert [label for _, label in axis.ticks] == ["40 %", "60 %", "80 %", "100 %"]
    assert round_axis(0.999, 0.9995, percent=True).high <= 1.0


def test_powers_of_ten():
    axis = log_axis(0.3, 41.0)
    assert [label for _, label in axis.ticks] == ["0.1", "1", "10", "100"]
    assert axis.share(1.0) == pytest.approx(1 / 3)


def test_steps_are_whole_numbers_within_the_run():
    assert [label for _, label in step_axis(240).ticks] == ["0", "100", "200"]
    assert [label for _, label in step_axis(3).ticks] == ["0", "1", "2", "3"]
    assert [label for _, label in step_axis(20_000).ticks] == ["0", "10,000", "20,000"]
    assert step_axis(0).high == 1
