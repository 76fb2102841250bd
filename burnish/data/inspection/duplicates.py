"""Rows that say what another row says: copies, the same example again, nearly the same, and the contrary.

Near duplicates are found by MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, 3.4), and each candidate is then compared exactly. All texts of two rows must be alike, each
with its counterpart: two answers to one long question are no duplicates.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from burnish import units
from burnish.data.inspection.seen import PAIR, Seen, normalised
from burnish.data.inspection.words import Hashes, Words, jaccard, mixed, runs

Found = dict[int, str]
"""What was found, by the number of the row."""


class Copies:
    """Rows equal in every column, but for case and spacing, to an earlier one."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._found: Found = {}

    def add(self, seen: Seen) -> None:
        key = hash(normalised(json.dumps(seen.row, sort_keys=True, ensure_ascii=False, default=repr)))
        first = self._first.setdefault(key, seen.number)
        if first != seen.number:
            self._found[seen.number] = f"as row {first}"

    def found(self) -> Found:
        return self._found


class SameExamples:
    """Rows with the prompt and the completions of an earlier one, which differ in other columns."""

    def __init__(self) -> None:
        self._copies = Copies()
        self._first: dict[int, int] = {}
        self._found: Found = {}

    def add(self, seen: Seen) -> None:
        self._copies.add(seen)
        if seen.example is None:
            return
        key = hash((seen.normal, str(seen.example.columns.get("label"))))
        first = self._first.setdefault(key, seen.number)
        if first != seen.number:
            self._found[seen.number] = f"as row {first}"

    def found(self) -> Found:
        return {index: what for index, what in self._found.items() if index not in self._copies.found()}


class Contradictions:
    """A over B in some rows and B over A in others; or one completion called both good and bad.

    The side with fewer rows is named, and both where there are as many.
    """

    def __init__(self) -> None:
        self._sides: defaultdict[int, defaultdict[bool, list[int]]] = defaultdict(lambda: defaultdict(list))

    def add(self, seen: Seen) -> None:
        if seen.example is None:
            return
        prompt, completions = seen.normal
        label = seen.example.columns.get("label")
        if len(completions) == len(PAIR) and completions[0] != completions[1]:
            self._side((prompt, *sorted(completions)), completions[0] < completions[1], seen.number)
        elif len(completions) == 1 and label is not None:
            self._side((prompt, *completions), bool(label), seen.number)

    def _side(self, key: Any, side: bool, index: int) -> None:
        self._sides[hash(key)][side].append(index)

    def found(self) -> Found:
        found: Found = {}
        for sides in self._sides.values():
            for side, others in ((True, False), (False, True)):
                rows, against = sides.get(side, []), sides.get(others, [])
                if against and len(rows) <= len(against):
                    found |= dict.fromkeys(rows, f"{_rows(against)} the contrary")
        return found


def _rows(rows: list[int]) -> str:
    return f"row {rows[0]} says" if len(rows) == 1 else f"{len(rows)} rows (the first is {rows[0]}) say"


SHINGLE = 3
BANDS, ROWS_OF_A_BAND = 16, 4
NEIGHBOURS = 4


class NearDuplicates:
    """Rows whose texts share at least `alike` of their runs of three words with an earlier row's.

    Two rows that share 0.8 become candidates with probability 1 - (1 - 0.8⁴)¹⁶ = 0.9998.
    """

    def __init__(self, alike: float = 0.8) -> None:
        self.alike = alike
        self._words = Words()
        self._known: set[int] = set()
        self._rows: list[int] = []
        self._runs: list[list[Hashes]] = []

    def add(self, seen: Seen) -> None:
        if seen.example is None or hash(seen.normal) in self._known:
            return
        self._known.add(hash(seen.normal))
        prompt, completions = seen.normal
        texts = [text for text in (prompt, *completions) if text]
        if texts:
            self._rows.append(seen.number)
            self._runs.append([runs(self._words.learn(text), SHINGLE) for text in texts])

    def found(self) -> Found:
        found: Found = {}
        for later, earlier in candidates(signatures([np.concatenate(each) for each in self._runs])):
            if later not in found:
                alike = self._alike(later, earlier)
                if alike >= self.alike:
                    found[later] = f"{units.share(alike, 0)} as row {self._rows[earlier]}"
        return {self._rows[at]: what for at, what in sorted(found.items())}

    def _alike(self, first: int, second: int) -> float:
        """Of the texts that differ most."""
        a, b = self._runs[first], self._runs[second]
        return min(map(jaccard, a, b)) if len(a) == len(b) else 0.0


def signatures(sets: list[Hashes]) -> np.ndarray:
    """uint64[N, H]: the least of every set under each of H hash functions."""
    count = BANDS * ROWS_OF_A_BAND
    factors = np.random.default_rng(1).integers(0, 2**64, count, dtype=np.uint64) | np.uint64(1)
    found = np.empty((len(sets), count), np.uint64)
    for start in range(0, len(sets), 512):
        chunk = sets[start : start + 512]
        values = np.concatenate(chunk)
        firsts = np.cumsum([0, *(len(each) for each in chunk[:-1])])
        for column, factor in enumerate(factors):
            products = values * factor
            found[start : start + len(chunk), column] = np.minimum.reduceat(products, firsts)
    return found


def candidates(signature: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs (later, earlier) of rows that agree in a whole band, the nearest earlier ones first."""
    pairs = [_pairs_of_band(band) for band in np.hsplit(signature, BANDS)] if len(signature) else []
    every: Iterable[Any] = np.unique(np.concatenate(pairs), axis=0) if pairs else ()
    for later, earlier in every:
        yield int(later), int(earlier)


def _pairs_of_band(band: np.ndarray) -> np.ndarray:
    """int64[P, 2]: each row with up to `NEIGHBOURS` rows before it that have the same values."""
    keys = mixed((band * np.array([3, 5, 7, 11], np.uint64)).sum(axis=1, dtype=np.uint64))
    order = np.argsort(keys, kind="stable")
    pairs = [np.empty((0, 2), np.int64)]
    for step in range(1, NEIGHBOURS + 1):
        later, earlier = order[step:], order[:-step]
        same = keys[later] == keys[earlier]
        pairs.append(np.stack([later[same], earlier[same]], axis=1))
    return np.concatenate(pairs)
