"""`burnish run`: the stages of a pipeline file, and a table of what came out."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from burnish.pipeline.run import read_pipeline, run_pipeline
from burnish.pipeline.settings import apply_environment, read_document
from burnish.pipeline.stage import PreparedStage, StageResult

SHOWN = {
    "loss": "train loss",
    "eval_loss": "eval loss",
    "mean_token_accuracy": "token accuracy",
    "accuracy": "accuracy",
    "rewards/accuracies": "accuracy",
}
"""Metrics of the summary, and the column of each."""


def run(file: str, check: bool) -> None:
    """Run a pipeline file; with `check`, stop before training. Raises `UserError`."""
    document = read_document(file)
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


def summary(results: list[StageResult]) -> Table:
    """One row per stage: steps, time, its metrics, and where the model is."""
    columns = list(dict.fromkeys(SHOWN[key] for result in results for key in SHOWN if key in result.metrics))
    table = Table("stage", "method", "steps", "time", *columns, "output")
    for result in results:
        found = {SHOWN[key]: f"{result.metrics[key]:.4f}" for key in SHOWN if key in result.metrics}
        cells = [found.get(column, "") for column in columns]
        table.add_row(
            result.name,
            result.method.name,
            str(result.steps),
            f"{result.seconds:.0f} s",
            *cells,
            str(result.output),
        )
    return table
