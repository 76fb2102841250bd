"""How far something is: one bar at a time on the terminal's error stream, which is gone when it is done.

    Preparing pairs.jsonl ━━━━━━━━━━━━╸─────────────  48,128/100,000 rows  0:05 left

It appears only for what takes a moment, and without a terminal a line says every half minute how far it is.
Nothing runs beside the work: a bar draws itself as it is moved. The display of a training run is made of the
same parts (`engine/screen.py`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from burnish import units

DELAY = 0.4
"""Seconds before a bar appears: what is faster needs none."""

REFRESH = 0.1
"""Seconds between two drawings."""

REPORT = 30.0
"""Seconds between two lines where there is no terminal."""

FULL, HALF, EMPTY = "━", "╸", "─"

_drawn: list[Any] = []
"""What draws on the terminal now. A bar inside of another display stays away."""


class Bar:
    """A bar that `update` moves. Use it as a context; `close` takes it off."""

    def __init__(self, title: str, total: int | None = None, unit: str = "", *, shown: bool = True) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.n, self.start = 0, time.perf_counter()
        self._shown = shown
        self._live: Live | None = None
        self._next = self.start + (DELAY if sys.stderr.isatty() else REPORT)

    def update(self, count: int = 1) -> None:
        """So many more are done."""
        self.n += count
        if self._shown and time.perf_counter() >= self._next:
            self._draw()

    def move_to(self, done: int, total: int) -> None:
        """`done` of `total` are done: for what counts by itself."""
        self.total = total
        self.update(done - self.n)

    def _draw(self) -> None:
        if not sys.stderr.isatty():
            self._next = time.perf_counter() + REPORT
            print(self._words(), file=sys.stderr, flush=True)
            return
        self._next = time.perf_counter() + REFRESH
        if self._live is None:
            if _drawn:
                return
            self._live = Live(
                console=Console(stderr=True, highlight=False),
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what goes to a file stays there
            )
            self._live.start()
            _drawn.append(self)
        self._live.update(self._line(self._live.console), refresh=True)

    def _line(self, console: Console) -> Text:
        return line(self.title, self.n, self.total, self._facts(), console)

    def _facts(self) -> list[str]:
        of = f"/{self.total:,}" if self.total else ""
        facts = [f"{self.n:,}{of} {self.unit}".rstrip()]
        if self.total and 0 < self.n <= self.total:
            passed = time.perf_counter() - self.start
            facts.append(f"{units.clock(passed / self.n * (self.total - self.n))} left")
        return facts

    def _words(self) -> str:
        return "  ".join([self.title, *self._facts()])

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            _drawn.remove(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def drawing(display: Any) -> Iterator[None]:
    """While something else draws on the terminal, bars stay away."""
    _drawn.append(display)
    try:
        yield
    finally:
        _drawn.remove(display)


# The parts of a display


def line(title: str, done: int, total: int | None, facts: Iterable[str], console: Console) -> Text:
    """A title, a gauge and facts in one line, which is never wider than the terminal."""
    after = "  ".join(facts)
    text = Text(f"{title} " if title else "", no_wrap=True, overflow="ellipsis")
    room = console.width - len(title) - len(after) - 5
    if total and room >= 8:
        text.append_text(gauge(done / total, min(room, 48), console)).append("  ")
    text.append(after, style="dim" if title else "")
    text.truncate(console.width - 1, overflow="ellipsis")
    return text


def gauge(share: float, width: int, console: Console) -> Text:
    """A bar of `width` characters of which `share`, between 0 and 1, is filled."""
    plain = (console.encoding or "").lower().replace("-", "") != "utf8"
    full, half, empty = ("=", ">", ".") if plain else (FULL, HALF, EMPTY)
    halves = round(2 * width * min(1.0, max(0.0, share)))
    filled = full * (halves // 2) + half * (halves % 2)
    rest = empty * (width - len(filled))
    return Text.assemble((filled, "cyan"), (rest, "bright_black"))


# Bars of transformers


class _Borrowed(Bar):
    """A bar with the methods of tqdm that transformers calls."""

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any) -> None:
        total = options.get("total")
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        super().__init__(
            options.get("desc") or "", total, options.get("unit", ""), shown=not options.get("disable")
        )
        self.iterable = iterable

    def __iter__(self) -> Iterator[Any]:
        for item in self.iterable or ():
            yield item
            self.update()
        self.close()

    def set_description(self, title: str | None = None, refresh: bool = True) -> None:
        self.title = (title or "").removesuffix(": ")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **options: None  # postfixes, colours and the like


@contextmanager
def own_bars() -> Iterator[None]:
    """Within this context the bars of transformers look like ours."""
    from transformers.utils import logging

    before = logging.set_tqdm_hook(lambda factory, args, options: _Borrowed(*args, **options))
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)
