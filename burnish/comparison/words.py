"""A comparison in words, for the terminal and for the page alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from burnish import units
from burnish.comparison.result import SHARE, Comparison, Measure, Pair
from burnish.evaluation import statistics
from burnish.evaluation.statistics import Estimate

NAMES = {
    "loss": "eval loss",
    "reward": "reward",
    "length": "length",
    "finished": "finished",
    "judge": "judged better",
    "person": "voted better",
}
SHOWN_DIGITS = 4


def title(measure: Measure) -> str:
    """`eval loss`, `grade (task.py)`."""
    kind, _, rest = measure.name.partition(":")
    if kind == "score" and rest:
        place, colon, name = rest.rpartition(":")
        return f"{name} ({place})" if colon else rest
    found = NAMES.get(kind, kind)
    return f"{found} ({rest})" if rest else found


def value(number: float | None, unit: str) -> str:
    """A value in its unit: `58.3 %`, `1.240`, `212`."""
    if number is None or math.isnan(number):
        return "–"
    if unit == SHARE:
        return units.share(number)
    if unit == "characters":
        return f"{number:,.0f}"
    return f"{number:,.3f}" if abs(number) < 1000 else f"{number:,.0f}"


def interval(found: Estimate, unit: str) -> str:
    """`51.0 to 73.0 %`. Values that are all the same say nothing of the prompts to come."""
    if math.isnan(found.value):
        return "–"
    if found.low == found.high:
        return "all the same" if found.rows > 1 else "one prompt"
    if unit == SHARE:
        return units.share_range(found.low, found.high)
    return f"{value(found.low, unit)} to {value(found.high, unit)}"


def change(found: Estimate, unit: str) -> str:
    """A difference with its sign: `+12.5 points`, `−0.210`."""
    if math.isnan(found.value):
        return "–"
    text = f"{100 * found.value:+.1f} points" if unit == SHARE else _signed(found.value, unit)
    return text.replace("-", "\N{MINUS SIGN}")


def change_interval(found: Estimate, unit: str) -> str:
    if math.isnan(found.value):
        return "–"
    low, high = (f"{100 * v:+.1f}" if unit == SHARE else _signed(v, unit) for v in (found.low, found.high))
    return f"{low} to {high}".replace("-", "\N{MINUS SIGN}")


def _signed(number: float, unit: str) -> str:
    text = value(abs(number), unit)
    return f"{'-' if number < 0 else '+'}{text}"


def verdict(comparison: Comparison, measure: Measure, pair: Pair) -> str:
    """Which of two models is better by this measure, or that the difference is not significant."""
    later, earlier = comparison.names[pair.of], comparison.names[pair.against]
    found = pair.difference
    more_is_better = measure.higher_is_better is not False
    told = statistics.verdict(found, pair.wins.rate if pair.wins else None, more_is_better)
    if told == statistics.MIXED:
        assert found is not None
        first, second = (later, earlier) if (found.value > 0) == more_is_better else (earlier, later)
        return f"mixed: {first} has the better mean, {second} wins more prompts"
    if told not in (statistics.BETTER, statistics.WORSE):
        return told or "not known"
    winner = later if told == statistics.BETTER else earlier
    return f"{winner} has more" if measure.higher_is_better is None else f"{winner} is better"


def rate(pair: Pair) -> str:
    """`62.5 % (51.0 to 73.0 %), 9 wins, 2 ties, 5 losses`."""
    wins = pair.wins
    if wins is None or math.isnan(wins.rate.value):
        return "–"
    return f"{value(wins.rate.value, SHARE)} ({interval(wins.rate, SHARE)})"


def tally(pair: Pair) -> str:
    wins = pair.wins
    if wins is None:
        return ""
    return ", ".join(
        (
            units.counted(wins.wins, "win"),
            units.counted(wins.ties, "tie"),
            units.counted(wins.losses, "loss", "losses"),
        )
    )


def controlled(pair: Pair) -> str:
    found = pair.wins.length_controlled if pair.wins else None
    return "–" if found is None else f"{value(found.value, SHARE)} ({interval(found, SHARE)})"


def most_telling(comparison: Comparison, count: int) -> list[int]:
    """Places of the prompts at which the models differ most by the first measures, in order; no more."""

    def differ(place: int) -> tuple[float, ...]:
        found = []
        for measure in comparison.measures:
            if measure.higher_is_better is None or measure.name == "finished":
                continue
            row = (measure.values or measure.verdicts or [])[place]
            known = [each for each in row if each is not None]
            if measure.verdicts is not None:
                found.append(max((abs(each - 0.5) for each in known), default=0.0))
            else:
                found.append(max(known, default=0.0) - min(known, default=0.0))
        texts = {comparison.answered.answer(place, m) for m in range(len(comparison.names))}
        return (*found, float(len(texts)))

    order = sorted(range(len(comparison.prompts.rows)), key=lambda p: tuple(-d for d in differ(p)))
    return order[:count]


def listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
