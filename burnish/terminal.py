"""Where tables and sentences are printed."""

from __future__ import annotations

import os
import sys

from rich.console import Console

PIPED = 160
"""Columns of tables where there is no terminal."""


def open_console() -> Console:
    """As wide as the terminal; in a file or a pipe as wide as tables want to be, unless COLUMNS says."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED
    return Console(highlight=False, width=wide)
