"""What the values of answers say of models: means, differences, win rates. Pure functions of arrays.

The rows are prompts, the columns models. Intervals are of bootstrap samples of prompts, so that the values of
one prompt stay together (paired), and have 95 %. A bootstrap of values that are all the same knows no doubt;
where they are shares, Wilson's interval then says what so few prompts can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.evaluation.statistics import LEVEL, RESAMPLES, Estimate, Floats, resampled_sums, share

TIE = 0.5
"""What a prompt counts for both models where neither answer is the better one."""


def mean(values: Floats, seed: int = 0, is_share: bool = False) -> Estimate:
    """The mean of a value per prompt; nan stands for prompts without one."""
    return ratio(values, np.ones(len(values)), seed, is_share)


def ratio(values: Floats, weights: Floats, seed: int = 0, is_share: bool = False) -> Estimate:
    """`Σ values / Σ weights` over prompts, as the loss per token of answers that differ in length."""
    known = ~np.isnan(values)
    values, weights = values[known], weights[known]
    rows = len(values)
    if not rows or not weights.sum():
        return Estimate(math.nan, math.nan, math.nan, 0)
    value = float(values.sum() / weights.sum())
    if is_share and np.all(values == values[0]):
        return _certain(value, rows)
    sums = resampled_sums(np.stack([values, weights], 1), seed)
    low, high = quantiles(sums[:, 0] / np.maximum(sums[:, 1], 1e-12))
    return Estimate(value, low, high, rows)


def difference(first: Floats, second: Floats, seed: int = 0, is_share: bool = False) -> Estimate:
    """The mean of `second - first` over the prompts that have both."""
    found = second - first
    known = found[~np.isnan(found)]
    if is_share and len(known) and np.all(known == known[0]):
        doubt = 1 - share(len(known), len(known)).low
        value = float(known[0])
        return Estimate(value, max(value - doubt, -1.0), min(value + doubt, 1.0), len(known))
    return mean(found, seed)


def ratio_difference(first: tuple[Floats, Floats], second: tuple[Floats, Floats], seed: int = 0) -> Estimate:
    """The difference of two ratios over the same prompts, each given by its values and weights."""
    table = np.stack([*first, *second], 1)
    table = table[~np.isnan(table).any(1)]
    if not len(table):
        return Estimate(math.nan, math.nan, math.nan, 0)

    def of(sums: Floats) -> Floats:
        return sums[..., 2] / sums[..., 3] - sums[..., 0] / sums[..., 1]

    low, high = quantiles(of(resampled_sums(table, seed)))
    return Estimate(float(of(table.sum(0))), low, high, len(table))


def _certain(value: float, rows: int) -> Estimate:
    """All rows say the same: the interval that Wilson gives around it."""
    found = share(value * rows, rows)
    return Estimate(value, min(found.low, value), max(found.high, value), rows)


def quantiles(drawn: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


# Wins


def wins(first: Floats, second: Floats, higher_is_better: bool = True) -> Floats:  # [prompts]
    """1 where the second model's value is the better one, a half where both are the same; nan if unknown."""
    sign = np.sign(second - first) * (1 if higher_is_better else -1)
    return (sign + 1) / 2


@dataclass(frozen=True)
class WinRate:
    """How often the second of two models has the better answer; ties count half."""

    rate: Estimate
    wins: int
    ties: int
    losses: int
    length_controlled: Estimate | None  # the same, had both models written equally much

    @staticmethod
    def of(won: Floats, lengths: tuple[Floats, Floats] | None = None, seed: int = 0) -> WinRate:
        """`won` as `wins` gives it; `lengths` of the two models' answers, in characters."""
        known = ~np.isnan(won)
        controlled = None
        if lengths is not None and known.any():
            controlled = length_controlled(won[known], lengths[0][known], lengths[1][known], seed)
        found = won[known]
        counts = (int((found > TIE).sum()), int((found == TIE).sum()), int((found < TIE).sum()))
        return WinRate(mean(won, seed, is_share=True), *counts, controlled)


# Length control

SLOPE_VARIANCE = 1.0
SKILL_VARIANCE = 100.0
"""Of the normal priors that keep both numbers finite where every prompt says the same."""
STEPS = 40


def length_controlled(won: Floats, first: Floats, second: Floats, seed: int = 0) -> Estimate | None:
    """The win rate that is left when what length alone explains is taken out.

        P(second wins) = sigmoid(skill + slope tanh(d / std(d))),    d = length of second - length of first

    is fitted to the prompts, and `sigmoid(skill)` is the win rate at equal length: the model of AlpacaEval 2
    (arXiv:2404.04475, eq. 2) without its term for how hard a prompt is, which needs many models. `won` may be
    a half. The fit has weak normal priors, `N(0, 100)` for the skill and `N(0, 1)` for the slope. The
    interval fits bootstrap samples of prompts. None where lengths never differ: there is nothing to take out.
    Where every prompt says the same, length explains nothing, and the interval is Wilson's.
    """
    gap = second - first
    spread = float(gap.std())
    if not spread:
        return None
    if np.all(won == won[0]):
        return _certain(float(won[0]), len(won))
    x = np.tanh(gap / spread)
    (skill, _), rows = fit(won, x, np.ones((1, len(won))))[0], len(won)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)
    low, high = quantiles(sigmoid(fit(won, x, counts)[:, 0]))
    return Estimate(float(sigmoid(np.array(skill))), low, high, rows)


def fit(won: Floats, x: Floats, counts: Floats) -> Floats:  # [prompts], [prompts], [R, prompts] -> [R, 2]
    """Skill and slope by Newton's method, for each of R ways to count the prompts."""
    found = np.zeros((len(counts), 2))
    design = np.stack([np.ones_like(x), x])  # [2, prompts]
    prior = np.diag([1 / SKILL_VARIANCE, 1 / SLOPE_VARIANCE])
    products = np.einsum("ip,jp->pij", design, design)
    for _ in range(STEPS):
        chance = sigmoid(found @ design)  # [R, prompts]
        slope = (counts * (won - chance)) @ design.T - found @ prior
        curvature = np.einsum("rp,pij->rij", counts * chance * (1 - chance), products) + prior
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        found += np.clip(step, -2, 2)  # a full step from afar may overshoot
        if np.abs(step).max() < 1e-9:
            break
    return found


def sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))


def column(values: Sequence[Sequence[float | None]], model: int) -> NDArray[np.float64]:  # [prompts]
    """The values of one model; nan where there is none."""
    found = [row[model] for row in values]
    return np.array([math.nan if each is None else each for each in found], np.float64)
