"""The statistics of rewards, against numbers worked out by hand or by enumeration."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.evaluation.statistics import (
    LENGTH_EDGES,
    best_of,
    best_of_curve,
    by_length_difference,
    by_margin,
    calibration_error,
    curve_length,
    length_bias,
    log_loss,
    pairs_of,
    reliability,
    share,
    within_correlation,
)

LOGIT_75 = math.log(3)  # sigmoid of it is 0.75


def plain_pairs(*margins: float, lengths: tuple[int, int] = (5, 5)):
    """One pair a row, of these margins."""
    count = len(margins)
    return pairs_of([[m, 0.0] for m in margins], [[1, 0]] * count, [list(lengths)] * count)


def test_pairs_are_every_better_and_worse_completion_and_a_row_counts_once():
    pairs = pairs_of(
        [[3.0, 1.0, 2.0], [0.5, 0.5], [9.0, 8.0]],
        [[2, 1, 1], [0, 1], [1, 1]],  # two pairs, one, none
        [[10, 20, 30], [4, 5], [1, 1]],
    )
    assert pairs.margin.tolist() == [2.0, 1.0, 0.0]
    assert pairs.better_length.tolist() == [10, 10, 5]
    assert pairs.worse_length.tolist() == [20, 30, 4]
    assert pairs.weight.tolist() == [0.5, 0.5, 1.0]
    assert pairs.row.tolist() == [0, 0, 1]
    assert pairs.hit.tolist() == [1.0, 1.0, 0.5]
    found = pairs.accuracy()
    assert (found.value, found.rows) == (0.75, 2.0)


def test_wilson_by_hand():
    # 8 of 10 at 1.959964: published as 0.490 to 0.943 (Brown, Cai and DasGupta 2001, table of Wilson's)
    found = share(8, 10)
    assert found.value == 0.8
    assert (found.low, found.high) == (pytest.approx(0.49016, abs=1e-5), pytest.approx(0.94332, abs=1e-5))


@pytest.mark.parametrize(("successes", "edge"), [(0, "low"), (12, "high")])
def test_wilson_at_the_ends_stays_inside_and_has_a_width(successes, edge):
    found = share(successes, 12)
    assert getattr(found, edge) == pytest.approx(successes / 12, abs=1e-12)
    assert 0.2 < found.high - found.low < 0.3  # 3.8415 / (12 + 3.8415) = 0.2425


def test_a_share_of_nothing_is_unknown():
    found = share(0, 0)
    assert math.isnan(found.value) and (found.low, found.high, found.rows) == (0.0, 1.0, 0.0)


def test_log_loss_by_hand():
    assert log_loss(plain_pairs(LOGIT_75, -LOGIT_75)) == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert log_loss(plain_pairs(0.0)) == pytest.approx(math.log(2))
    assert log_loss(plain_pairs(-2000.0)) == 2000.0


def test_reliability_is_folded_and_its_error_by_hand():
    # three claims of 75 %, of which one is wrong, and a tie, which claims 50 % and is half right
    bins = reliability(plain_pairs(LOGIT_75, LOGIT_75, -LOGIT_75, 0.0), bins=5)
    assert [(b.low, b.high, b.accuracy.rows) for b in bins] == [(0.5, 0.6, 1.0), (0.7, 0.8, 3.0)]
    assert [round(b.confidence, 9) for b in bins] == [0.5, 0.75]
    assert [b.accuracy.value for b in bins] == [0.5, pytest.approx(2 / 3)]
    assert calibration_error(bins) == pytest.approx(3 / 4 * (0.75 - 2 / 3))


def test_certain_pairs_are_in_the_last_bin():
    (found,) = reliability(plain_pairs(900.0, -900.0))
    assert (found.low, found.high, found.confidence, found.accuracy.value) == (0.95, 1.0, 1.0, 0.5)


def test_margins_in_groups_of_equal_size():
    groups = by_margin(plain_pairs(*[0.1, -0.2, 1, -1.1, 2, 2.1, 3, 3.1, 4, 4.1]))
    assert [(g.low, g.high, g.accuracy.value, g.accuracy.rows) for g in groups] == [
        (0.1, 0.2, 0.5, 2),
        (1, 1.1, 0.5, 2),
        (2, 2.1, 1, 2),
        (3, 3.1, 1, 2),
        (4, 4.1, 1, 2),
    ]


def test_equal_margins_are_one_group():
    assert [(g.low, g.high, g.accuracy.rows) for g in by_margin(plain_pairs(1.0, -1.0, 1.0))] == [(1, 1, 3)]


@pytest.mark.parametrize(
    ("lengths", "low", "high"),
    [
        ((10, 10), -0.1, 0.1),
        ((10, 9), -0.1, 0.1),  # a tenth, on the edge
        ((9, 10), -0.1, 0.1),
        ((8, 10), -0.25, -0.1),
        ((10, 8), 0.1, 0.25),
        ((10, 5), 0.25, 0.5),  # half, on the edge
        ((5, 10), -0.5, -0.25),
        ((10, 1), 0.5, 1.0),
        ((0, 7), -1.0, -0.5),
    ],
)
def test_length_differences_fall_into_mirrored_bins(lengths, low, high):
    (group,) = by_length_difference(plain_pairs(1.0, lengths=lengths))
    assert (group.low, group.high) == (low, high)
    assert set(LENGTH_EDGES) == {-edge for edge in LENGTH_EDGES}


def test_length_bias_by_hand():
    rewards = [[2.0, 1.0], [0.0, 1.0], [3.0, 3.0], [5.0, 1.0]]
    lengths = [[20, 10], [10, 20], [20, 10], [7, 7]]  # better longer, better shorter, longer, equal
    grades = [[1, 0]] * 4
    found = length_bias(pairs_of(rewards, grades, lengths), rewards, grades, lengths)
    assert (found.longer_preferred.value, found.longer_preferred.rows) == (pytest.approx(2.5 / 3), 3)
    assert found.longer_better.value == pytest.approx(2 / 3)
    assert (found.where_longer.value, found.where_equal.value, found.where_shorter.value) == (0.75, 1.0, 0.0)


def test_correlation_within_rows_does_not_see_differences_between_rows():
    first, second = [[1.0, 2.0], [101.0, 102.0]], [[7.0, 5.0], [57.0, 55.0]]
    found = within_correlation(first, second)
    assert found.value == pytest.approx(-1)
    assert (found.low, found.high) == (pytest.approx(-1), pytest.approx(-1))


def test_correlation_at_equal_grades_is_the_textbooks():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3, 50, 4))
    rows[0] += 2 * rows[2]
    rows[1] += 3 * rows[2]
    flat = [(each - each.mean(1, keepdims=True)).ravel() for each in rows]
    xy, xz, yz = (float(np.corrcoef(flat[a], flat[b])[0, 1]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert xy > 0.8  # through the third alone
    assert within_correlation(rows[0], rows[1]).value == pytest.approx(xy)
    found = within_correlation(rows[0], rows[1], rows[2])
    assert found.value == pytest.approx((xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found.low < 0 < found.high and found.high - found.low < 0.6


def test_a_bootstrap_interval_is_the_same_every_time_and_near_theory():
    generator = np.random.default_rng(2)
    first = generator.normal(size=(400, 2))
    second = 0.5 * first + generator.normal(size=(400, 2))
    found = within_correlation(first, second)
    assert found == within_correlation(first, second)
    half = 1.96 * (1 - found.value**2) / math.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.2)


@pytest.mark.parametrize("constant", [[[1.0, 1.0]], [[5.0, 5.0]]])
def test_what_does_not_vary_has_no_correlation(constant):
    assert math.isnan(within_correlation(constant, [[1.0, 2.0]]).value)
    assert math.isnan(within_correlation([[1.0, 2.0]], [[2.0, 4.0]], [[3.0, 6.0]]).value)


# Best of n


def by_enumeration(rewards, grades, n):
    """Every subset, and of its highest rewards the mean grade."""
    found = []
    for subset in combinations(range(len(grades)), n):
        top = max(rewards[i] for i in subset)
        highest = [grades[i] for i in subset if rewards[i] == top]
        found.append(sum(highest) / len(highest))
    return sum(found) / len(found)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=1, max_size=7).flatmap(
        lambda rows: st.tuples(st.just(rows), st.integers(1, len(rows)))
    )
)
def test_best_of_n_is_the_mean_over_every_subset(given_rows):
    rows, n = given_rows
    rewards, grades = [float(r) for r, _ in rows], [float(g) for _, g in rows]
    assert best_of(rewards, grades, n) == pytest.approx(by_enumeration(rewards, grades, n))


def test_best_of_n_by_hand():
    assert best_of([1, 2, 3], [0.0, 1.0, 5.0], 1) == pytest.approx(2)
    assert best_of([1, 2, 3], [0.0, 1.0, 5.0], 2) == pytest.approx((1 + 5 + 5) / 3)
    assert best_of([1, 2, 3], [0.0, 1.0, 5.0], 3) == 5


def test_the_curve_goes_as_far_as_half_of_the_rows():
    assert curve_length([2, 2, 5]) == 2
    assert curve_length([2, 5, 5]) == 5
    assert curve_length([2, 5]) == 5
    assert curve_length([]) == 0


def test_the_curve_is_over_the_same_rows_all_along():
    rewards = [[1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1], [100.0, 0]]
    grades = [[0.0, 1, 2, 3, 4], [0.0, 1, 2, 3, 4], [0.0, 99]]
    curve = best_of_curve(rewards, grades)
    assert [each.n for each in curve] == [1, 2, 3, 4, 5]
    assert {each.picked.rows for each in curve} == {2}
    assert [each.picked.value for each in curve] == [pytest.approx(2.0)] * 5  # one is right, one upside down
    assert (curve[-1].picked.low, curve[-1].picked.high, curve[-1].best) == (0, 4, 4)
    assert curve[0].best == 2


def test_pairs_alone_have_no_curve():
    assert best_of_curve([[1.0, 2.0]] * 3, [[1.0, 0.0]] * 3) == []


def test_long_curves_have_few_points():
    curve = best_of_curve([list(range(20))], [[float(i) for i in range(20)]])
    assert [each.n for each in curve] == [1, 2, 3, 4, 6, 8, 12, 16, 20]
