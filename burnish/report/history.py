"""`metrics.jsonl` as one history a metric: its values in training, and those of evaluations.

A log of training has `loss`, one of an evaluation `eval_loss`; both are of the metric `loss`. A resumed run
logs some steps twice: the later value counts. Before the first step policy and reference are equal, all
margins are 0 and no pair is ranked: an accuracy that was logged as 0 is no measurement then, and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.pages.svg import Point
from burnish.report.folder import figure

PREFIX = "eval_"
NOT_METRICS = {"step", "epoch", "seconds", "total_flos", "num_tokens", "num_input_tokens_seen"}
RANKED = "rewards/accuracies"
TIMINGS = ("_runtime", "_per_second", "_model_preparation_time", "_num_tokens")  # of an evaluation
SUMMARY = "train_"  # what a run says of itself at its end


@dataclass
class History:
    """Points are (step, value), rising in steps. `broken`: logged values that are no finite numbers."""

    name: str
    training: list[Point] = field(default_factory=list)
    evaluation: list[Point] = field(default_factory=list)
    broken: int = 0

    @property
    def steps(self) -> list[float]:
        return sorted({step for step, _ in [*self.training, *self.evaluation]})


def histories(rows: Sequence[Mapping[str, Any]]) -> dict[str, History]:
    """By the name of the metric, in the order of their first log."""
    found: dict[str, tuple[History, dict[float, float], dict[float, float]]] = {}
    for row in rows:
        step = figure(row.get("step"))
        if step is None:
            continue
        for key, value in row.items():
            name = metric_of(key)
            if name is None or (name == RANKED and unranked(row, key)):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                continue  # null is a number that was not finite
            history, training, evaluation = found.setdefault(name, (History(name), {}, {}))
            number = figure(value)
            if number is None:
                history.broken += 1
            else:
                (evaluation if key.startswith(PREFIX) else training)[step] = number
    for history, training, evaluation in found.values():
        history.training, history.evaluation = sorted(training.items()), sorted(evaluation.items())
    return {name: history for name, (history, _, _) in found.items()}


def unranked(row: Mapping[str, Any], key: str) -> bool:
    """Whether policy and reference are equal, so that their margin ranks nothing."""
    return row.get(key.replace(RANKED, "rewards/margins")) == 0 and row.get(key) == 0


def metric_of(key: str) -> str | None:
    """The metric that a key of a log is of; None for what is none, such as times."""
    if key.startswith(PREFIX):
        key = key.removeprefix(PREFIX)
        return None if key.endswith(TIMINGS) or f"_{key}".endswith(TIMINGS) else key
    return None if key in NOT_METRICS or key.startswith(SUMMARY) else key


def last_step(rows: Sequence[Mapping[str, Any]]) -> int:
    return int(max((figure(row.get("step")) or 0 for row in rows), default=0))
