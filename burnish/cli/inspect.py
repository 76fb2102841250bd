"""`burnish inspect`: what is in a dataset, what will be trained of it, and what is wrong with it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.cli.quiet import quiet
from burnish.data.inspection.fix import Copy, write_copy
from burnish.data.inspection.inspect import Rows, inspect, reader_of
from burnish.data.inspection.inspection import Inspection
from burnish.data.inspection.text import show
from burnish.data.inspection.thresholds import Threshold, parse_thresholds
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.family import Family
from burnish.data.reading.formats import JUDGED, LANGUAGE, PREFERENCE, STEPWISE, TRIPLE
from burnish.data.sources.rows import Source, parse_columns
from burnish.data.sources.source import load_rows
from burnish.errors import UserError, nearest
from burnish.terminal import open_console

READS: Mapping[str, Family] = {
    "sft": LANGUAGE,
    "reward": PREFERENCE,
    "dpo": PREFERENCE,
    "kto": JUDGED,
    "bco": JUDGED,
    "orpo": PREFERENCE,
    "cpo": PREFERENCE,
    "tpo": TRIPLE,
    "gkd": LANGUAGE,
    "prm": STEPWISE,
}
"""The family of formats that each method reads, unless its options say otherwise."""

EXIT_TOO_MANY = 1
PAGE_ROWS = 3
"""How many rows a page shows where none were asked for."""


@dataclass(frozen=True)
class Request:
    """The command line of `burnish inspect`."""

    data: str
    method: str | None = None
    model: str | None = None
    columns: str | None = None
    row_function: str | None = None
    max_length: int = 1024  # 0: no limit
    truncation_mode: str = "keep_start"
    assistant_only_loss: bool = False
    as_chats: bool = False
    split: str = "train"
    evaluation: str | None = None
    show: int = 0
    as_json: bool = False
    html: str | None = None
    fix: str | None = None
    fail_on: str | None = None

    def options(self) -> PreparationOptions:
        """Raises `UserError` for values that cannot be."""
        mode: Any = self.truncation_mode
        return PreparationOptions(
            max_length=self.max_length or None,
            truncation_mode=mode,
            assistant_only_loss=self.assistant_only_loss or (None if self.compares() else False),
            as_chats=self.as_chats,
            row_function=self.row_function,
        )

    def compares(self) -> bool:
        """Whether the method compares completions; the others train all turns, unless they are told."""
        return self.method is not None and READS.get(self.method) is not LANGUAGE

    def family(self) -> Family | None:
        if self.method is None:
            return None
        if self.method not in READS:
            raise UserError(
                f"there is no method '{self.method}'.{nearest(self.method, READS)}",
                where="--method",
                fix=f"use one of {', '.join(READS)}, or leave it out",
            )
        return READS[self.method]


def run(request: Request) -> int:
    """Inspect, and print or write what was asked for. Returns the exit code; raises `UserError`."""
    thresholds = parse_thresholds(request.fail_on or "")
    options, family = request.options(), request.family()
    _check(request)
    quiet()
    columns = parse_columns(request.columns)
    source = load_rows(request.data, split=request.split, columns=columns)
    tokenizer = None if request.model is None else load_tokenizer(request.model)
    inspection = inspect(
        source,
        options,
        family=family,
        tokenizer=tokenizer,
        evaluation=_evaluation(request, columns),
        show=request.show or (PAGE_ROWS if request.html and tokenizer is not None else 0),
    )
    _print(inspection, request)
    if request.fix is not None:
        rows = Rows(source, reader_of(source, options, family))
        _say(*_of_copy(write_copy(inspection, rows, Path(request.fix))))
    return _judge(inspection, thresholds)


def _check(request: Request) -> None:
    if request.show and request.model is None:
        raise UserError(
            "shows rows as they are trained, which takes a tokenizer",
            where="--show",
            fix="add --model MODEL",
        )


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model; the model itself is not loaded. Raises `UserError`."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"no tokenizer could be loaded ({first})",
            where=f"--model {name}",
            fix="give a model's folder or id, or leave --model out: then lengths are characters",
        ) from error


def _evaluation(request: Request, columns: Mapping[str, str]) -> Source | None:
    """The rows of `--eval`, or else of the folder's own validation or test split."""
    if request.evaluation is not None:
        return load_rows(request.evaluation, split=_split_of(request.evaluation), columns=columns)
    if Path(request.data).is_dir():
        for split in HELD_OUT:
            if split == request.split:
                return None
            try:
                return load_rows(request.data, split=split, columns=columns)
            except UserError:
                continue
    return None


HELD_OUT = ("validation", "test")


def _split_of(data: str) -> str:
    """A folder is asked for what it holds out, if it does; all else has one split."""
    if Path(data).is_dir():
        for split in HELD_OUT:
            try:
                load_rows(data, split=split)
                return split
            except UserError:
                continue
    return "train"


def _print(inspection: Inspection, request: Request) -> None:
    printed = replace(inspection, shown=inspection.shown[: request.show])
    if request.as_json:
        print(json.dumps(printed.to_dict(), ensure_ascii=False))
    else:
        show(printed, open_console(), f"burnish inspect {_again(request)}")
    if request.html is not None:
        from burnish.data.inspection.page import write_page

        _say(f"wrote  {write_page(inspection, request.html)}")


def _again(request: Request) -> str:
    """What decides how the rows are read, as flags."""
    given = {"--method": request.method, "--columns": request.columns, "--row_function": request.row_function}
    words = [request.data, *(word for name, value in given.items() if value for word in (name, value))]
    return shlex.join(words)


def _of_copy(copy: Copy) -> list[str]:
    lines = [f"wrote  {copy.clean}: {copy.kept:,} rows, {copy.kept - copy.mended:,} of them as they were"]
    if copy.quarantined:
        lines.append(
            f"wrote  {copy.quarantine}: {copy.quarantined:,} rows that were left out, with the reasons"
        )
    if copy.mended:
        lines.append(f"wrote  {copy.mends}: {copy.mended:,} rows that were mended, as they were before")
    return lines


def _judge(inspection: Inspection, thresholds: list[Threshold]) -> int:
    passed = [what for what in (threshold.passed(inspection) for threshold in thresholds) if what]
    _say(*(f"failed {what}" for what in passed))
    return EXIT_TOO_MANY if passed else 0


def _say(*lines: str) -> None:
    """To the error stream: what `--json` prints stays JSON."""
    for line in lines:
        print(line, file=sys.stderr)
