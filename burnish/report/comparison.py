"""Before and after: `comparison.json`, the answers of several models to the same held-out prompts.

Of the measures, a score by a function says most, then what a judge, a person or a reward model says; length
says nothing of quality and never decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.evaluation import statistics
from burnish.evaluation.statistics import Estimate
from burnish.pages.charts import interval
from burnish.pages.series import round_axis
from burnish.report.folder import figure, listed, mapping, word

ORDER = ("score", "judge", "person", "reward", "loss")
NAMES = {
    "judge": "judged by a model",
    "person": "judged by a person",
    "reward": "reward of the answers",
    "length": "length of the answers",
    "finished": "finished answers",
    "loss": "loss on the reference answers",
}
SHOWN, LISTED = 4, 24  # prompts whose answers are open, and those that unfold
UNNAMED = ("", "share", "score", "reward")  # units that say nothing beside the name of the measure


@dataclass(frozen=True)
class Mean:
    model: str
    value: float | None
    low: float | None
    high: float | None
    text: str
    range: str
    plot: Markup


@dataclass(frozen=True)
class Duel:
    """How often the later of two models has the better answer."""

    names: str
    rate: str
    range: str
    corrected: str  # with the influence of length taken out
    prompts: str
    verdict: str
    plot: Markup


@dataclass(frozen=True)
class MeasureView:
    key: str
    name: str
    note: str
    means: list[Mean]
    duels: list[Duel]
    notes: list[str]

    @property
    def counts(self) -> bool:
        """Whether it says anything of quality."""
        return self.key.split(":")[0] in ORDER

    @property
    def has_means(self) -> bool:
        return any(mean.value is not None for mean in self.means)

    @property
    def has_corrected(self) -> bool:
        return any(duel.corrected for duel in self.duels)


@dataclass(frozen=True)
class Answer:
    model: str
    text: str
    marks: str  # score and reward


@dataclass(frozen=True)
class Answers:
    prompt: str
    reference: str
    answers: list[Answer]


@dataclass(frozen=True)
class Outcome:
    """Whether the last model is better than the first, as `statistics.verdict` says it."""

    way: str
    name: str
    before_model: str
    after_model: str
    before: str
    after: str
    rose: bool
    prompts: int


@dataclass(frozen=True)
class Comparison:
    lead: str
    notes: list[str]
    models: list[tuple[str, str]]
    measures: list[MeasureView]
    answers: list[Answers]
    folded: list[Answers]
    left_out: int
    outcome: Outcome | None

    @property
    def main(self) -> MeasureView | None:
        return self.measures[0] if self.measures and self.measures[0].counts else None


def comparison_of(found: Mapping[str, Any]) -> Comparison | None:
    models = [
        word(mapping(each).get("name")) or f"model {i}" for i, each in enumerate(listed(found.get("models")))
    ]
    if not models:
        return None
    raw = sorted(map(mapping, listed(found.get("measures"))), key=lambda each: rank(word(each.get("name"))))
    rows = [answers_of(mapping(each), models) for each in listed(found.get("answers"))]
    paths = [word(mapping(each).get("path")) for each in listed(found.get("models"))]
    return Comparison(
        lead=lead(found),
        notes=[each for each in listed(found.get("notes")) if isinstance(each, str)],
        models=list(zip(models, paths, strict=True)),
        measures=[measure_view(each, models) for each in raw],
        answers=rows[:SHOWN],
        folded=rows[SHOWN : SHOWN + LISTED],
        left_out=max(len(rows) - SHOWN - LISTED, 0),
        outcome=outcome(raw, models, prompts_of(found)),
    )


def rank(name: str) -> int:
    kind = name.split(":")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def prompts_of(found: Mapping[str, Any]) -> int:
    return int(figure(mapping(found.get("prompts")).get("rows")) or len(listed(found.get("answers"))))


def lead(found: Mapping[str, Any]) -> str:
    prompts, sampling = mapping(found.get("prompts")), mapping(found.get("sampling"))
    name = PurePath(word(prompts.get("name"))).name
    told = f"{prompts_of(found):,} prompts" + (f" of {name}" if name else "")
    temperature = figure(sampling.get("temperature"))
    how = "greedily" if temperature == 0 else "" if temperature is None else f"at temperature {temperature:g}"
    tokens = figure(sampling.get("max_new_tokens"))
    limit = f", {tokens:.0f} tokens at most" if tokens else ""
    return f"The same {told}, answered {how}{limit}." if how else f"The same {told}."


def measure_view(found: Mapping[str, Any], models: Sequence[str]) -> MeasureView:
    key, unit = word(found.get("name")), word(found.get("unit"))
    values = [mapping(each) for each in listed(found.get("models"))]
    numbers = [figure(each.get(k)) for each in values for k in ("mean", "low", "high")]
    known = [number for number in numbers if number is not None]
    in_share = is_share(unit, known)
    axis = round_axis(min(known), max(known)) if known else None
    ends = (0.0, 1.0) if in_share else (axis.low, axis.high) if axis else (0.0, 1.0)
    higher = found.get("higher_is_better")
    direction = "higher is better" if higher is True else "lower is better" if higher is False else ""
    shown_unit = "" if in_share or unit in UNNAMED else f"in {unit}"
    told = [each for each in listed(found.get("notes")) if isinstance(each, str)]
    return MeasureView(
        key=key,
        name=measure_name(key),
        note="; ".join(filter(None, [shown_unit, direction])),
        means=[mean_of(name, each, in_share, ends) for name, each in zip(models, values, strict=False)],
        duels=[
            duel_of(pair, models, higher is not False)
            for pair in map(mapping, listed(found.get("pairs")))
            if figure(pair.get("win_rate")) is not None
        ],
        notes=told,
    )


def measure_name(key: str) -> str:
    """`score:task.py:grade` as `score by grade`."""
    kind, _, rest = key.partition(":")
    if kind == "score" and rest:
        return f"score by {rest.rpartition(':')[2] or rest}"
    return NAMES.get(key, key or "measure")


def is_share(unit: str, values: Sequence[float]) -> bool:
    return unit in ("share", "%", "percent", "win rate") and all(0 <= value <= 1 for value in values)


def number(value: float | None, in_share: bool) -> str:
    return units.share(value) if in_share else units.metric(value)


def mean_of(model: str, found: Mapping[str, Any], in_share: bool, ends: tuple[float, float]) -> Mean:
    value, low, high = (figure(found.get(key)) for key in ("mean", "low", "high"))
    there = value is not None and low is not None and high is not None
    return Mean(
        model,
        value,
        low,
        high,
        number(value, in_share),
        f"{number(low, in_share)} to {number(high, in_share)}" if there else "–",
        interval(value, low, high, 0.0 if ends[0] < 0 < ends[1] else None, ends)  # type: ignore[arg-type]
        if there
        else Markup(""),
    )


def named(value: Any, models: Sequence[str]) -> str:
    """A model that a pair names, by its name or its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(models):
        return models[value]
    return word(value)


def duel_of(found: Mapping[str, Any], models: Sequence[str], higher_is_better: bool = True) -> Duel:
    first, second = named(found.get("a"), models), named(found.get("b"), models)
    rate, low, high = (figure(found.get(key)) for key in ("win_rate", "low", "high"))
    corrected = figure(found.get("length_controlled"))
    if is_turned(found, models):
        first, second = second, first  # the later model is the one that is asked about
        rate, low, high, corrected = flipped(rate), flipped(high), flipped(low), flipped(corrected)
    known = rate is not None and low is not None and high is not None
    won = Estimate(rate, low, high, 0) if known else None  # type: ignore[arg-type]
    n = figure(found.get("n"))
    return Duel(
        names=f"{first} against {second}",
        rate=number(rate, True),
        range=units.share_range(low, high),
        corrected="" if corrected is None else units.share(corrected),
        prompts="" if n is None else f"{n:,.0f}",
        verdict=statistics.verdict(difference_of(found, models), won, higher_is_better),
        plot=interval(rate, low, high) if known else Markup(""),  # type: ignore[arg-type]
    )


def flipped(share: float | None) -> float | None:
    return None if share is None else 1 - share


def difference_of(pair: Mapping[str, Any], models: Sequence[str]) -> Estimate | None:
    """The mean of the later model less that of the earlier one, with its interval."""
    found = mapping(pair.get("difference"))
    value, low, high = (figure(found.get(key)) for key in ("mean", "low", "high"))
    if value is None or low is None or high is None:
        return None
    if is_turned(pair, models):
        value, low, high = -value, -high, -low
    return Estimate(value, low, high, 0)


def is_turned(pair: Mapping[str, Any], models: Sequence[str]) -> bool:
    """Whether a pair tells of the earlier model against the later one."""
    first, second = named(pair.get("a"), models), named(pair.get("b"), models)
    return {first, second} <= set(models) and models.index(second) > models.index(first)


def outcome(measures: Sequence[Mapping[str, Any]], models: Sequence[str], prompts: int) -> Outcome | None:
    """The last model against the first, by the measure that says most; None where none says anything."""
    for found in measures:
        key = word(found.get("name"))
        if len(models) < 2 or rank(key) == len(ORDER):
            continue
        view = measure_view(found, models)
        pair = f"{models[-1]} against {models[0]}"
        duel = next((each for each in view.duels if each.names == pair), None)
        before, after = (view.means[0], view.means[-1]) if len(view.means) == len(models) else (None, None)
        if before and after and before.value is not None and after.value is not None:
            way = way_of(before, after, found.get("higher_is_better") is not False, duel)
            return Outcome(
                way,
                view.name,
                models[0],
                models[-1],
                before.text,
                after.text,
                after.value > before.value,
                prompts,
            )
        if duel is not None and duel.verdict:
            return Outcome(duel.verdict, view.name, models[0], models[-1], "", duel.rate, True, prompts)
    return None


def way_of(before: Mean, after: Mean, higher_is_better: bool, duel: Duel | None) -> str:
    """By the paired comparison where there is one, else by intervals that do not overlap."""
    if duel is not None and duel.verdict:
        return duel.verdict
    if None in (before.low, before.high, after.low, after.high):
        return ""
    up, down = after.low > before.high, after.high < before.low  # type: ignore[operator]
    if not up and not down:
        return statistics.NOT_SIGNIFICANT
    return statistics.BETTER if up == higher_is_better else statistics.WORSE


# Answers


def answers_of(found: Mapping[str, Any], models: Sequence[str]) -> Answers:
    texts, scores, rewards, ended = (
        listed(found.get(key)) for key in ("answers", "scores", "rewards", "finished")
    )
    return Answers(
        prompt_text(found.get("prompt")),
        prompt_text(found.get("reference")),
        [
            Answer(model, word(text), marks(at(scores, i), at(rewards, i), ended[i : i + 1] == [False]))
            for i, (model, text) in enumerate(zip(models, texts, strict=False))
        ],
    )


def at(values: Sequence[Any], index: int) -> float | None:
    return figure(values[index]) if index < len(values) else None


def marks(score: float | None, reward: float | None, is_cut: bool) -> str:
    told = [f"score {score:g}"] if score is not None else []
    told += [f"reward {units.metric(reward)}"] if reward is not None else []
    return ", ".join([*told, *(["cut off"] if is_cut else [])])


def prompt_text(prompt: Any) -> str:
    """A text, or a chat as one: a single turn of a user bare, others with their roles."""
    if isinstance(prompt, str):
        return prompt
    turns = [mapping(each) for each in listed(prompt)]
    said = [(word(turn.get("role")), word(turn.get("content"))) for turn in turns]
    if len(said) == 1:
        return said[0][1]
    return "\n".join(f"{role}: {content}" for role, content in said)
