"""A report in one sentence and one table, for the head of the page, the terminal and JSON alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from burnish import units
from burnish.report.comparison import Comparison, Mean, Outcome
from burnish.report.folder import ReportFolder, figure, mapping, word
from burnish.report.history import last_step
from burnish.report.measures import MainNumber, all_of
from burnish.report.stage import StageView, Status, last_second

SHORT = {"evaluation": "eval", "training": "train"}
ENDED = {"stopped": "was killed", "interrupted": "was interrupted"}
NOT_COMPARED = "The answers before and after were not compared."


@dataclass(frozen=True)
class Verdict:
    """`kind`: good, unclear, worse, failed, running. `badge` is its word."""

    text: str
    kind: str
    badge: str


@dataclass(frozen=True)
class HeadRow:
    """A stage in the headline table, or (without a status) the model before all of them."""

    name: str
    anchor: str
    method: str
    status: Status | None
    main: MainNumber | None
    answers: Mean | None
    time: str


@dataclass(frozen=True)
class Summary:
    name: str
    lead: str
    verdict: Verdict
    rows: list[HeadRow]
    answers_name: str  # of the measure in the column of answers; empty where nothing was compared
    faults: list[str]

    @property
    def has_numbers(self) -> bool:
        return any(row.main for row in self.rows)


def summary_of(folder: ReportFolder, stages: Sequence[StageView], comparison: Comparison | None) -> Summary:
    shown = comparison.main if comparison and comparison.main and comparison.main.has_means else None
    faults = [*folder.faults]
    for stage in stages:
        faults += [f"{stage.name}: {each}" if folder.is_pipeline else each for each in stage.run.faults]
    return Summary(
        name=folder.name,
        lead=lead(folder, stages),
        verdict=verdict(stages, comparison.outcome if comparison else None),
        rows=head_rows(stages, comparison, shown.means if shown else []),
        answers_name=shown.name if shown else "",
        faults=faults,
    )


def lead(folder: ReportFolder, stages: Sequence[StageView]) -> str:
    seconds = sum(
        figure(stage.run.record.get("seconds")) or last_second(stage.run) or 0.0 for stage in stages
    )
    model = start_model(stages)
    told = [units.counted(len(stages), "stage")] if folder.is_pipeline else [stages[0].summary.rstrip(".")]
    told += [f"from {model}"] if model else []
    told += [units.duration(seconds)] if seconds else []
    machine = mapping(stages[0].run.record.get("machine")) if stages else {}
    told += [word(machine.get("device"))] if word(machine.get("device")) else []
    return " · ".join(told)


def start_model(stages: Sequence[StageView]) -> str:
    """The model before all stages."""
    for stage in stages:
        model = mapping(mapping(stage.run.record.get("inputs")).get("model"))
        name = word(model.get("name")) or word(
            mapping(stage.run.record.get("config")).get("model_name_or_path")
        )
        if name and not stage.run.follows:
            return PurePath(name).name
    return ""


def head_rows(
    stages: Sequence[StageView], comparison: Comparison | None, means: Sequence[Mean]
) -> list[HeadRow]:
    """The stages, and above them the model before, where its answers were compared."""
    by_stage: dict[str, Mean] = {}
    others = []
    paths = dict(comparison.models) if comparison else {}
    for mean in means:
        own = next(
            (stage.name for stage in stages if is_of(stage, mean.model, paths.get(mean.model, ""))), None
        )
        if own is None:
            others.append(mean)
        else:
            by_stage[own] = mean
    before = [HeadRow(mean.model, "", "before", None, None, mean, "") for mean in others]
    return before + [
        HeadRow(
            stage.name,
            stage.anchor,
            stage.run.method,
            stage.status,
            stage.main,
            by_stage.get(stage.name),
            stage.time,
        )
        for stage in stages
    ]


def is_of(stage: StageView, model: str, path: str) -> bool:
    """Whether a compared model is what the stage saved."""
    return model == stage.name or (bool(path) and PurePath(path).name == stage.run.path.name)


def verdict(stages: Sequence[StageView], found: Outcome | None) -> Verdict:
    """The report in one sentence. Only compared answers can say that it worked."""
    for stage in stages:
        if stage.status.word in ENDED:
            sentence = (
                f"{stage.name} {ENDED[stage.status.word]}{at(stage)}. The same command takes it up again."
            )
            return Verdict(sentence, "failed", "Stopped")
        if stage.status.state == "failed":
            error = word(stage.run.record.get("error"))
            end = f": {error}" if error else "."
            return Verdict(f"{stage.name} {stage.status.word}{end}", "failed", "Failed")
    for stage in stages:
        if stage.status.state == "running":
            sentence = f"{stage.name} was still running{at(stage)} when this was written."
            return Verdict(sentence, "running", "Running")
    if found is not None:
        return told(found)
    finished = [stage for stage in stages if stage.status.state == "finished"]
    if len(finished) < len(stages):
        return Verdict(
            f"{len(finished)} of {units.counted(len(stages), 'stage')} finished.", "running", "Unfinished"
        )
    number = next((stage.main for stage in reversed(stages) if stage.main), None)
    said = [f"{all_of(len(stages), 'stage')} finished."] if len(stages) > 1 else []
    said += [number.sentence()] if number else []
    return Verdict(" ".join([*said, NOT_COMPARED]), "unclear", "Trained")


def at(stage: StageView) -> str:
    """How far a stage is that has not ended."""
    step = last_step(stage.run.metrics.rows)
    planned = figure(mapping(stage.run.record.get("predicted")).get("steps"))
    return f" at step {step:,}" + (f" of {planned:,.0f}" if planned else "") if step else ""


def told(found: Outcome) -> Verdict:
    on = f"on {units.counted(found.prompts, 'prompt')}"
    name = found.name[:1].upper() + found.name[1:]
    if not found.before:
        said = f"{found.after_model} wins {found.after} against {found.before_model} {on}"
    else:
        before, after = (
            f"{found.before} ({found.before_model})",
            f"{found.after} ({found.after_model})",
        )
        said = f"{name} {'rose' if found.rose else 'fell'} from {before} to {after} {on}"
        if found.before == found.after:
            said = f"{name} is {found.after} for {found.before_model} and for {found.after_model} {on}"
    if found.way == "better":
        return Verdict(f"{said}.", "good", "It worked")
    if found.way == "worse":
        return Verdict(f"{said}.", "worse", "It got worse")
    if found.way == "mixed":
        return Verdict(f"{said}: the mean and the win rate disagree.", "unclear", "Mixed")
    chance = "" if found.before == found.after else ": not significant"
    return Verdict(f"{said}{chance}.", "unclear", "No difference")


# For the terminal, and as JSON


def text_of(summary: Summary) -> str:
    """The sentence and the table, in columns."""
    head = ["stage", "status", "measure", "before", "after"]
    head += ["answers"] if summary.answers_name else []
    table = [[*head, "time"]]
    for row in summary.rows:
        main = row.main
        cells = [
            row.name,
            row.status.word if row.status else "",
            f"{main.measure.name} ({SHORT[main.source]})" if main else "",
            main.before_text if main else "",
            main.after_text if main else "",
        ]
        cells += [row.answers.text if row.answers else ""] if summary.answers_name else []
        table.append([*cells, row.time])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    faults = [f"note: {fault}" for fault in summary.faults]
    said = f"{summary.verdict.badge}. {summary.verdict.text}"
    return "\n".join([f"{summary.name}: {summary.lead}", said, "", *map(str.rstrip, lines), *faults])


def to_dict(summary: Summary, page: str) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "format": 1,
        "report": page,
        "name": summary.name,
        "verdict": {"kind": summary.verdict.kind, "text": summary.verdict.text},
        "answers": {row.name: mean_dict(row.answers) for row in summary.rows if row.answers},
        "stages": [
            {
                "name": row.name,
                "method": row.method,
                "status": row.status.word,
                "measure": row.main and row.main.measure.metric,
                "source": row.main and row.main.source,
                "before": row.main and row.main.before,
                "after": row.main and row.main.after,
            }
            for row in summary.rows
            if row.status
        ],
        "faults": summary.faults,
    }


def mean_dict(mean: Mean) -> dict[str, Any]:
    return {"mean": mean.value, "low": mean.low, "high": mean.high}
