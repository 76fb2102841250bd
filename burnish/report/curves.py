"""The curves of a stage: which metrics stand in one chart, and the same numbers as tables.

Of a metric alone, training is a line and evaluation dots of another color; of a chosen and a rejected side,
each has its color, and the evaluation is dots of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from markupsafe import Markup

from burnish import units
from burnish.pages.series import Axis, Series, log_axis, round_axis, series, smoothed, step_axis, thinned
from burnish.pages.svg import Point
from burnish.report.history import History

TABLE_ROWS = 12
WIDE_RANGE = 100  # of a gradient norm, from which on powers of ten are readable and a plain axis is not


@dataclass(frozen=True)
class Spec:
    """A chart: its metrics with the names of their lines (one alone has none), and what it means."""

    title: str
    metrics: Mapping[str, str]
    meaning: str
    share: bool = False  # its values are shares of 1
    bytes: bool = False
    powers: bool = False  # may have an axis of powers of ten
    smooth: Callable[[Sequence[float]], float] | None = fmean  # None: as it was logged

    def text(self, value: float) -> str:
        return units.share(value) if self.share else units.size(value) if self.bytes else units.metric(value)


RANKED = "pairs whose chosen answer scores higher; half is chance"

SPECS = (
    Spec("Loss", {"loss": ""}, "what training lowers"),
    Spec("Accuracy", {"rewards/accuracies": ""}, RANKED, share=True),
    Spec("Accuracy", {"accuracy": ""}, RANKED, share=True),
    Spec("Best-of-list accuracy", {"best_accuracy": ""}, "lists whose best is ranked first", share=True),
    Spec("Margin", {"rewards/margins": ""}, "reward of chosen less that of rejected"),
    Spec("Margin", {"margin": ""}, "reward of chosen less that of rejected"),
    Spec(
        "Rewards",
        {"rewards/chosen": "chosen", "rewards/rejected": "rejected"},
        "how far the policy moved from the reference",
    ),
    Spec("Token accuracy", {"mean_token_accuracy": ""}, "higher is better", share=True),
    Spec(
        "Log-probabilities",
        {"logps/chosen": "chosen", "logps/rejected": "rejected"},
        "of whole answers; a chosen one that falls is a warning",
    ),
    Spec("Mean reward", {"mean_reward": ""}, "of all answers"),
    Spec("Divergence", {"kl": ""}, "from the reference"),
    Spec("Forward divergence", {"forward_kl": ""}, "of the student from the teacher"),
    Spec("Reverse divergence", {"reverse_kl": ""}, "of the student from the teacher"),
    Spec("Entropy", {"entropy": ""}, "of the next token; near zero the model is sure of itself"),
    Spec("Learning rate", {"learning_rate": ""}, "as scheduled", smooth=None),
    Spec("Gradient norm", {"grad_norm": ""}, "before clipping", powers=True, smooth=median),
    Spec("Tokens per second", {"tokens_per_second": ""}, "speed of training"),
    Spec("Peak memory", {"peak_bytes": ""}, "of the process", bytes=True, smooth=None),
)
"""In the order of the page. What is in none of them is shown after them, under its own name."""

FOLDED = {"Log-probabilities", "Entropy", "Tokens per second", "Peak memory", "Mean reward"}
"""Charts that are there for those who look for them."""


@dataclass(frozen=True)
class CurveChart:
    title: str
    caption: str
    svg: Markup
    head: list[str]
    table: list[list[str]]
    note: str = ""
    folded: bool = False


def curve_charts(found: Mapping[str, History]) -> list[CurveChart]:
    """A chart for every metric that was logged."""
    named = {name for spec in SPECS for name in spec.metrics}
    others = [Spec(name, {name: ""}, "") for name in found if name not in named]
    charts = []
    for spec in (*SPECS, *others):
        histories = [found[name] for name in spec.metrics if name in found]
        if any(history.training or history.evaluation for history in histories):
            charts.append(chart(spec, histories, folded=spec.title in FOLDED or spec in others))
    return charts


def chart(spec: Spec, histories: Sequence[History], folded: bool = False) -> CurveChart:
    lines = lines_of(spec, histories)
    everything = [point for each in lines for point in (*each.points, *each.raw)]
    first, last = (pick(step for step, _ in everything) for pick in (min, max))
    across = step_axis(last, 0.0 if first <= max(1.0, 0.1 * last) else first)
    up, note = height_axis(spec, [value for _, value in everything])
    broken = sum(history.broken for history in histories)
    notes = [note, f"{units.counted(broken, 'value')} not finite and left out" if broken else ""]
    return CurveChart(
        title=spec.title,
        caption=spec.meaning,
        svg=series(lines, name_of(spec, histories), across, up),
        head=["step", *(each.head for each in columns(spec, histories))],
        table=table(spec, histories),
        note="; ".join(filter(None, notes)),
        folded=folded,
    )


def lines_of(spec: Spec, histories: Sequence[History]) -> list[Series]:
    """The lines of training first, the dots of evaluations over them."""
    kinds = ("kept", "rest") if len(spec.metrics) > 1 else ("kept", "other")
    lines, dots = [], []
    for index, history in enumerate(histories):
        side = spec.metrics[history.name]
        own = kinds[index] if side else "kept"
        if history.training:
            raw = thinned(history.training)
            smooth = smoothed(history.training, spec.smooth) if spec.smooth else raw
            raw = raw if smooth != raw else []
            label = f"{side or 'train'} {spec.text(smooth[-1][1])}" if side or history.evaluation else ""
            label = label or spec.text(smooth[-1][1])
            lines.append(Series(side or "training", own, smooth, raw, label=label))
        if history.evaluation:
            points = thinned(history.evaluation)
            label = "" if side else f"eval {spec.text(points[-1][1])}"
            name = f"{side} in evaluation".strip() if side else "evaluation"
            dots.append(Series(name, own if side else "other", points, dots=True, label=label))
    return [*lines, *dots]


def height_axis(spec: Spec, values: Sequence[float]) -> tuple[Axis, str]:
    low, high = min(values), max(values)
    if spec.powers and low > 0 and high / low >= WIDE_RANGE:
        return log_axis(low, high), "the axis has powers of ten"
    if spec.bytes:
        scaled = round_axis(low / 1e9, high / 1e9)
        ticks = [(value * 1e9, f"{label} GB") for value, label in scaled.ticks]
        return Axis(scaled.low * 1e9, scaled.high * 1e9, ticks), ""
    return round_axis(low, high, percent=spec.share), ""


@dataclass(frozen=True)
class Column:
    head: str
    points: Sequence[Point]
    text: Callable[[float], str]


def columns(spec: Spec, histories: Sequence[History]) -> list[Column]:
    found = []
    for history in histories:
        side = f"{spec.metrics[history.name]}, " if spec.metrics[history.name] else ""
        if history.training:
            found.append(Column(f"{side}training", history.training, spec.text))
        if history.evaluation:
            found.append(Column(f"{side}evaluation", history.evaluation, spec.text))
    return found


def table(spec: Spec, histories: Sequence[History]) -> list[list[str]]:
    """About a dozen steps, those of evaluations where there are any; values as they were logged."""
    made = columns(spec, histories)
    evaluated = sorted({step for history in histories for step, _ in history.evaluation})
    steps = sorted({step for history in histories for step in history.steps})
    ends = {steps[0], steps[-1]}
    shown = sorted({*ends, *evenly(evaluated if len(evaluated) > 2 else steps, TABLE_ROWS)})
    values = [dict(column.points) for column in made]
    return [
        [
            f"{step:,.0f}",
            *(c.text(v[step]) if step in v else "–" for c, v in zip(made, values, strict=True)),
        ]
        for step in shown
    ]


def evenly(values: Sequence[float], count: int) -> list[float]:
    """At most `count` of them, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(index * (len(values) - 1) / (count - 1))] for index in range(count)]


def name_of(spec: Spec, histories: Sequence[History]) -> str:
    """`Loss over 60 steps: training from 2.31 to 0.31, evaluation from 2.35 to 0.35`."""
    last = max(step for history in histories for step in history.steps)
    parts = [
        f"{column.head} from {column.text(column.points[0][1])} to {column.text(column.points[-1][1])}"
        if len(column.points) > 1
        else f"{column.head} {column.text(column.points[0][1])}"
        for column in columns(spec, histories)
    ]
    return f"{spec.title} over {units.counted(round(last), 'step')}: {', '.join(parts)}"
