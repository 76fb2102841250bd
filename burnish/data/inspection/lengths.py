"""Distributions of lengths, as quantiles and bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from burnish.data.inspection.inspection import Lengths

QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
BINS = 24


def lengths_of(values: Sequence[int], unit: Literal["tokens", "characters"]) -> Lengths | None:
    """The distribution of lengths; None if there are none. Quantiles are lengths that occur."""
    if not len(values):
        return None
    ordered = np.sort(np.asarray(values))
    found = np.quantile(ordered, QUANTILES, method="inverted_cdf")
    quantiles = {f"{q:g}": int(value) for q, value in zip(QUANTILES, found, strict=True)}
    return Lengths(unit, quantiles, _bins(ordered, quantiles["0.99"]))


def _bins(ordered: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Bins of one round width up to where 99 % are; the rest is in a last, wider one."""
    low, high = int(ordered[0]), int(ordered[-1])
    width = _round_up((most - low + 1) / BINS)
    start = low // width * width
    edges = list(range(start, most + 1, width))
    edges.append(edges[-1] + width)
    if high >= edges[-1]:
        edges.append(high + 1)
    counts = np.diff(np.searchsorted(ordered, edges))
    return [(a, b, int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]


def _round_up(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= width:
                return step * scale
        scale *= 10
