"""`burnish run`: the stages of a pipeline file, and a table of what came out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import TOP_KEYS, read_pipeline, run_pipeline
from burnish.pipeline.settings import apply_environment
from burnish.pipeline.stage import PreparedStage, StageResult

COLUMNS = {
    "train loss": ("loss",),
    "eval loss": ("eval_loss",),
    "token accuracy": ("eval_mean_token_accuracy",),
    "accuracy": ("eval_accuracy", "eval_rewards/accuracies", "accuracy", "rewards/accuracies"),
}
"""Columns of the summary, and the metrics that fill them: the first that a stage has."""


def run(file: str, check: bool, assignments: Sequence[str] = ()) -> None:
    """Run a pipeline file; with `check`, stop before training. Raises `UserError`."""
    document = read_layers(file, assignments, TOP_KEYS)
    apply_environment(document)
    pipeline = read_pipeline(document)
    console = Console(highlight=False)
    if check:
        names = [stage.name for stage in pipeline.prepare()]
        console.print(f"{file}: {len(names)} stages are in order: {' → '.join(names)}", markup=False)
        return
    count = len(pipeline.stages)

    def announce(stage: PreparedStage) -> None:
        number = [s.name for s in pipeline.stages].index(stage.name) + 1
        console.rule(f"stage {number} of {count}: {stage.name} ({stage.method.name})")

    results = run_pipeline(pipeline, announce)
    console.print(summary(results))
    for result in results:
        console.print(f"saved  {result.output}", markup=False, soft_wrap=True)


def summary(results: list[StageResult]) -> Table:
    """One row per stage: steps, time, and its last metrics."""
    cells = {name: [cell(result, metrics) for result in results] for name, metrics in COLUMNS.items()}
    shown = {name: column for name, column in cells.items() if any(column)}
    table = Table("stage", "method", "steps", "time", *shown)
    for index, result in enumerate(results):
        values = [column[index] for column in shown.values()]
        table.add_row(result.name, result.method.name, str(result.steps), f"{result.seconds:.0f} s", *values)
    return table


def cell(result: StageResult, metrics: tuple[str, ...]) -> str:
    return next((f"{result.metrics[name]:.4f}" for name in metrics if name in result.metrics), "")
