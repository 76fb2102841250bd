"""`burnish demo`: post-train a small chat model in three stages on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

QUICK_NOTE = (
    "This was the quick run: a random model of half a million weights. It shows that everything works, "
    "not what it is good for; `burnish demo` trains a real one."
)


def demo(output_dir: str | None = None, quick: bool = False, seed: int = 0) -> None:
    """Train SFT, reward model and DPO into `output_dir`, and print base, SFT and DPO side by side.

    `quick` trains a tiny random model built on the spot: no download, under two minutes.
    """
    from transformers.utils import logging

    from burnish.demo import comparison, table
    from burnish.demo.task import make_rows

    logging.set_verbosity_error()
    console = Console()
    sizes = comparison.QUICK if quick else comparison.FULL
    rows = make_rows(seed, sizes.lessons, sizes.preferences, sizes.held_out)
    output = Path(output_dir or tempfile.mkdtemp(prefix="burnish-demo-"))
    output.mkdir(parents=True, exist_ok=True)
    console.print(f"Customers' notes become tickets. Models and numbers go to {output}")
    outcome = comparison.run(_base(quick, output, rows, seed), rows, sizes, output, seed)
    table.show(outcome, console)
    if quick:
        console.print(QUICK_NOTE)


def _base(quick: bool, output: Path, rows, seed: int) -> Path:
    if quick:
        from burnish.demo.tiny import tiny_model

        return tiny_model(output / "base", rows, seed)
    from burnish.demo.model import default_model

    return default_model()
