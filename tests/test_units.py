"""Bytes, durations, shares and counts, as every part of Burnish writes them."""

import math

import pytest

from burnish import units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (900, "900 B"),
        (2_400_000, "2.40 MB"),
        (240_000_000, "240 MB"),
        (999_960_000, "1.00 GB"),
        (4.5e9, "4.50 GB"),
        (1.4e12, "1.40 TB"),
    ],
)
def test_bytes(count, text):
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (1.41, "1.4 s"),
        (42, "42 s"),
        (59.96, "1 min"),
        (442, "7 min 22 s"),
        (3 * 3600 + 300, "3 h 05 min"),
        (400_000, "4 d 15 h"),
    ],
)
def test_durations(seconds, text):
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(7, "0:07"), (760, "12:40"), (11_100, "3:05:00"), (187_200, "2 d 4:00")]
)
def test_clocks(seconds, text):
    assert units.clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 %"),
        (1, "100 %"),
        (0.523, "52.3 %"),
        (0.8, "80 %"),
        (0.0004, "<0.1 %"),
        (0.9995, ">99.9 %"),
        (0.1, "10 %"),
        (0.999, "99.9 %"),
        (-0.05, "−5 %"),
    ],
)
def test_a_share_is_never_all_or_none_where_it_is_not(value, text):
    assert units.share(value) == text


def test_shares_of_whole_percent_and_their_intervals():
    assert [units.share(value, 0) for value in (0.004, 0.526, 0.996, 1.0)] == [
        "<1 %",
        "53 %",
        ">99 %",
        "100 %",
    ]
    assert units.share_range(0.462, 0.9999) == "46.2 to >99.9 %"
    assert units.share_range(math.nan, 0.5) == units.share_range(None, 0.5) == "–"


def test_numbers_and_counts():
    assert [units.significant(n) for n in (0, 0.08991, 12.34, -1234.5)] == ["0", "0.0899", "12.3", "−1,234"]
    assert [units.metric(n) for n in (None, math.nan, 2e-5, -3.24)] == ["–", "–", "2.00e−5", "−3.24"]
    assert [units.count(n) for n in (1.54e9, 134_500_000, 12_345)] == ["1.54B", "134.5M", "12,345"]
    assert [units.counted(1, "row"), units.counted(2000, "row"), units.counted(2, "index", "indices")] == [
        "1 row",
        "2,000 rows",
        "2 indices",
    ]


def test_moments():
    assert units.moment("2026-11-25T08:04:31+00:00") == "25 Nov 2026, 08:04 UTC"
    assert units.moment("soon") == "soon"
