"""Everything that a page shows of one stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from burnish import units
from burnish.pages.diagram import cut
from burnish.pipeline.methods import METHODS
from burnish.report.curves import CurveChart, curve_charts
from burnish.report.data import Inspected, PreparedRows, evaluated_rows, inspected, prepared_rows
from burnish.report.folder import RunFolder, figure, listed, mapping, word
from burnish.report.history import histories, last_step
from burnish.report.measures import MainNumber, main_number
from burnish.report.provenance import Cost, Input, Option, cost, decisions, facts, inputs, options, plan
from burnish.report.reward import RewardView, reward_view
from burnish.report.samples import SampledPrompt, sampled_prompts

GOOD = ("finished", "skipped", "resumed", "unchanged", "done")
ACTIONS = {
    "skip": "Not trained again: ",
    "resume": "Gone on with: ",
    "run": "Trained: ",
}
STATES = {
    "running": ("running", "●"),
    **dict.fromkeys(("failed", "stopped", "interrupted"), ("failed", "✕")),
}
STATUS_LETTERS = 14
SEVERITIES = {"fault": "fault", "error": "fault", "critical": "fault", "warning": "warning"}


@dataclass(frozen=True)
class Status:
    """`state` is a class of the style sheet: finished, running, failed, waiting."""

    word: str
    state: str
    sign: str

    @property
    def mark(self) -> str:
        return f"{self.sign} {self.word}"


@dataclass(frozen=True)
class Notice:
    """What a rule of thumb said. `kind` is a class: fault, warning, note."""

    step: str
    rule: str
    kind: str
    text: str
    rows: str


@dataclass(frozen=True)
class StageView:
    run: RunFolder
    anchor: str
    summary: str
    status: Status
    main: MainNumber | None
    figures: list[tuple[str, str, str]]
    charts: list[CurveChart]
    notices: list[Notice]
    samples: list[SampledPrompt]
    rows: list[PreparedRows]
    inspected: Inspected | None
    reward: RewardView | None
    cost: Cost | None
    given: list[Option]
    others: list[Option]
    decisions: list[tuple[str, str, str]]
    plan: list[tuple[str, str, str]]
    inputs: list[Input]
    facts: list[tuple[str, str]]
    command: str

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def shown_charts(self) -> list[CurveChart]:
        return [chart for chart in self.charts if not chart.folded]

    @property
    def folded_charts(self) -> list[CurveChart]:
        return [chart for chart in self.charts if chart.folded]

    @property
    def why(self) -> str:
        """Why the pipeline trained it, or did not; and what stopped it."""
        error = word(self.run.record.get("error")) if self.status.state == "failed" else ""
        first = self.run.action == "run" and self.run.why == "it has not run yet"
        why = ACTIONS.get(self.run.action, "") + self.run.why if self.run.why and not first else ""
        return ". ".join(filter(None, [why, error]))

    @property
    def time(self) -> str:
        seconds = figure(self.run.record.get("seconds")) or last_second(self.run)
        return units.duration(seconds) if seconds else "–"


def stage_view(run: RunFolder, look_at_rows: bool = True) -> StageView:
    """`look_at_rows`: inspect the data that the stage was trained on, where it is still there."""
    record = run.record
    found = histories(run.metrics.rows)
    given, others = options(record)
    rows = prepared_rows(run.preparation)
    return StageView(
        run=run,
        anchor=anchor_of(run.name),
        summary=METHODS[run.method].summary if run.method in METHODS else run.method,
        status=status_of(run.status),
        main=main_number(run.method, found, evaluated_rows(rows)),
        figures=figures(run),
        charts=curve_charts(found),
        notices=[*warned(record), *(notice_of(each) for each in run.notices.rows)],
        samples=sampled_prompts(run.samples.rows),
        rows=rows,
        inspected=inspected(run) if look_at_rows else None,
        reward=reward_view(run.reward),
        cost=cost(record),
        given=given,
        others=others,
        decisions=decisions(record),
        plan=plan(record),
        inputs=inputs(run),
        facts=facts(run),
        command=word(record.get("command")),
    )


def anchor_of(name: str) -> str:
    return f"stage-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'x'}"


def status_of(name: str) -> Status:
    if name in STATES:
        state, sign = STATES[name]
        return Status(name, state, sign)
    name = cut(name, STATUS_LETTERS)
    if name.startswith(GOOD):
        return Status(name, "finished", "✓")
    return Status(name or "not known", "waiting", "○")


def figures(run: RunFolder) -> list[tuple[str, str, str]]:
    """The numbers at the head of a stage: a term, its number, and a word on it."""
    record, measured = run.record, mapping(run.record.get("measured"))
    steps = figure(record.get("steps")) or last_step(run.metrics.rows)
    planned = figure(mapping(record.get("predicted")).get("steps"))
    seconds = figure(record.get("seconds")) or last_second(run)
    speed, peak = figure(measured.get("tokens_per_second")), figure(measured.get("peak_bytes"))
    unfinished = planned and steps < planned
    found = [
        ("Steps", f"{steps:,.0f}" if steps else "", f"of {planned:,.0f}" if unfinished else ""),
        ("Time", units.duration(seconds) if seconds else "", ""),
        ("Tokens per second", units.significant(speed) if speed else "", ""),
        ("Peak memory", units.size(peak) if peak else "", ""),
    ]
    return [each for each in found if each[1]]


def last_second(run: RunFolder) -> float | None:
    """How long a run has been going, by its last log."""
    return max((figure(row.get("seconds")) or 0.0 for row in run.metrics.rows), default=0.0) or None


def warned(record: Mapping[str, Any]) -> list[Notice]:
    """What was said of the settings before anything was loaded."""
    found = map(mapping, listed(record.get("warnings")))
    return [
        Notice(word(each.get("where")), word(each.get("key")), "warning", word(each.get("text")), "")
        for each in found
    ]


def notice_of(row: Mapping[str, Any]) -> Notice:
    step = figure(row.get("step"))
    origins = [str(each) for each in listed(row.get("rows"))]
    kind = SEVERITIES.get(word(row.get("severity")), "note")
    shown = ", ".join(origins[:8]) + (
        f" and {units.counted(len(origins) - 8, 'more row')}" if len(origins) > 8 else ""
    )
    return Notice(
        f"step {step:,.0f}" if step is not None else "",
        word(row.get("rule")).replace("_", " "),
        kind,
        word(row.get("text")),
        shown,
    )
