"""The main number of a stage, before and after, and the report in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from burnish import units
from burnish.evaluation.statistics import share
from burnish.report.history import History


@dataclass(frozen=True)
class Measure:
    metric: str
    name: str
    higher_is_better: bool
    share: bool = False

    def text(self, value: float | None) -> str:
        return units.share(value) if self.share else units.metric(value)


LOSS = Measure("loss", "loss", higher_is_better=False)
RANKED = (
    Measure("rewards/accuracies", "accuracy", higher_is_better=True, share=True),
    Measure("best_accuracy", "best-of-list accuracy", higher_is_better=True, share=True),
    Measure("accuracy", "accuracy", higher_is_better=True, share=True),
    Measure("rewards/margins", "margin", higher_is_better=True),
    LOSS,
)
STEPS = (Measure("accuracy", "step accuracy", higher_is_better=True, share=True), LOSS)
MEASURES = {"sft": (LOSS,), "gkd": (LOSS,), "prm": STEPS}
"""What says of a method whether it learns; of all others it is `RANKED`, as far as it was logged."""

EPSILON = 1e-9
MOST_DIGITS = 7


@dataclass(frozen=True)
class MainNumber:
    """`before` is None where it was measured once. Of an evaluation, if there was one."""

    measure: Measure
    source: str  # evaluation, training
    before: float | None
    after: float
    first_step: int
    last_step: int
    rows: int = 0  # that an evaluation measured; 0 where that is not known

    @property
    def name(self) -> str:
        return f"{self.measure.name} in {self.source}"

    @property
    def change(self) -> str:
        """better, worse, same; empty where there is nothing to compare with."""
        if self.before is None:
            return ""
        difference = self.after - self.before
        if abs(difference) <= EPSILON * max(abs(self.after), abs(self.before)):
            return "same"
        return "better" if (difference > 0) == self.measure.higher_is_better else "worse"

    @property
    def before_text(self) -> str:
        return self._texts[0]

    @property
    def after_text(self) -> str:
        return self._texts[1]

    @property
    def _texts(self) -> tuple[str, str]:
        """Before and after, with more digits where three cannot tell them apart."""
        texts = self.measure.text(self.before), self.measure.text(self.after)
        if self.before is None or self.measure.share or self.change == "same":
            return texts
        for digits in range(4, MOST_DIGITS + 1):
            if texts[0] != texts[1]:
                break
            texts = units.significant(self.before, digits), units.significant(self.after, digits)
        return texts

    def sentence(self) -> str:
        """`The loss in evaluation fell from 0.803 to 0.0899.`"""
        if self.before is None:
            return f"{self.name.capitalize()}: {self.after_text}{self.certainty}."
        way = "stayed at" if self.change == "same" else "rose" if self.after > self.before else "fell"
        if self.change == "same":
            return f"{self.name.capitalize()} {way} {self.after_text}{self.certainty}."
        return f"{self.name.capitalize()} {way} from {self.before_text} to {self.after_text}{self.certainty}."

    @property
    def certainty(self) -> str:
        """Of a share, the rows it comes from and its interval: ` on 4 rows (95 % interval 4.6 to 69.9 %)`."""
        if not (self.measure.share and self.rows and self.source == "evaluation"):
            return ""
        found = share(self.after * self.rows, self.rows)
        rows, interval = units.counted(self.rows, "row"), units.share_range(found.low, found.high)
        return f" on {rows} (95 % interval {interval})"


def main_number(method: str, found: Mapping[str, History], evaluated: int = 0) -> MainNumber | None:
    """The first of the method's measures that was logged; None where nothing was. `evaluated`: its rows."""
    measures = MEASURES.get(method, RANKED)
    for measure in measures:
        history = found.get(measure.metric)
        if history is None:
            continue
        for source, points in (("evaluation", history.evaluation), ("training", history.training)):
            if points:
                (first, before), (last, after) = points[0], points[-1]
                known = before if len(points) > 1 else None
                return MainNumber(measure, source, known, after, int(first), int(last), evaluated)
    return None


def all_of(count: int, noun: str) -> str:
    """`The stage`, `Both stages`, `All 3 stages`."""
    if count > 2:
        return f"All {units.counted(count, noun)}"
    return f"The {noun}" if count == 1 else f"Both {noun}s"
