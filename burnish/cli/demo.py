"""`burnish demo`: the first hour in minutes. Rows and a pipeline are written into a folder; what follows are
the verbs that anyone would use, each shown before it runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from burnish.demo.folder import FULL, QUICK, SLOW, DemoFolder, Sizes, furnish, rows_of

QUICK_NOTE = (
    "This was the quick run: a random model of half a million weights. It shows that everything works, "
    "not what it is good for; `burnish demo` trains a real one."
)


def demo(run: Callable[[list[str]], int], output_dir: str | None, quick: bool, seed: int) -> int:
    """Walk through the verbs in `output_dir`; the exit code of the first that fails, or 0.

    `run` runs a command line. `quick` trains a tiny random model built on the spot, without a download.
    """
    from burnish.cli.quiet import quiet

    quiet()
    started = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    folder = made(Path(output_dir or "runs/demo"), quick, seed)
    console.print(f"Customers' notes become tickets. Rows and the pipeline are in {folder.path}")
    for words in steps(folder):
        console.print(f"\n[bold]$ burnish {shlex.join(words)}[/]")
        if code := run(words):
            return code
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    console.print(f"\nAll of it took {minutes} min {seconds} s.")
    if quick:
        console.print(QUICK_NOTE)
    console.print(f"To change something: {folder.pipeline}. To try it: burnish chat {folder.path}/runs/dpo")
    console.print(f"report  {folder.path}/runs/report.html")
    return 0


def steps(folder: DemoFolder) -> Sequence[list[str]]:
    """The command lines of the demo, in order."""
    return [
        ["inspect", str(folder.pairs), "--method", "dpo", "--model", folder.model, "--show", "1"],
        ["plan", str(folder.pipeline)],
        ["run", str(folder.pipeline)],
    ]


def made(folder: Path, quick: bool, seed: int) -> DemoFolder:
    if quick:
        from burnish.demo.tiny import tiny_model

        base = tiny_model(folder / "base", rows_of(QUICK, seed), seed)
        return furnish(folder, str(base), QUICK, seed)
    from burnish.demo.model import default_model

    return furnish(folder, str(default_model()), sizes(), seed)


def sizes() -> Sizes:
    """As much as takes about five minutes."""
    import torch

    from burnish.models.precision import fast_bfloat16

    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return FULL if fast_bfloat16(device) else SLOW
