"""Voting in the terminal: two answers, blind and in random order, and a key for the better one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

from rich import box as boxes
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from burnish.comparison.prompts import as_text
from burnish.comparison.result import Comparison
from burnish.comparison.votes import ONE, SKIP, TIE, TWO, Ballot, Box, ballots, counted
from burnish.data.example import Text as Prompt
from burnish.errors import UserError
from burnish.pages.shell import visible

KEYS = "1 or 2: better   t: tie   s: skip   u: undo   q: quit"
VOTES = {"1": ONE, "2": TWO, "t": TIE, "s": SKIP}
LEAST = 72
"""Characters of a terminal in which two answers stand side by side."""


def voted(comparison: Comparison, box: Box, stream: TextIO) -> Comparison:
    """Ask for votes, and add what they say as the first measure. Raises `UserError` without two models."""
    if len(comparison.names) < 2:
        raise UserError("two models are needed to vote", where="--vote", fix="give a second model")
    console = Console(file=stream, highlight=False)
    with keys() as key:
        vote(comparison, box, console, key)
    answered = comparison.answered
    if not any(box.of(each.key) for each in ballots(answered)):
        console.print("No votes were cast.")
        return comparison
    try:
        measure = counted(answered, box)
    except UserError:  # all were skipped
        return comparison
    return replace(comparison, measures=[measure, *comparison.measures])


def vote(comparison: Comparison, box: Box, console: Console, key: Callable[[], str]) -> None:
    """Show ballots that have no vote yet, one after the other, until all have one or the person leaves."""
    every = ballots(comparison.answered)
    waiting = [ballot for ballot in every if box.of(ballot.key) is None]
    cast: list[Ballot] = []
    if not every:
        console.print("The answers are the same at every prompt: there is nothing to vote on.")
    elif not waiting:
        console.print(f"All {len(every):,} pairs of answers have a vote: {box.path}", markup=False)
    while waiting:
        ballot = waiting[0]
        console.print(shown(ballot, len(every) - len(waiting) + 1, len(every), console.width))
        pressed = key()
        while pressed not in VOTES and pressed not in ("u", "q", ""):
            console.print(Text(KEYS, style="dim"))
            pressed = key()
        if pressed in ("q", ""):
            break
        if pressed == "u":
            if cast:
                box.undo()
                waiting.insert(0, cast.pop())
                console.print(Text("taken back", style="dim"))
            else:
                console.print(Text("nothing to take back", style="dim"))
            continue
        box.cast(ballot, VOTES[pressed], comparison.names)
        cast.append(waiting.pop(0))
    if cast:
        console.print(f"{len(cast):,} votes are in {box.path}", markup=False)


def shown(ballot: Ballot, number: int, of: int, width: int) -> Table:
    """A prompt, the two answers in columns or below each other, and the keys."""
    page = Table.grid(expand=True)
    page.add_row(Text(f"\n{number} of {of}", style="dim"))
    page.add_row(Text(visible(conversation(ballot.prompt)), style="bold"))
    panels = [
        Panel(
            Text(visible(text.strip()) or "(nothing)"),
            title=str(place),
            title_align="left",
            box=boxes.ROUNDED,
        )
        for place, text in enumerate(ballot.texts, start=1)
    ]
    if width >= LEAST:
        columns = Table.grid(expand=True, padding=(0, 1))
        columns.add_column(ratio=1)
        columns.add_column(ratio=1)
        columns.add_row(*panels)
        page.add_row(columns)
    else:
        for panel in panels:
            page.add_row(panel)
    page.add_row(Text(KEYS, style="dim"))
    return page


def conversation(prompt: Prompt) -> str:
    """What was asked; of several turns each with its role."""
    if isinstance(prompt, str) or len(prompt) == 1:
        return as_text(prompt)
    return "\n".join(f"{message['role']}: {message.get('content') or ''}" for message in prompt)


@contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """Reads one key at a time from a terminal, else one character of the input. Empty at its end.

    The terminal stays in this mode from the first ballot to the last: were it set for each key, one that is
    pressed while an answer is drawn would be lost. What was typed before the first ballot is no vote.
    """
    if not sys.stdin.isatty():
        yield _character
        return
    if sys.platform == "win32":  # its console keeps keys until they are asked for
        import msvcrt

        yield lambda: _meant(msvcrt.getwch)
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSAFLUSH)
    try:
        yield lambda: _meant(lambda: _pressed(terminal))
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _meant(read: Callable[[], str]) -> str:
    """A key in lower case; Ctrl-C and Ctrl-D leave."""
    try:
        key = read()
    except (KeyboardInterrupt, EOFError):
        return "q"
    return "q" if key in ("\x03", "\x04") else key.lower()


ENTIRE = re.compile(rb"\x1b(O.|\[[0-?]*[ -/]*[@-~]|[^O\[])", re.DOTALL)
"""A key that comes as several characters (ECMA-48, 5.4)."""


def _pressed(terminal: int) -> str:
    """The next key. Arrows and their like come as several characters, none of which is a vote.

    Such a sequence ends by itself (ESC O and one more, ESC [ and all up to a letter or ~), so that keys which
    are pressed right behind it are read on their own.
    """
    import select

    key = os.read(terminal, 1)
    while key[:1] == b"\x1b" and not ENTIRE.fullmatch(key) and select.select([terminal], [], [], 0)[0]:
        key += os.read(terminal, 1)
    return key.decode("latin-1")


def _character() -> str:
    while True:
        found = sys.stdin.read(1)
        if not found.isspace():
            return found.lower()
