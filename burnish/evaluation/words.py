"""A report in words, for the terminal and for the page alike."""

from __future__ import annotations

import math

from burnish import units
from burnish.evaluation.report import RewardReport
from burnish.evaluation.statistics import LENGTH_EDGES, Estimate, Group


def interval(estimate: Estimate) -> str:
    """`46.2 to 58.4 %`."""
    return units.share_range(estimate.low, estimate.high) if estimate.rows else units.UNKNOWN


def number(value: float) -> str:
    """Three significant digits."""
    return "–" if math.isnan(value) else f"{value:.3g}"


def score(value: float) -> str:
    """A grade in a column of them."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def signed(value: float) -> str:
    """A correlation: `+0.31`."""
    return "–" if math.isnan(value) else f"{value:+.2f}".replace("-", "−")


def signed_range(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "–"
    return f"{signed(estimate.low)} to {signed(estimate.high)}"


def rows(count: float, noun: str = "row") -> str:
    return units.counted(round(count), noun)


def verdict(report: RewardReport) -> str:
    """The report in one sentence."""
    found = report.accuracy
    head = f"Right on {units.share(found.value)} of {rows(found.rows)} (95 % interval {interval(found)})"
    if found.low > 0.5:
        return f"{head}."
    if found.high < 0.5:
        return f"{head}: worse than chance."
    return f"{head}: not significantly different from chance (50 %)."


def lost(report: RewardReport) -> str:
    """What was read and not measured; empty where nothing was."""
    parts = [f"{rows(count)} {reason}" for reason, count in report.dropped.items()]
    if report.undecided:
        parts.append(f"{rows(report.undecided)} without a better completion")
    return ", ".join(parts)


def length_name(group: Group) -> str:
    """`10 to 25 % longer`."""
    low, high = sorted((abs(group.low), abs(group.high)))
    if group.low < 0 < group.high:
        return f"within {100 * high:.0f} %"
    way = "longer" if group.low > 0 else "shorter"
    if high == LENGTH_EDGES[-1]:
        return f"over {100 * low:.0f} % {way}"
    return f"{100 * low:.0f} to {100 * high:.0f} % {way}"


def margin_name(group: Group) -> str:
    return f"{group.low:.2f} to {group.high:.2f}"


def length_meaning(report: RewardReport) -> str:
    """Whether the model follows length, whichever completion is better.

    Not whether it prefers long ones oftener than people do: one that guesses does so too, where people prefer
    short ones.
    """
    bias = report.length
    if not bias.longer_preferred.rows:
        return "All completions of a pair are equally long."
    head = (
        f"The longer completion has the higher reward in {units.share(bias.longer_preferred.value)} of "
        f"pairs, and is the better one in {units.share(bias.longer_better.value)}."
    )
    if bias.at_equal_grade.low > 0:
        return f"{head} Length bias: of equally good completions the longer one gets the higher reward."
    if bias.at_equal_grade.high < 0:
        return f"{head} Length bias: of equally good completions the shorter one gets the higher reward."
    return f"{head} No significant length bias."


def calibration_meaning(report: RewardReport) -> str:
    claimed = sum(b.confidence * b.accuracy.rows for b in report.reliability)
    weight = sum(b.accuracy.rows for b in report.reliability)
    gap = claimed / weight - report.accuracy.value
    way = "claims more than comes true" if gap > 0 else "claims less than comes true"
    return (
        f"Confidence is sigmoid(|margin|), 50 % and up. On average the model claims "
        f"{units.share(claimed / weight)} and is right in {units.share(report.accuracy.value)}: it {way}."
    )
