"""Texts as numbers: runs of words, hashed, so that thousands of rows can be compared with numpy."""

from __future__ import annotations

import re

import numpy as np

Hashes = np.ndarray
"""uint64[N], sorted, each once."""

WORD = re.compile(r"\w+")
UNKNOWN = 0


class Words:
    """Gives every word a number, in the order in which they come: the same on every machine."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def learn(self, text: str) -> np.ndarray:
        """uint64[W]: the numbers of a text's words; new words get new numbers."""
        numbers = self._numbers
        found = WORD.findall(text) or [text]
        return np.array([numbers.setdefault(w, len(numbers) + 1) for w in found], dtype=np.uint64)

    def look_up(self, text: str) -> np.ndarray:
        """uint64[W]: the same, with `UNKNOWN` for words that were never learned."""
        numbers = self._numbers
        return np.array([numbers.get(word, UNKNOWN) for word in WORD.findall(text)], dtype=np.uint64)


def runs(words: np.ndarray, length: int, known: bool = False) -> Hashes:
    """A hash of every run of `length` words; of all of them where there are fewer.

    `known` leaves out runs with an unknown word, and texts that are shorter.
    """
    if known and len(words) < length:
        return np.empty(0, np.uint64)
    length = min(length, len(words))
    starts = len(words) - length + 1
    sums = np.zeros(starts, np.uint64)
    complete = np.ones(starts, bool)
    for step in range(length):
        word = words[step : step + starts]
        sums += word * _FACTORS[step]
        complete &= word != UNKNOWN
    return np.unique(mixed(sums[complete] if known else sums))


def mixed(values: np.ndarray) -> np.ndarray:
    """The values with their bits well mixed (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_FACTORS = np.random.default_rng(0).integers(0, 2**64, 32, dtype=np.uint64) | np.uint64(1)


def jaccard(first: Hashes, second: Hashes) -> float:
    """Shared runs over all runs."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)
