"""`burnish run`: the stages of a pipeline file, and a table of what came out."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from burnish.cli.notices import show_notices
from burnish.cli.quiet import quiet
from burnish.pipeline.overlay import read_layers, text_of
from burnish.pipeline.run import TOP_KEYS, Pipeline, read_pipeline
from burnish.pipeline.settings import apply_environment
from burnish.secrets import hidden
from burnish.terminal import open_console

COLUMNS = {
    "train loss": ("loss",),
    "eval loss": ("eval_loss",),
    "token accuracy": ("eval_mean_token_accuracy",),
    "accuracy": ("eval_accuracy", "eval_rewards/accuracies", "accuracy", "rewards/accuracies"),
}
"""Columns of the summary, and the metrics that fill them: the first that a stage has."""

DONE = {"run": "trained", "skip": "skipped", "resume": "resumed"}


@dataclass(frozen=True)
class Request:
    """The command line of `burnish run`."""

    file: str
    dry_run: bool = False
    assignments: Sequence[str] = field(default_factory=list)
    as_json: bool = False

    @property
    def command(self) -> str:
        """What does it again."""
        words = ["burnish", "run", self.file]
        return shlex.join([*words, *(word for each in self.assignments for word in ("--set", each))])


def run(request: Request) -> None:
    """Run a pipeline file, or say what a run would do. Raises `UserError`."""
    quiet()
    document = read_layers(request.file, request.assignments, TOP_KEYS)
    text = text_of(document, request.assignments)
    apply_environment(document)
    pipeline = read_pipeline(document)
    with quiet_standard_output(request.as_json):
        from burnish.pipeline.jobs import judged

        jobs = judged(pipeline.prepare())
        for job in jobs:
            show_notices(job.stage.notices, job.stage.name)
        if pipeline.comparing is not None:
            from burnish.cli import comparing

            comparing.check(pipeline.comparing)
        results = [] if request.dry_run else _worked(pipeline, jobs, request, text)
        report = "" if request.dry_run else written_report(pipeline)
    if request.as_json:
        found = _as_json(pipeline, jobs, results)
        print(json.dumps(found | ({} if request.dry_run else {"report": report}), ensure_ascii=False))
    elif request.dry_run:
        show_jobs(jobs, open_console())
    else:
        show_results(jobs, results, report, open_console())


def _worked(pipeline: Pipeline, jobs: list, request: Request, text: str) -> list:
    from burnish.cli.tools import TOOLS
    from burnish.pipeline.board import Board, run_jobs

    console = open_console()
    board = Board(pipeline.output, request.file, text, jobs)

    def announce(job: Any) -> None:
        stage, number = job.stage, [each.stage.name for each in jobs].index(job.stage.name) + 1
        title = f"stage {number} of {len(jobs)}: {stage.name} ({stage.method.name})"
        console.rule(f"{title}, {DONE[job.action]}" if job.action == "skip" else title)
        say(f"{job.action}: {job.why}")
        for decision in stage.decisions if job.action != "skip" else ():
            say(f"{decision.what}: {decision.choice} ({decision.why})")

    def say(line: str) -> None:
        console.print(hidden(line), markup=False, soft_wrap=True)

    results = run_jobs(jobs, board, request.command, TOOLS, announce, say)
    if pipeline.comparing is not None:
        from burnish.cli import comparing

        comparing.make(pipeline.comparing, board, console)
    return results


@contextlib.contextmanager
def quiet_standard_output(wanted: bool) -> Iterator[None]:
    """What is printed goes to the error stream, so that standard output holds JSON alone."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _as_json(pipeline: Pipeline, jobs: list, results: list) -> dict[str, Any]:
    stages = [{**job.to_dict(), "notices": [asdict(each) for each in job.stage.notices]} for job in jobs]
    for stage, result in zip(stages, results, strict=False):
        stage |= {"steps": result.steps, "seconds": result.seconds, "metrics": dict(result.metrics)}
    return {"output": str(pipeline.output), "stages": stages}


def show_jobs(jobs: list, console: Console) -> None:
    """What a run would do: a few lines for every stage."""
    for job in jobs:
        stage = job.stage
        console.print(
            f"[bold]{escape(stage.name)}[/]  {stage.method.name}  → {escape(str(stage.output))}",
            soft_wrap=True,
        )
        lines = [(job.action, job.why)]
        lines += [(decision.what, f"{decision.choice}; {decision.why}") for decision in stage.decisions]
        for what, text in lines:
            console.print(hidden(f"  {what:<10} {text}"), markup=False, soft_wrap=True)


def written_report(pipeline: Pipeline) -> str:
    """Where the report on the stages is; empty where none could be written, which is said."""
    from burnish.report.page import write_report

    try:
        return str(write_report(pipeline.output))
    except Exception as error:  # everything is trained and saved by now
        print(hidden(f"no report was written: {type(error).__name__}: {error}"), file=sys.stderr)
        return ""


def show_results(jobs: list, results: list, report: str, console: Console) -> None:
    console.print(summary(jobs, results))
    for result in results:
        console.print(f"saved  {result.output}", markup=False, soft_wrap=True)
    if report:
        console.print(f"report {report}", markup=False, soft_wrap=True)


def summary(jobs: list, results: list) -> Table:
    """One row per stage: what became of it, steps, time, and its last metrics."""
    cells = {name: [cell(result, metrics) for result in results] for name, metrics in COLUMNS.items()}
    shown = {name: column for name, column in cells.items() if any(column)}
    table = Table("stage", "method", "", "steps", "time", *shown)
    for index, (job, result) in enumerate(zip(jobs, results, strict=True)):
        values = [column[index] for column in shown.values()]
        done = DONE[job.action]
        steps, seconds = str(result.steps), f"{result.seconds:.0f} s"
        table.add_row(result.name, result.method.name, done, steps, seconds, *values)
    return table


def cell(result: Any, metrics: tuple[str, ...]) -> str:
    return next((f"{result.metrics[name]:.4f}" for name in metrics if name in result.metrics), "")
