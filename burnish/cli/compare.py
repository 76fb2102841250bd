"""`burnish compare`: the same prompts to several models, measured and side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from burnish.cli.quiet import quiet
from burnish.cli.vote import voted
from burnish.comparison.answering import Asking, Progress
from burnish.comparison.compare import compare
from burnish.comparison.judge import Judge
from burnish.comparison.measures import Measuring, Reward, Score
from burnish.comparison.result import Comparison
from burnish.comparison.text import show as show_comparison
from burnish.comparison.votes import Box
from burnish.data.sources.rows import parse_columns
from burnish.models.asking import Sampling
from burnish.progress import Bar
from burnish.terminal import open_console


def run_compare(
    *,
    models: list[str],
    prompts: str,
    score: list[str] | None,
    reward: str | None,
    show: int,
    as_json: bool,
    html: str | None,
    output: str | None,
    dtype: str,
    columns: str | None,
    split: str,
    **how: Any,
) -> None:
    """Compare, and print or write what was asked for. Raises `UserError`."""
    quiet()
    sampling = Sampling(*(how[name] for name in ("max_new_tokens", "temperature", "top_p", "seed")))
    measures: list[Measuring] = [Score(each) for each in score or ()]
    measures += [Reward(reward, dtype)] if reward else []
    measures += [Judge(how["judge"], how["judge_model"], how["judge_key"])] if how["judge"] else []
    box = Box(how["vote"]) if how["vote"] else None
    asking = Asking(sampling, how["batch_size"], dtype, not how["no_cache"])
    with progress() as heard:
        found = compare(
            models,
            prompts,
            measures,
            how=asking,
            columns=parse_columns(columns),
            split=split,
            progress=heard,
        )
    if box is not None:
        found = voted(found, box, sys.stderr if as_json else sys.stdout)
    _print(found, show, as_json)
    if output is not None:
        print(f"wrote  {found.save(output)}", file=sys.stderr)
    if html is not None:
        from burnish.comparison.page import write_page

        print(f"wrote  {write_page(found, html)}", file=sys.stderr)


def _print(found: Comparison, shown: int, as_json: bool) -> None:
    if as_json:
        print(found.to_json())
    else:
        show_comparison(found, open_console(), shown)


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar for each thing that is done, where someone looks on."""
    bars: dict[str, Bar] = {}

    def heard(title: str, done: int, total: int) -> None:
        if title not in bars:
            for each in bars.values():
                each.close()
            bars[title] = Bar(title, total)
        bars[title].move_to(done, total)

    try:
        yield heard
    finally:
        for each in bars.values():
            each.close()
