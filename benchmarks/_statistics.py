"""What is made of raw samples. Pure functions, so that the arithmetic of the benchmarks is tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._worker import Result

WARM_UP = 1
"""Steps of each process that are left out: the first one allocates memory and chooses kernels."""


def step_seconds(result: Result) -> list[float]:
    """Seconds of every step after the warm-up, each with its share of what was scored before step 1."""
    share = result.advance_seconds / len(result.step_seconds)
    return [seconds + share for seconds in result.step_seconds[WARM_UP:]]


def step_cpu_seconds(result: Result) -> list[float]:
    share = result.advance_cpu_seconds / len(result.step_cpu_seconds)
    return [seconds + share for seconds in result.step_cpu_seconds[WARM_UP:]]


def median_step(results: Sequence[Result]) -> float:
    """The median over all steps of all repeats, in seconds."""
    return median(seconds for result in results for seconds in step_seconds(result))


def median_cpu_step(results: Sequence[Result]) -> float:
    return median(seconds for result in results for seconds in step_cpu_seconds(result))


def median_peak(results: Sequence[Result]) -> float:
    """Bytes; the median over repeats."""
    return median(result.peak_bytes for result in results)


def ratios(results: dict[str, list[Result]], ours: str = "burnish") -> dict[str, dict[str, float]]:
    """For every other contender: how many of our steps fit into one of its, and our share of its memory."""
    step, peak = median_step(results[ours]), median_peak(results[ours])
    others = [name for name in results if name != ours]
    return {
        "step_time_ratio": {name: median_step(results[name]) / step for name in others},
        "peak_memory_ratio": {name: peak / median_peak(results[name]) for name in others},
    }


def differences(first: dict[str, float], other: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    """How far apart the given first-step metrics of two runs are: relative, below 1 absolute."""
    return {name: abs(first[name] - other[name]) / max(abs(first[name]), 1.0) for name in names}


def write_json(content: dict[str, Any], file: str | None) -> None:
    if file:
        Path(file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
