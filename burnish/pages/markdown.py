"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence


def lines_of(cells: Sequence[Sequence[str]]) -> str:
    """The rows of a table. Pipes in cells are escaped; the row of dashes is one of `cells`."""
    return "\n".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in row)} |" for row in cells)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def linked(text: str) -> str:
    """With a link for every paper."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
