"""`burnish evaluate-reward`: how well a reward model agrees with known preferences."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from burnish import units
from burnish.cli.quiet import quiet
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.rows import parse_columns
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from burnish.evaluation.report import RewardReport, evaluate
from burnish.evaluation.reward_model import RewardModel
from burnish.evaluation.text import show
from burnish.progress import Bar
from burnish.terminal import open_console

EXIT_BELOW = 1
MODES = ("drop", "error")


@dataclass(frozen=True)
class Request:
    """The command line of `burnish evaluate-reward`."""

    model: str
    data: str
    columns: str | None = None
    row_function: str | None = None
    split: str = "train"
    subset_column: str = "subset"
    as_chats: bool = False
    max_length: int = 0  # 0: as long as the model's positions go
    truncation_mode: str = "drop"
    on_bad_row: str = "stop"
    dtype: str = "auto"
    tokens_per_forward: int = 0
    as_json: bool = False
    html: str | None = None
    fail_under: float | None = None

    def check(self) -> None:
        """Raises `UserError` for values that cannot be."""
        if self.truncation_mode not in MODES:
            raise UserError(
                f"a cut answer is another one, and {self.truncation_mode!r} cuts",
                where="--truncation_mode",
                fix=f"use {' or '.join(MODES)}",
            )
        if self.fail_under is not None and not 0 <= self.fail_under <= 1:
            raise UserError(
                f"an accuracy lies from 0 to 1, found {self.fail_under:g}",
                where="--fail_under",
                fix="write 0.7 for 70 %",
            )


def run(request: Request) -> int:
    """Evaluate, and print or write what was asked for. Returns the exit code; raises `UserError`."""
    request.check()
    quiet()
    source = load_rows(request.data, split=request.split, columns=parse_columns(request.columns))
    model = RewardModel.load(
        request.model,
        as_chats=request.as_chats,
        max_length=request.max_length or None,
        tokens_per_forward=request.tokens_per_forward or None,
        dtype=request.dtype,
    )
    given: dict[str, Any] = {"truncation_mode": request.truncation_mode, "on_bad_row": request.on_bad_row}
    options = PreparationOptions(max_length=model.max_length, row_function=request.row_function, **given)
    with progress() as done:
        report = evaluate(model, source, options, subset_column=request.subset_column, done=done)
    _print(report, request)
    return _judge(report, request.fail_under)


@contextmanager
def progress() -> Iterator[Callable[[int], object]]:
    """Counts rows as they are scored, where someone looks on."""
    with Bar("Scoring", unit="rows", shown=sys.stderr.isatty()) as bar:
        yield bar.update


def _print(report: RewardReport, request: Request) -> None:
    if request.as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        show(report, open_console())
    if request.html is not None:
        from burnish.evaluation.page import write_page

        print(f"wrote  {write_page(report, request.html)}", file=sys.stderr)


def _judge(report: RewardReport, least: float | None) -> int:
    if least is None or report.accuracy.value >= least:
        return 0
    print(
        f"failed accuracy {units.share(report.accuracy.value)}, less than {units.share(least)}",
        file=sys.stderr,
    )
    return EXIT_BELOW
