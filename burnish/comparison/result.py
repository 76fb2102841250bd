"""What came out of a comparison, and its form as JSON (`comparison.json`).

Of a pair, `a` is the model that was named later, as the one after training, `b` the one it is set against:

    win_rate      the share of prompts at which the answer of `a` is the better one, ties half
    difference    the mean of `a` less that of `b`, over the prompts that have both
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from burnish.comparison import statistics
from burnish.comparison.answering import Said
from burnish.comparison.prompts import Asked, Prompts
from burnish.comparison.statistics import WinRate
from burnish.data.example import Text
from burnish.errors import UserError
from burnish.evaluation.statistics import Estimate, Floats
from burnish.models.asking import Sampling

FORMAT = 1
SHARE = "share"
"""The unit of a value between 0 and 1 that reads as a percentage."""

Values = list[list[float | None]]
"""[prompts][models]; None where a model has no value at a prompt."""


@dataclass(frozen=True)
class Answered:
    """Prompts with what every model said to them: what a measure looks at."""

    prompts: Prompts
    models: list[str]
    said: list[Said]  # per model
    seed: int = 0

    @property
    def rows(self) -> Sequence[Asked]:
        return self.prompts.rows

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every model with each that was named before it."""
        return [(after, before) for before, after in combinations(range(len(self.models)), 2)]

    def answer(self, row: int, model: int) -> str:
        return self.said[model].answers[row].text

    def lengths(self, model: int) -> Floats:  # [prompts], in characters
        return np.array([len(each.text) for each in self.said[model].answers], np.float64)


@dataclass(frozen=True)
class Pair:
    """A model by one measure, against one that was named before it."""

    of: int
    against: int
    wins: WinRate | None
    difference: Estimate | None


@dataclass(frozen=True)
class Measure:
    """One measure of all models."""

    name: str
    unit: str
    higher_is_better: bool | None  # None: neither way is better
    models: list[Estimate]
    pairs: list[Pair]
    values: Values | None = None
    verdicts: list[list[float | None]] | None = None  # [prompts][pairs]: 1 won, 0.5 tie, 0 lost
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def by_values(
    answered: Answered,
    name: str,
    unit: str,
    values: Values,
    *,
    higher_is_better: bool | None = True,
    control_length: bool = True,
    notes: Sequence[str] = (),
) -> Measure:
    """A measure that gives every answer a number."""
    columns = [statistics.column(values, model) for model in range(len(answered.models))]
    seed, is_share = answered.seed, unit == SHARE
    pairs = []
    for a, b in answered.pairs:
        wins = None
        if higher_is_better is not None:
            won = statistics.wins(columns[b], columns[a], higher_is_better)
            lengths = (answered.lengths(b), answered.lengths(a)) if control_length else None
            wins = WinRate.of(won, lengths, seed)
        pairs.append(Pair(a, b, wins, statistics.difference(columns[b], columns[a], seed, is_share)))
    estimates = [statistics.mean(each, seed, is_share) for each in columns]
    return Measure(name, unit, higher_is_better, estimates, pairs, values=values, notes=list(notes))


def by_verdicts(
    answered: Answered,
    name: str,
    verdicts: list[list[float | None]],
    *,
    notes: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
) -> Measure:
    """A measure that says which of two answers is the better one. A model's value is its share of wins."""
    pairs, seen = [], list[list[Floats]]([] for _ in answered.models)
    for place, (a, b) in enumerate(answered.pairs):
        won = statistics.column(verdicts, place)
        seen[a].append(won)
        seen[b].append(1 - won)
        lengths = (answered.lengths(b), answered.lengths(a))
        pairs.append(Pair(a, b, WinRate.of(won, lengths, answered.seed), None))
    estimates = [statistics.mean(_mean_known(each), answered.seed, True) for each in seen]
    told = {"notes": list(notes), "counts": dict(counts or {})}
    return Measure(name, SHARE, True, estimates, pairs, verdicts=verdicts, **told)  # type: ignore[arg-type]


def _mean_known(columns: list[Floats]) -> Floats:
    """Per prompt, the mean over those opponents against whom there is a verdict."""
    table = np.stack(columns)
    known = (~np.isnan(table)).sum(0)
    return np.where(known > 0, np.nansum(table, 0) / np.maximum(known, 1), math.nan)


@dataclass(frozen=True)
class Comparison:
    """Models side by side on the same prompts."""

    prompts: Prompts
    models: list[dict[str, str]]  # name and path
    sampling: Sampling
    answered: Answered
    measures: list[Measure]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [model["name"] for model in self.models]

    def measure(self, kind: str) -> Measure | None:
        """The first measure whose name is `kind`, or begins with `kind:`."""
        return next((m for m in self.measures if m.name.partition(":")[0] == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """The content of `comparison.json`: what is not a number is None."""
        return {
            "format": FORMAT,
            "prompts": {
                "name": self.prompts.name,
                "rows": len(self.prompts.rows),
                "sha256": self.prompts.sha256,
                "read_as": self.prompts.format,
            },
            "models": self.models,
            "sampling": asdict(self.sampling),
            "notes": self.notes,
            "measures": [_measure_dict(each, self.names) for each in self.measures],
            "answers": [self._row_dict(place) for place in range(len(self.prompts.rows))],
        }

    def _row_dict(self, place: int) -> dict[str, Any]:
        row, said = self.prompts.rows[place], [each.answers[place] for each in self.answered.said]
        score, reward = self.measure("score"), self.measure("reward")
        return {
            "index": row.index,
            "prompt": _plain(row.prompt),
            "reference": None if row.reference is None else _plain(row.reference),
            "answers": [each.text for each in said],
            "tokens": [each.tokens for each in said],
            "finished": [each.finished for each in said],
            "scores": _values_at(score, place),
            "rewards": _values_at(reward, place),
            "values": {m.name: m.values[place] for m in self.measures if m.values is not None},
            "verdicts": {m.name: m.verdicts[place] for m in self.measures if m.verdicts is not None},
        }

    def save(self, folder: str | Path) -> Path:
        """Write `comparison.json` into the folder."""
        path = Path(folder) / "comparison.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot be written: {error.strerror}", where=str(path)) from error
        return path

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


def _plain(text: Text) -> Any:
    return text if isinstance(text, str) else [dict(message) for message in text]


def _values_at(measure: Measure | None, place: int) -> list[float | None] | None:
    return None if measure is None or measure.values is None else measure.values[place]


def _measure_dict(measure: Measure, names: list[str]) -> dict[str, Any]:
    return {
        "name": measure.name,
        "unit": measure.unit,
        "higher_is_better": measure.higher_is_better,
        "models": [_estimate(each) for each in measure.models],
        "pairs": [_pair_dict(each, names) for each in measure.pairs],
        "notes": measure.notes,
        "counts": measure.counts,
    }


def _pair_dict(pair: Pair, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"a": names[pair.of], "b": names[pair.against]}
    wins = pair.wins
    rate = _estimate(wins.rate if wins else None)
    found |= {"win_rate": rate["mean"], "low": rate["low"], "high": rate["high"]}
    controlled = _estimate(wins.length_controlled if wins else None)
    found |= {"length_controlled": controlled["mean"]}
    found |= {"length_controlled_low": controlled["low"], "length_controlled_high": controlled["high"]}
    found |= {name: getattr(wins, name) if wins else None for name in ("wins", "ties", "losses")}
    rows = wins.rate.rows if wins else pair.difference.rows if pair.difference else 0
    return found | {"n": int(rows), "difference": _estimate(pair.difference) if pair.difference else None}


def _estimate(found: Estimate | None) -> dict[str, float | None]:
    if found is None or math.isnan(found.value):
        return {"mean": None, "low": None, "high": None, "n": 0}
    return {"mean": found.value, "low": found.low, "high": found.high, "n": int(found.rows)}
