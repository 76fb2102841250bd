"""Everything a reward model says of rows with known preferences: scored, and summed up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from burnish.data.example import TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.preparation.report import PreparationReport
from burnish.data.reading.graded import GRADED, GRADES
from burnish.data.sources.rows import Source
from burnish.errors import UserError
from burnish.evaluation import statistics
from burnish.evaluation.reward_model import RewardModel
from burnish.evaluation.statistics import BestOf, Estimate, Group, LengthBias, ReliabilityBin


@dataclass(frozen=True)
class ScoredRow:
    """A row with what the model says of its completions."""

    row: int  # its number in the source
    subset: str
    rewards: list[float]
    grades: list[float]
    lengths: list[int]  # of the completions, in tokens


@dataclass(frozen=True)
class RewardReport:
    """How well rewards agree with known preferences. Rows with several pairs count once."""

    model: str
    data: str
    format: str
    read: int
    kept: int
    dropped: dict[str, int]  # rows that were not scored, by reason
    undecided: int  # rows all of whose completions have the same grade: no pairs
    pairs: int
    tied: float  # share of pairs whose rewards are equal; each counts as half right
    accuracy: Estimate
    log_loss: float
    subsets: dict[str, Estimate]
    calibration_error: float
    reliability: list[ReliabilityBin]
    by_margin: list[Group]
    length: LengthBias
    by_length: list[Group]
    best_of: list[BestOf]
    notes: list[str] = field(default_factory=list)

    @property
    def mean_of_subsets(self) -> float:
        """Every subset counted once, however many rows it has."""
        return sum(each.value for each in self.subsets.values()) / len(self.subsets)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is not a number is None."""
        found = _without_nan(asdict(self))
        return found | ({"mean_of_subsets": self.mean_of_subsets} if self.subsets else {})


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def evaluate(
    model: RewardModel,
    source: Source,
    options: PreparationOptions,
    *,
    subset_column: str = "subset",
    done: Callable[[int], object] = bool,
) -> RewardReport:
    """Score the rows of `source` and sum up. `done` hears of rows as they are scored.

    Raises `UserError` for rows that cannot be read, and where no row has a preference.
    """
    options = replace(options, as_chats=options.as_chats or model.as_chats)
    rows, prepared = prepare(source, GRADED, model.tokenizer, options, source.origins.name)
    examples = [TokenizedExample.from_row(row) for row in rows]
    rewards = model.score(examples, done)
    subsets = subsets_of(source, subset_column)
    scored = [
        ScoredRow(
            example.row,
            subsets.get(example.row, ""),
            found,
            example.columns[GRADES],
            [len(tokens) for tokens in example.completions],
        )
        for example, found in zip(examples, rewards, strict=True)
    ]
    return summed_up(scored, prepared, model.__name__)


def subsets_of(source: Source, column: str) -> Mapping[int, str]:
    """The subset of every row by its number; of a subset that is missing or null nothing is said."""
    if column not in source.dataset.column_names:
        return {}
    values = source.dataset.select_columns([column])[column]
    return {source.origins.number(i): str(value) for i, value in enumerate(values) if value is not None}


def summed_up(rows: Sequence[ScoredRow], prepared: PreparationReport, model: str) -> RewardReport:
    """Raises `UserError` where no row has a better and a worse completion."""
    rewards, grades = [row.rewards for row in rows], [row.grades for row in rows]
    lengths = [row.lengths for row in rows]
    pairs = statistics.pairs_of(rewards, grades, lengths)
    if not len(pairs):
        raise UserError(
            "no row has a better and a worse completion: all grades of a row are equal",
            where=prepared.name,
            fix="give completions of different scores, or chosen and rejected",
        )
    bins = statistics.reliability(pairs)
    return RewardReport(
        model=model,
        data=prepared.name,
        format=prepared.format,
        read=prepared.read,
        kept=prepared.kept,
        dropped={reason: tally.count for reason, tally in prepared.dropped.items()},
        undecided=len(rows) - len(set(pairs.row.tolist())),
        pairs=len(pairs),
        tied=float(pairs.weight @ (pairs.margin == 0) / pairs.weight.sum()),
        accuracy=pairs.accuracy(),
        log_loss=statistics.log_loss(pairs),
        subsets=by_subset(pairs, [row.subset for row in rows]),
        calibration_error=statistics.calibration_error(bins),
        reliability=bins,
        by_margin=statistics.by_margin(pairs),
        length=statistics.length_bias(pairs, rewards, grades, lengths),
        by_length=statistics.by_length_difference(pairs),
        best_of=statistics.best_of_curve(rewards, grades),
        notes=list(prepared.notes),
    )


def by_subset(pairs: statistics.Pairs, names: Sequence[str]) -> dict[str, Estimate]:
    """Accuracy by subset, in alphabetical order; nothing where no row has one."""
    if not any(names):
        return {}
    of_pair = [names[row] or "(none)" for row in pairs.row.tolist()]
    found = np.array(of_pair)
    return {name: pairs.accuracy(found == name) for name in sorted(set(of_pair))}
