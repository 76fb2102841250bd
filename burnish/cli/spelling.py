"""How options may be written, and numbers are."""

from __future__ import annotations

from typing import Any

import typer


def flag(name: str, summary: str, **settings: Any) -> Any:
    """An option that may be written with dashes too."""
    spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
    return typer.Option(*spellings, help=summary, **settings)


def bytes_in_words(size: int) -> str:
    """`1.3 GB`."""
    number, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
