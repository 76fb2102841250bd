"""What rows share with the rows of an evaluation.

Runs of 13 words are the measure of GPT-3's authors (Brown et al. 2020, appendix C): longer than phrases that
everybody uses. Runs that more than ten rows have are boilerplate, as they count it, and tell nothing.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from burnish.data.inspection.duplicates import Found
from burnish.data.inspection.seen import Seen
from burnish.data.inspection.words import Words, runs

RUN = 13
BOILERPLATE = 10


class Evaluation:
    """The rows of an evaluation, as what the checks need of them."""

    def __init__(self) -> None:
        self.examples: set[int] = set()
        self.words = Words()
        self._runs: list[np.ndarray] = []
        self.rows = 0

    def add(self, seen: Seen) -> None:
        if seen.example is not None:
            self.examples.add(hash(seen.normal))
            self._runs.append(runs(self.words.learn(_whole(seen)), RUN, known=True))
        self.rows += 1

    def all_runs(self) -> np.ndarray:
        return np.unique(np.concatenate(self._runs)) if self._runs else np.empty(0, np.uint64)


def _whole(seen: Seen) -> str:
    prompt, completions = seen.normal
    return "\n".join(filter(None, (prompt, *completions)))


def _among(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Which of the values are in the ordered array."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return ordered[np.searchsorted(ordered, values).clip(max=len(ordered) - 1)] == values


class InEvaluation:
    """Rows that the evaluation has too."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._found: Found = {}

    def add(self, seen: Seen) -> None:
        if seen.example is not None and hash(seen.normal) in self._evaluation.examples:
            self._found[seen.number] = "the same prompt and completions"

    def found(self) -> Found:
        return self._found


class SharedRuns:
    """Rows that have a run of 13 words from the evaluation, but are not in it as a whole."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._runs = evaluation.all_runs()
        self._shared: dict[int, np.ndarray] = {}

    def add(self, seen: Seen) -> None:
        if seen.example is None or hash(seen.normal) in self._evaluation.examples:
            return
        own = runs(self._evaluation.words.look_up(_whole(seen)), RUN, known=True)
        shared = own[_among(own, self._runs)]
        if len(shared):
            self._shared[seen.number] = shared

    def found(self) -> Found:
        rows = Counter(run for shared in self._shared.values() for run in shared.tolist())
        telling = {
            index: sum(rows[run] <= BOILERPLATE for run in shared.tolist())
            for index, shared in self._shared.items()
        }
        return {i: f"{count} run{'s' * (count > 1)} of {RUN} words" for i, count in telling.items() if count}
