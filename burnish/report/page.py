"""The report as one self-contained HTML page: `burnish report FOLDER`.

`folder.py` reads, `stage.py`, `comparison.py` and `summary.py` arrange and put into words, the templates say
where it stands, and `burnish.pages` brings the frame, the style and the charts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from burnish import units
from burnish.pages.shell import render, write
from burnish.report.comparison import Comparison, comparison_of
from burnish.report.data import evaluated_rows
from burnish.report.drawing import DrawnStage, Link, drawings
from burnish.report.folder import ReportFolder, read_folder, word
from burnish.report.stage import StageView, stage_view
from burnish.report.summary import Summary, start_model, summary_of

TEMPLATE = Path(__file__).with_name("page.html")
NAME = "report.html"


def write_report(folder: str | Path, path: str | Path | None = None, *, look_at_rows: bool = True) -> Path:
    """Write the page of a run's or a pipeline's folder, by default into it. Returns where it is.

    `look_at_rows`: inspect the data again, where it is still there. Raises `UserError` where there is no run,
    or where nothing can be written.
    """
    return report(folder, path, look_at_rows=look_at_rows)[0]


def report(
    folder: str | Path, path: str | Path | None = None, *, look_at_rows: bool = True
) -> tuple[Path, Summary]:
    """The page and its summary."""
    found = read_folder(folder)
    stages = [stage_view(run, look_at_rows) for run in found.stages]
    comparison = comparison_of(found.comparison)
    summary = summary_of(found, stages, comparison)
    page = render(TEMPLATE, page_values(found, stages, comparison, summary))
    return write(page, path or found.path / NAME), summary


def page_values(
    folder: ReportFolder, stages: Sequence[StageView], comparison: Comparison | None, summary: Summary
) -> dict[str, Any]:
    """Every name that `page.html` uses."""
    return {
        "it": summary,
        "is_pipeline": folder.is_pipeline,
        "stages": stages,
        "comparison": comparison,
        "drawings": pipeline_drawings(stages) if stages else [Markup("")],
        "config_text": word(folder.record.get("text")),
        "command": command(folder, stages),
        "sections": sections(folder, stages, comparison),
        "parts_of": parts,
    }


def sections(
    folder: ReportFolder, stages: Sequence[StageView], comparison: Comparison | None
) -> list[tuple[str, str]]:
    """Anchors and names of the sections that the page has."""
    found = [("pipeline", "The pipeline")] if folder.is_pipeline else []
    found += [("before-and-after", "Before and after")] if comparison else []
    if folder.is_pipeline:
        found += [(stage.anchor, stage.name) for stage in stages]
    else:
        found += [(part.anchor, part.name) for stage in stages for part in parts(stage)]
    return [*found, ("again", "Reproduce")]


class Part(NamedTuple):
    """A part of a stage; `folded` in the page of a pipeline, where it is for those who look it up."""

    anchor: str
    name: str
    folded: bool


FOLDED = ("config", "decisions", "lineage")


def parts(stage: StageView) -> list[Part]:
    """The parts of a stage that there is something to show of."""
    there = {
        "curves": ("Curves", stage.charts),
        "notices": ("Training diagnostics", stage.notices),
        "reward": ("As a reward model", stage.reward),
        "samples": ("Samples over time", stage.samples),
        "data": ("Data", stage.rows or stage.inspected),
        "cost": ("Cost", stage.cost),
        "config": ("Config", stage.given or stage.others),
        "decisions": ("Decisions", stage.decisions or stage.plan),
        "lineage": ("Lineage", stage.inputs or stage.facts),
    }
    return [
        Part(f"{stage.anchor}-{part}", name, part in FOLDED) for part, (name, shown) in there.items() if shown
    ]


def command(folder: ReportFolder, stages: Sequence[StageView]) -> str:
    """The command that does it again."""
    given = next((stage.command for stage in stages if stage.command), "")
    if not folder.is_pipeline or given.split()[:2] == ["burnish", "run"]:
        return given
    file = word(folder.record.get("file"))
    return f"burnish run {shlex.quote(file)}" if file else ""


# The drawing


def pipeline_drawings(stages: Sequence[StageView]) -> list[Markup]:
    names = [stage.name for stage in stages]
    drawn = [
        DrawnStage(
            stage.name,
            re.split(r" on |[:,.]", stage.summary)[0],
            stage.status.state,
            stage.status.mark,
            data_lines(stage),
            result_lines(stage),
        )
        for stage in stages
    ]
    links = []
    for index, stage in enumerate(stages):
        links.append(Link(source_of(stage, names), index, continuation(stage)))
        links += references(stage, index, names)
    return drawings(start_model(stages) or "model", drawn, links)


def data_lines(stage: StageView) -> list[str]:
    trained = [each for each in stage.rows if each.use == "trained on"]
    evaluated = evaluated_rows(stage.rows)
    lines = [line for each in trained[:2] for line in (each.name, units.counted(each.kept, "row"))]
    lines += [f"and {units.counted(len(trained) - 2, 'more source')}"] if len(trained) > 2 else []
    return lines + ([f"{units.counted(evaluated, 'row')} to evaluate on"] if evaluated else [])


def result_lines(stage: StageView) -> list[str]:
    if stage.main is None:
        return []
    before = f"{stage.main.before_text} → " if stage.main.before is not None else ""
    return [f"{before}{stage.main.after_text}", stage.main.measure.name]


ADAPTERS = {"goes on": "its adapter goes on", "new": "new adapter", "none": "all weights"}
"""What is written at an arrow, by a word in the decision about the adapter."""


def source_of(stage: StageView, names: Sequence[str]) -> int:
    return names.index(stage.run.follows) if stage.run.follows in names else -1


def continuation(stage: StageView) -> str:
    """What goes on and what is new, as the pipeline decided."""
    found = {what: choice for what, choice, _ in stage.decisions}
    adapter = found.get("adapter", "")
    said = ["adapter merged"] if "merge" in found else []
    said += [words for sign, words in ADAPTERS.items() if sign in adapter][:1] or [adapter]
    return ", ".join(filter(None, said))


def references(stage: StageView, index: int, names: Sequence[str]) -> list[Link]:
    """A dashed arrow from the stage that is the reference, where a decision names one."""
    for what, choice, _ in stage.decisions:
        if "reference" in what.lower():
            named = next((i for i, name in enumerate(names[:index]) if f"'{name}'" in choice), None)
            return [Link(source_of(stage, names) if named is None else named, index, "", reference=True)]
    return []
