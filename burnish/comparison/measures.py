"""Measures of answers: by a function, by a reward model, by their length, by the loss on reference answers.

A measure has a `name`, a `check` that finds what is wrong with it before a model is loaded, and is called
with the answers. `judge.py` and `votes.py` have two more.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from burnish.comparison import statistics
from burnish.comparison.answering import Progress
from burnish.comparison.prompts import Asked
from burnish.comparison.result import SHARE, Answered, Measure, Pair, Values, by_values
from burnish.comparison.statistics import WinRate
from burnish.data.example import Text
from burnish.data.sources.rows import load_function
from burnish.errors import UserError, shorten
from burnish.evaluation.reward_model import RewardModel


class Measuring(Protocol):
    @property
    def name(self) -> str: ...

    def check(self) -> None:
        """Raise `UserError` for what cannot work."""

    def __call__(self, answered: Answered, progress: Progress) -> Measure: ...


# A function of one's own


@dataclass(frozen=True)
class Score:
    """A function `path/file.py:name` or `module:name`, or a function itself, that grades an answer.

    It is called as `f(prompt=, answer=, **columns of the row)` with those of these names that it takes, and
    of `reference` (the reference answer) and `row` (all columns) where it names them. It returns a number,
    true or false, or None where there is nothing to say. A row's own column `answer` is in `row`.
    """

    function: str | Callable[..., Any]

    @property
    def name(self) -> str:
        given = self.function
        return f"score:{given if isinstance(given, str) else getattr(given, '__name__', 'function')}"

    def check(self) -> None:
        if not callable(self._called):
            raise UserError("it cannot be called", where=self.name, fix="name a function")

    def __call__(self, answered: Answered, progress: Progress) -> Measure:
        values: Values = []
        kinds: set[type] = set()
        for place, row in enumerate(answered.rows):
            found = [self._grade(row, answered.answer(place, m)) for m in range(len(answered.models))]
            kinds |= {type(each) for each in found}
            values.append([None if each is None else float(each) for each in found])
            progress(self.name, place + 1, len(answered.rows))
        known = {each for row in values for each in row if each is not None}
        if not known:
            raise UserError(
                "it returned None for every answer", where=self.name, fix="return a number or a bool"
            )
        missing = sum(each is None for row in values for each in row)
        notes = [f"{missing:,} answers got no score (None)"] if missing else []
        # Bools, or floats of 0 and 1, say right or wrong; whole numbers may be counts of anything.
        unit = SHARE if known <= {0.0, 1.0} and int not in kinds else "score"
        return by_values(answered, self.name, unit, values, notes=notes)

    def _grade(self, row: Asked, answer: str) -> Any:
        place = f"{self.name}, {row.origin}"
        try:
            found = self._called(**self._arguments(row, answer))
        except Exception as error:  # a person's own function raises anything
            raise UserError(
                f"it raised {type(error).__name__}: {error}",
                where=place,
                fix="mend the function, or let it return None for such a row",
            ) from error
        if found is None or isinstance(found, bool | np.bool_):
            return found
        if not isinstance(found, int | float | np.number) or not math.isfinite(float(found)):
            raise UserError(
                f"it returned {shorten(found)}", where=place, fix="return a finite number, a bool or None"
            )
        return found

    def _arguments(self, row: Asked, answer: str) -> dict[str, Any]:
        given = {"prompt": row.prompt, "answer": answer}
        offered = {**row.columns, "reference": row.reference, "row": dict(row.columns), **given}
        names, takes_all = self._names
        chosen = {name: offered[name] for name in names if name in offered}
        return {**row.columns, **given, **chosen} if takes_all else chosen

    @cached_property
    def _called(self) -> Callable[..., Any]:
        return load_function(self.function) if isinstance(self.function, str) else self.function

    @cached_property
    def _names(self) -> tuple[list[str], bool]:
        """Names of the function's parameters, and whether it takes any others."""
        parameters = inspect.signature(self._called).parameters.values()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)], takes_all


# A reward model


@dataclass(frozen=True)
class Reward:
    """The reward of a reward model: of answers, and of which of two has more."""

    model: str | RewardModel
    dtype: str = "auto"
    name: str = "reward"

    def check(self) -> None:
        if isinstance(self.model, str):
            from burnish.evaluation.reward_model import require_reward_head

            require_reward_head(self.model, {})

    def __call__(self, answered: Answered, progress: Progress) -> Measure:
        given = self.model
        model = RewardModel.load(given, dtype=self.dtype) if isinstance(given, str) else given
        values: Values = []
        faults: list[UserError] = []
        for place, row in enumerate(answered.rows):
            texts = [answered.answer(place, m) for m in range(len(answered.models))]
            try:
                rewards = _rewards(model, row, sorted(set(texts)))
            except UserError as error:
                faults.append(error)
                rewards = {}
            values.append([rewards.get(text) for text in texts])
            progress(self.name, place + 1, len(answered.rows))
        if len(faults) == len(answered.rows):
            raise faults[0].at(f"--reward {model.__name__}")
        notes = [f"{len(faults):,} prompts without rewards: {faults[0].what}"] if faults else []
        return by_values(answered, self.name, "reward", values, notes=notes)


def _rewards(model: RewardModel, row: Asked, texts: list[str]) -> dict[str, float]:
    """The reward of each text. They are one tree, in which the prompt is computed once."""
    prompts: list[Text] = [row.prompt] * len(texts)
    columns = {name: [value] * len(texts) for name, value in row.example.columns.items()}
    return dict(zip(texts, model(prompts=prompts, completions=texts, **columns), strict=True))


# What is always there


def length(answered: Answered) -> Measure:
    """Of answers, in characters, by which models of different tokenizers can be compared."""
    values: Values = [
        [float(len(answered.answer(row, m))) for m in range(len(answered.models))]
        for row in range(len(answered.rows))
    ]
    return by_values(answered, "length", "characters", values, higher_is_better=None)


def finished(answered: Answered) -> Measure:
    """The share of answers that ended by themselves, and not where the tokens ran out."""
    values: Values = [
        [float(said.answers[row].finished) for said in answered.said] for row in range(len(answered.rows))
    ]
    return by_values(answered, "finished", SHARE, values, control_length=False)


def loss(answered: Answered) -> Measure | None:
    """The mean of `-log p` per token of the reference answers; None where no row has one."""
    count = len(answered.models)
    known = [row for row in range(len(answered.rows)) if all(said.losses[row] for said in answered.said)]
    if not known:
        return None
    nats, tokens = np.full((2, count, len(answered.rows)), math.nan)
    for row in known:
        for model, said in enumerate(answered.said):
            found = said.losses[row]
            assert found is not None
            nats[model, row], tokens[model, row] = found.nats, found.tokens
    ratios, seed = nats / tokens, answered.seed
    pairs = []
    for a, b in answered.pairs:
        wins = WinRate.of(statistics.wins(ratios[b], ratios[a], higher_is_better=False), seed=seed)
        difference = statistics.ratio_difference((nats[b], tokens[b]), (nats[a], tokens[a]), seed)
        pairs.append(Pair(a, b, wins, difference))
    notes = [] if np.array_equal(tokens.min(0), tokens.max(0), equal_nan=True) else [OTHER_TOKENS]
    if len(known) < len(answered.rows):
        notes.append(f"over the {len(known):,} prompts that have a reference answer")
    values = [[_or_none(each) for each in row] for row in ratios.T.tolist()]
    estimates = [statistics.ratio(nats[m], tokens[m], seed) for m in range(count)]
    return Measure("loss", "nats per token", False, estimates, pairs, values=values, notes=notes)


OTHER_TOKENS = (
    "the models cut the reference answers into different tokens, so losses per token do not compare"
)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
