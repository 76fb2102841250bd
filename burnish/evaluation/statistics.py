"""What rewards say of known preferences, as numbers. Pure functions of arrays.

A *pair* is a better and a worse completion of one prompt, by their grades; its *margin* is the reward of the
better one less that of the worse one. A row of n completions has many pairs, which are not independent:
each weighs 1 / (pairs of its row), so that every row counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Coverage of every interval."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95 %, and the rows it comes from."""

    value: float
    low: float
    high: float
    rows: float

    def side(self, middle: float) -> int:
        """1 or -1 where the whole interval lies above or below `middle`, 0 where it holds it."""
        return int(self.low > middle) - int(self.high < middle)


BETTER, WORSE, MIXED, NOT_SIGNIFICANT = "better", "worse", "mixed", "not significant"


def verdict(difference: Estimate | None, win_rate: Estimate | None, higher_is_better: bool = True) -> str:
    """Whether the later of two models is the better one; empty where nothing is known.

    By the mean of its differences where values have one, else by its win rate: the interval of 95 % must not
    hold 0, or one half. `mixed` where the mean is better while it loses more prompts than it wins, or the
    other way round: a few prompts then make the mean.
    """
    difference, win_rate = (None if e is None or math.isnan(e.value) else e for e in (difference, win_rate))
    if difference is None and win_rate is None:
        return ""
    if difference is None:
        assert win_rate is not None
        side = win_rate.side(0.5)
    else:
        side = difference.side(0.0) * (1 if higher_is_better else -1)
        if win_rate is not None and side * (win_rate.value - 0.5) < 0:
            return MIXED
    return {1: BETTER, -1: WORSE, 0: NOT_SIGNIFICANT}[side]


@dataclass(frozen=True)
class Pairs:
    """Every better and worse completion of one prompt."""

    margin: Floats  # [P]: reward of the better one less that of the worse one
    better_length: Floats  # [P], in tokens
    worse_length: Floats  # [P]
    weight: Floats  # [P]: those of a row add up to 1
    row: NDArray[np.int64]  # [P]: index of the row

    def __len__(self) -> int:
        return len(self.margin)

    @property
    def hit(self) -> Floats:  # [P]
        """1 where the better one has the higher reward, a half where both have the same."""
        return (np.sign(self.margin) + 1) / 2

    @property
    def length_difference(self) -> Floats:  # [P]
        """Of the better one from the worse one, as a share of the longer: from -1 to 1."""
        longer = np.maximum(np.maximum(self.better_length, self.worse_length), 1)
        return (self.better_length - self.worse_length) / longer

    def accuracy(self, chosen: NDArray[np.bool_] | None = None) -> Estimate:
        """The share of these pairs that is right, ties counted half; Wilson's interval."""
        weight = self.weight if chosen is None else self.weight[chosen]
        hit = self.hit if chosen is None else self.hit[chosen]
        return share(float(weight @ hit), float(weight.sum()))


def pairs_of(
    rewards: Sequence[Sequence[float]], grades: Sequence[Sequence[float]], lengths: Sequence[Sequence[int]]
) -> Pairs:
    """All pairs of rows whose completions have these rewards, grades and lengths in tokens."""
    margin, better, worse, weight, row = [], [], [], [], []
    for index, (reward, grade, length) in enumerate(zip(rewards, grades, lengths, strict=True)):
        order = [(i, j) for i, a in enumerate(grade) for j, b in enumerate(grade) if a > b]
        margin += [reward[i] - reward[j] for i, j in order]
        better += [length[i] for i, _ in order]
        worse += [length[j] for _, j in order]
        weight += [1 / max(len(order), 1)] * len(order)
        row += [index] * len(order)
    return Pairs(
        np.array(margin, np.float64),
        np.array(better, np.float64),
        np.array(worse, np.float64),
        np.array(weight, np.float64),
        np.array(row, np.int64),
    )


# Shares


def share(successes: float, rows: float) -> Estimate:
    """A share with Wilson's interval (1927), which holds for few rows and near 0 and 1 too.

    `successes` may be a fraction where rows are partly right; the interval is then on the safe side.
    """
    if rows <= 0:
        return Estimate(math.nan, 0.0, 1.0, 0.0)
    value, square = successes / rows, Z * Z / rows
    middle = (value + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(max(value * (1 - value), 0) / rows + square / (4 * rows))
    return Estimate(value, max(middle - half, 0.0), min(middle + half, 1.0), rows)


def log_loss(pairs: Pairs) -> float:
    """Mean of `-log sigmoid(margin)`, what Bradley-Terry is trained on; log 2 for no knowledge."""
    return float(np.average(np.logaddexp(0, -pairs.margin), weights=pairs.weight))


# Calibration


@dataclass(frozen=True)
class ReliabilityBin:
    low: float
    high: float
    confidence: float  # the mean that the model claims
    accuracy: Estimate  # what came true


def reliability(pairs: Pairs, bins: int = 10) -> list[ReliabilityBin]:
    """Claimed and true accuracy, over equal bins of confidence from 0.5 to 1; empty bins are left out.

    The confidence of a pair is `sigmoid(|margin|)`: which of the two is called better does not matter, so
    that it never lies below a half (the folded curve).
    """
    confidence = 1 / (1 + np.exp(-np.abs(pairs.margin)))
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    found = []
    for index in np.unique(place):
        chosen = place == index
        low, high = 0.5 + index / (2 * bins), 0.5 + (index + 1) / (2 * bins)
        claimed = float(np.average(confidence[chosen], weights=pairs.weight[chosen]))
        found.append(ReliabilityBin(float(low), float(high), claimed, pairs.accuracy(chosen)))
    return found


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Expected calibration error: `Σ rows |confidence - accuracy| / Σ rows`."""
    rows = sum(each.accuracy.rows for each in bins)
    return sum(each.accuracy.rows * abs(each.confidence - each.accuracy.value) for each in bins) / rows


# Groups of pairs


@dataclass(frozen=True)
class Group:
    """Pairs whose value lies from `low` to `high`, and how many of them are right."""

    low: float
    high: float
    accuracy: Estimate


def by_margin(pairs: Pairs, groups: int = 5) -> list[Group]:
    """Accuracy from the least to the largest `|margin|`, in groups of about as many pairs."""
    size = np.abs(pairs.margin)
    edges = np.unique(np.quantile(size, np.linspace(0, 1, groups + 1)))
    place = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, max(len(edges) - 2, 0))
    return [
        Group(float(size[place == g].min()), float(size[place == g].max()), pairs.accuracy(place == g))
        for g in np.unique(place)
    ]


LENGTH_EDGES = (-1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0)
"""Of the length difference; within a tenth completions are about equally long."""


def by_length_difference(pairs: Pairs) -> list[Group]:
    """Accuracy by how much longer (above 0) or shorter the better completion is; empty bins are left out."""
    place = length_bin(pairs)
    found = [(place == index, index) for index in range(len(LENGTH_EDGES) - 1)]
    return [
        Group(LENGTH_EDGES[index], LENGTH_EDGES[index + 1], pairs.accuracy(chosen))
        for chosen, index in found
        if chosen.any()
    ]


def length_bin(pairs: Pairs) -> NDArray[np.int64]:  # [P]
    """The bin of `LENGTH_EDGES`; what lies on an edge belongs to the bin nearer to zero."""
    difference, inner = pairs.length_difference, np.array(LENGTH_EDGES[1:-1])
    below = np.searchsorted(inner, difference, side="right")
    above = np.searchsorted(inner, difference, side="left")
    return np.where(difference > 0, above, below)


# Length bias


@dataclass(frozen=True)
class LengthBias:
    """How far rewards follow length."""

    correlation: Estimate  # of reward and length in tokens, both as distance from their row's mean
    at_equal_grade: Estimate  # the same with what follows from grades taken out of both: partial correlation
    longer_preferred: Estimate  # of pairs that differ in length, the longer one has the higher reward
    longer_better: Estimate  # and in so many it is the better one
    where_longer: Estimate  # accuracy where the better one is longer
    where_equal: Estimate  # about as long
    where_shorter: Estimate


Rows = Sequence[Sequence[float]]
"""A number for every completion of every row."""


def length_bias(pairs: Pairs, rewards: Rows, grades: Rows, lengths: Rows, seed: int = 0) -> LengthBias:
    differ = pairs.better_length != pairs.worse_length
    weight, longer = pairs.weight[differ], pairs.better_length[differ] > pairs.worse_length[differ]
    preferred = np.where(longer, pairs.hit[differ], 1 - pairs.hit[differ])
    place, middle = length_bin(pairs), len(LENGTH_EDGES) // 2 - 1
    return LengthBias(
        correlation=within_correlation(rewards, lengths, seed=seed),
        at_equal_grade=within_correlation(rewards, lengths, grades, seed=seed),
        longer_preferred=share(float(weight @ preferred), float(weight.sum())),
        longer_better=share(float(weight @ longer), float(weight.sum())),
        where_longer=pairs.accuracy(place > middle),
        where_equal=pairs.accuracy(place == middle),
        where_shorter=pairs.accuracy(place < middle),
    )


def within_correlation(first: Rows, second: Rows, given: Rows | None = None, seed: int = 0) -> Estimate:
    """Pearson's correlation of two values within rows: of their distances from the means of their row.

    So neither prompts with long answers nor prompts with high rewards count. `given` makes it the partial
    correlation at equal values of a third. The interval is of bootstrap samples of rows; nan where a value
    does not vary.
    """
    columns = (first, second) if given is None else (first, second, given)
    products = []
    for row in zip(*columns, strict=True):
        values = np.array(row, np.float64)
        centred = values - values.mean(1, keepdims=True)
        products.append((centred @ centred.T).ravel())
    table = np.array(products, np.float64)
    value = _correlation(table.sum(0))
    if math.isnan(value):
        return Estimate(math.nan, -1.0, 1.0, len(table))
    found = [_correlation(sums) for sums in resampled_sums(table, seed)]
    low, high = np.nanquantile(found, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value, float(low), float(high), len(table))


def _correlation(products: Floats) -> float:
    """From the sums of products of 2 values, or of 3, of which the third is held equal."""
    size = math.isqrt(len(products))
    table = products.reshape(size, size)
    least = 1e-12 * np.diag(table)
    if size == 3 and table[2, 2] > 0:
        table = table - np.outer(table[2], table[2]) / table[2, 2]
    product, first, second = float(table[0, 1]), float(table[0, 0]), float(table[1, 1])
    varies = first > least[0] and second > least[1]
    return product / math.sqrt(first * second) if varies else math.nan


def resampled_sums(table: Floats, seed: int) -> Floats:  # [rows, k] -> [RESAMPLES, k]
    """Sums over bootstrap samples of the rows."""
    rows = len(table)
    generator = np.random.default_rng(seed)
    draws = (generator.multinomial(rows, np.full(rows, 1 / rows)) for _ in range(RESAMPLES))
    return np.stack([draw @ table for draw in draws])


# Best of n


@dataclass(frozen=True)
class BestOf:
    """The mean grade of what is taken from n completions."""

    n: int
    picked: Estimate  # the one with the highest reward
    best: float  # the best one there is


def best_of(ranked_by: Sequence[float], grades: Sequence[float], n: int) -> float:
    """The expected grade of the completion that ranks highest among n drawn without replacement.

    Exact over all subsets: the i-th of m in ascending order is the highest of `C(i-1, n-1)` of the `C(m, n)`.
    Of equals each is as likely to be taken, so each stands for their mean.
    """
    values, gold = np.array(ranked_by, np.float64), np.array(grades, np.float64)
    _, group = np.unique(values, return_inverse=True)
    means = np.bincount(group, gold) / np.bincount(group)
    ascending = means[np.sort(group)]
    count = len(gold)
    return sum(comb(i, n - 1) * float(ascending[i]) for i in range(count)) / comb(count, n)


def curve_length(counts: Sequence[int]) -> int:
    """The largest n that at least half of the rows reach."""
    return sorted(counts, reverse=True)[(len(counts) - 1) // 2] if counts else 0


def best_of_curve(rewards: Rows, grades: Rows, seed: int = 0) -> list[BestOf]:
    """The mean grade of the best of 1, 2, 3, 4, 6, 8, 12 ... n, all over the same rows: those with n or more.

    Nothing where most rows have two completions. Intervals are of bootstrap samples of rows.
    """
    most = curve_length([len(each) for each in grades])
    if most < 3:
        return []
    rows = [(r, g) for r, g in zip(rewards, grades, strict=True) if len(g) >= most]
    sizes = [n for n in sorted({*range(1, 5), *(k << i for k in (2, 3) for i in range(64))}) if n < most]
    sizes.append(most)
    picked = np.array([[best_of(r, g, n) for n in sizes] for r, g in rows])
    best = np.mean([[best_of(g, g, n) for n in sizes] for _, g in rows], axis=0)
    drawn = resampled_sums(picked, seed) / len(rows)
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return [
        BestOf(
            n, Estimate(float(picked[:, i].mean()), float(low[i]), float(high[i]), len(rows)), float(best[i])
        )
        for i, n in enumerate(sizes)
    ]
