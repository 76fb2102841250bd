"""What a person sees of a run while it trains.

On a terminal a table of the logs, with two lines below it that move along:

         step      loss    margin  accuracy  grad norm        lr  tokens/s
           20    0.6803    0.0260     1.000      8.524   6.4e-07     6,412
    eval   20    0.6758    0.0351     1.000

    ━━━━━━━━━━━━━━━━━━━━╸──────────────────────────  20/50  40 %  0:35 left
    loss 0.6803 ▇▆▅▄▃▂▁▁  lr 6.4e-07  grad norm 8.524  6,412 tokens/s  peak 612 MB

Elsewhere a line for every log, of `name=value`, aligned, to be read by eyes, grep and awk.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.engine.figures import COLUMNS, GAP, Column, chosen, evaluated, number, sparkline
from burnish.engine.pace import Pace
from burnish.progress import REFRESH, drawing, line

SHOWN_SAMPLES = 3
"""Answers that are shown each time; all are in samples.jsonl."""

SHOWN_TEXT = 160
"""Characters of a prompt or an answer in a plain line."""

FIRST = [name for column in COLUMNS if column.title not in ("memory", "epoch") for name in column.names]
"""Names of metrics that come first in a plain line."""

MARKS = {"note": ("·", "cyan"), "warning": ("▲", "yellow"), "error": ("✗", "red")}


class Screen:
    """Shows nothing. The others are of its form; `pace` is that of the run."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def begin(self) -> None:
        """Training begins."""

    def stepped(self) -> None:
        """A step has ended."""

    def logged(self, logs: Mapping[str, Any]) -> None:
        """A log, with `tokens_per_second` and `peak_bytes` among its metrics."""

    def aside(self, title: str, done: int, total: int | None) -> None:
        """Something else than steps is going on: an evaluation, answers to sample prompts."""

    def aside_done(self) -> None:
        """It is over."""

    def notice(self, step: int, severity: str, text: str) -> None:
        """A rule of thumb speaks."""

    def samples(self, step: int, pairs: Sequence[tuple[str, str]]) -> None:
        """Prompts and the model's answers at this step."""

    def end(self) -> None:
        """Training is over."""

    def close(self) -> None:
        """Leave the terminal as it was. Safe to call again."""

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def summary(pace: Pace, logs: Mapping[str, Any]) -> str:
    """What a finished training took, in a line."""
    facts = [f"trained {pace.step:,} steps in {units.duration(pace.seconds)}"]
    if pace.tokens_per_second:
        facts.append(f"{pace.tokens_per_second:,.0f} tokens/s")
    if "peak_bytes" in logs:
        facts.append(f"peak {units.size(logs['peak_bytes'])}")
    return ", ".join(facts)


class PlainScreen(Screen):
    """A line for every log, for files and pipes."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self._widths: dict[str, int] = {}
        self._logs: Mapping[str, Any] = {}

    def logged(self, logs: Mapping[str, Any]) -> None:
        if "train_runtime" in logs:
            self._logs = logs
            return
        prefix = evaluated(logs)
        values = {name: value for name, value in logs.items() if isinstance(value, float | int)}
        if prefix is None and self.pace.left is not None:
            values["seconds_left"] = round(self.pace.left)
        names = sorted(values, key=lambda name: _rank(name.removeprefix(prefix or "")))
        step = f"{self.pace.step}/{self.pace.total}" if self.pace.total else "0"
        cells = [self._padded("step", step), *(self._padded(name, _bare(values[name])) for name in names)]
        self._say("train" if prefix is None else "eval", "  ".join(cells).rstrip())

    def _padded(self, name: str, value: str) -> str:
        """`name=value`, as wide as this cell ever was, and at first a little wider than it is."""
        least = 2 * len(str(self.pace.total)) + 1 if name == "step" else 8
        width = self._widths[name] = max(self._widths.get(name, least), len(value))
        return f"{name}={value.ljust(width)}"

    def notice(self, step: int, severity: str, text: str) -> None:
        self._say(severity, f"step={step}  {text}")

    def samples(self, step: int, pairs: Sequence[tuple[str, str]]) -> None:
        for index, (prompt, answer) in enumerate(pairs[:SHOWN_SAMPLES]):
            texts = (json.dumps(_cut(text, SHOWN_TEXT), ensure_ascii=False) for text in (prompt, answer))
            self._say("sample", f"step={step}  index={index}  " + "  ".join(texts))

    def end(self) -> None:
        print(summary(self.pace, self._logs), flush=True)

    def _say(self, word: str, text: str) -> None:
        print(f"{word:<7} {text}", flush=True)


def _rank(name: str) -> int:
    """The place of a metric in a line: what a person looks at comes first, the rest as it is logged."""
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _bare(value: float) -> str:
    """A number without commas."""
    return str(value) if isinstance(value, int) else number(value).replace(",", "")


def _cut(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class TerminalScreen(Screen):
    """The table and the lines below it. No thread: steps draw, ten times a second at most."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self.console = Console(highlight=False)
        self._live: Live | None = None
        self._stack = ExitStack()
        self._training = False
        self._columns: list[Column] = []
        self._logs: dict[str, Any] = {}
        self._losses: list[float] = []
        self._aside: tuple[str, int, int | None] | None = None
        self._next = 0.0

    def begin(self) -> None:
        self._training, self._columns, self._logs, self._losses = True, [], {}, []
        self._draw(now=True)

    def stepped(self) -> None:
        self._draw()

    def logged(self, logs: Mapping[str, Any]) -> None:
        prefix = evaluated(logs)
        if prefix is None and "loss" in logs:
            self._logs |= logs
            self._losses.append(logs["loss"])
            self._row("", self._cells(logs), "")
        elif prefix is not None:
            name = prefix.removeprefix("eval").strip("_")
            self._row("eval", self._cells(logs, prefix), "cyan", name)
        else:
            self._logs |= logs

    def _cells(self, logs: Mapping[str, Any], prefix: str = "") -> list[str]:
        if not self._columns:
            bare = {name.removeprefix(prefix): value for name, value in logs.items()} if prefix else logs
            self._columns = chosen(bare, self.console.width - len(self._head("", 0)) - 1)
            titles = [column.title.rjust(column.room) for column in self._columns]
            self.console.print()
            self._print(Text((" " * GAP).join([self._head("", "step"), *titles]), style="dim"))
        return [column.of(logs, prefix).rjust(column.room) for column in self._columns]

    def _head(self, word: str, step: int | str) -> str:
        shown = step if isinstance(step, str) else f"{step:,}"
        return f"{word:<5}{shown.rjust(max(4, len(f'{self.pace.total:,}')))}"

    def _row(self, word: str, cells: list[str], style: str, name: str = "") -> None:
        text = Text((" " * GAP).join([self._head(word, self.pace.step), *cells]).rstrip(), style=style)
        if name:
            text.append(f"  {name}", style="dim")
        self._print(text)

    def _print(self, text: Text) -> None:
        text.no_wrap, text.overflow = True, "ellipsis"
        text.truncate(self.console.width - 1, overflow="ellipsis")
        self.console.print(text)

    def notice(self, step: int, severity: str, text: str) -> None:
        mark, colour = MARKS[severity]
        table = Table.grid(padding=(0, 1))
        table.add_row(Text(mark, style=colour), Text(f"step {step:,}: {text}", style=colour))
        self.console.print(table, width=self.console.width - 1)

    def samples(self, step: int, pairs: Sequence[tuple[str, str]]) -> None:
        room = self.console.width - 12
        for prompt, answer in pairs[:SHOWN_SAMPLES]:
            asked = _cut(prompt, max(12, room // 3))
            self._print(
                Text.assemble(
                    (self._head("said", step), "magenta"),
                    "  ",
                    (asked, "dim"),
                    ("  →  ", "dim"),
                    _cut(answer, room),
                )
            )

    def aside(self, title: str, done: int, total: int | None) -> None:
        first = self._aside is None or self._aside[0] != title
        self._aside = (title, done, total)
        self._draw(now=first and self._live is not None)

    def aside_done(self) -> None:
        self._aside = None
        if not self._training:
            self.close()

    def end(self) -> None:
        self.close()
        self._print(Text(summary(self.pace, self._logs), style="bold"))

    def close(self) -> None:
        self._training = False
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._stack.close()

    # The lines below the table

    def _draw(self, now: bool = False) -> None:
        if not now and time.perf_counter() < self._next:
            return
        self._next = time.perf_counter() + REFRESH
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self._stack.enter_context(drawing(self))
        self._live.update(Group(*self._lines()), refresh=True)

    def _lines(self) -> list[Text]:
        lines = []
        if self._training:
            lines += [Text(""), self._progress(), self._facts()]
        if self._aside is not None:
            title, done, total = self._aside
            lines.append(
                line(title, done, total, [f"{done:,}/{total:,}" if total else f"{done:,}"], self.console)
            )
        return lines

    def _progress(self) -> Text:
        step, total = self.pace.step, self.pace.total
        facts = [f"{step:,}/{total:,}", units.share(step / max(total, 1), 0)]
        if self.pace.left is not None:
            facts.append(f"{units.clock(self.pace.left)} left")
        return line("", step, total, facts, self.console)

    def _facts(self) -> Text:
        if "loss" not in self._logs:
            return Text("")
        logs = self._logs
        facts = [f"loss {number(logs['loss'])}"]
        facts += [f"lr {number(logs['learning_rate'])}"] if "learning_rate" in logs else []
        facts += [f"grad norm {number(logs['grad_norm'])}"] if "grad_norm" in logs else []
        facts += [f"{logs['tokens_per_second']:,.0f} tokens/s"] if logs.get("tokens_per_second") else []
        facts += [f"peak {units.size(logs['peak_bytes'])}"]
        room = self.console.width - 3 - sum(len(fact) + GAP for fact in facts)
        if sparks := sparkline(self._losses, min(24, room)):
            facts[0] += f" {sparks}"
        text = Text((" " * GAP).join(facts), style="dim", no_wrap=True)
        text.truncate(self.console.width - 1, overflow="ellipsis")
        return text


def screen_for(pace: Pace, plain: bool) -> Screen:
    """The table on a terminal; lines where there is none, or where they are asked for."""
    if plain or not sys.stdout.isatty() or Console().is_dumb_terminal:
        return PlainScreen(pace)
    return TerminalScreen(pace)
