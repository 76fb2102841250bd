"""How options may be written."""

from __future__ import annotations

from typing import Any

import typer


def flag(name: str, summary: str, **settings: Any) -> Any:
    """An option that may be written with dashes too."""
    spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
    return typer.Option(*spellings, help=summary, **settings)
