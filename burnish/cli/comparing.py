"""The comparison at the end of a pipeline: checked before the stages, made after them, once."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from burnish.cli.compare import progress
from burnish.comparison.answering import Asking
from burnish.comparison.compare import compare
from burnish.comparison.measures import Measuring, Reward, Score
from burnish.comparison.prompts import read_prompts
from burnish.comparison.text import show
from burnish.data.sources.rows import parse_columns
from burnish.models.asking import Sampling
from burnish.pipeline.board import Board
from burnish.pipeline.comparing import Comparing, inputs_of_comparison
from burnish.pipeline.hashes import digest

FILE = "comparison.json"
SAMPLING = ("max_new_tokens", "temperature", "top_p", "seed")


def check(comparing: Comparing) -> None:
    """Read the prompts and load the functions. Raises `UserError`."""
    options = comparing.options
    read_prompts(
        comparing.prompts,
        columns=parse_columns(options.get("columns")),
        split=options.get("split", "train"),
        seed=options.get("seed", 0),
    )
    _sampling(comparing)
    for each in _measures(comparing)[: len(comparing.scores)]:
        each.check()


def make(comparing: Comparing, board: Board, console: Console) -> None:
    """Compare and write `comparison.json` beside the stages, unless it is there for the same inputs."""
    console.rule("comparison")
    key = digest(list(inputs_of_comparison(comparing)))
    before = board.before.get("comparison") or {}
    if before.get("key") == key and (board.output / FILE).is_file():
        board.note(comparison={**before, "action": "skip"})
        console.print("skip: made of the same prompts, models and measures", markup=False)
        return
    options = comparing.options
    dtype = options.get("dtype", "auto")
    with progress() as heard:
        found = compare(
            comparing.models,
            comparing.prompts,
            _measures(comparing),
            how=Asking(_sampling(comparing), options.get("batch_size", 16), dtype),
            columns=parse_columns(options.get("columns")),
            split=options.get("split", "train"),
            progress=heard,
        )
    path: Path = found.save(board.output)
    board.note(comparison={"key": key, "file": path.name, "action": "run"})
    show(found, console, 1)


def _sampling(comparing: Comparing) -> Sampling:
    return Sampling(**{name: comparing.options[name] for name in SAMPLING if name in comparing.options})


def _measures(comparing: Comparing) -> list[Measuring]:
    found: list[Measuring] = [Score(each) for each in comparing.scores]
    reward = comparing.reward
    return found + ([Reward(reward, comparing.options.get("dtype", "auto"))] if reward else [])
