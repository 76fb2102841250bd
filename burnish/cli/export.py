"""`burnish merge` and `burnish export`: a model taken away, and what came of comparing it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.cli.quiet import quiet
from burnish.errors import UserError
from burnish.export.export import Artefact, check_form, export_safetensors, merge
from burnish.terminal import open_console

EXIT_DIFFERS = 1
MARKS = {True: Text("ok", style="green"), False: Text("DIFFERS", style="bold red"), None: Text("")}


def run_merge(adapter: str, output: str | None, dtype: str | None, as_json: bool) -> int:
    quiet()
    return report(merge(adapter, output, dtype, say), as_json)


@dataclass(frozen=True)
class Request:
    """The command line of `burnish export`."""

    model: str
    to: str = "safetensors"
    output: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    llama_cpp: str | None = None
    as_json: bool = False

    def check(self) -> None:
        """Raises `UserError` for what cannot be together."""
        check_form(self.to)
        gguf_only = {"--quantization": self.quantization, "--llama_cpp": self.llama_cpp}
        other = gguf_only if self.to == "safetensors" else {"--dtype": self.dtype}
        for name, value in other.items():
            if value is not None:
                form = "a GGUF file" if self.to == "safetensors" else "safetensors"
                fix = (
                    "leave it out"
                    if self.to == "safetensors"
                    else f"leave it out, or say --quantization {value}"
                )
                raise UserError(f"this is for {form}, and --to {self.to} has none", where=name, fix=fix)


def run_export(request: Request) -> int:
    request.check()
    quiet()
    if request.to == "safetensors":
        return report(export_safetensors(request.model, request.output, request.dtype, say), request.as_json)
    from burnish.export.gguf import export_gguf

    artefact = export_gguf(
        request.model,
        request.output,
        quantization=request.quantization or "BF16",
        llama_cpp=request.llama_cpp,
        ollama=request.to == "ollama",
        say=say,
    )
    return report(artefact, request.as_json)


def say(line: str) -> None:
    """What goes on, where someone looks on."""
    if sys.stderr.isatty():
        print(f"{line} ...", file=sys.stderr)


def report(artefact: Artefact, as_json: bool) -> int:
    """Print what was written and compared. Returns the exit code."""
    if as_json:
        print(json.dumps(artefact.to_dict(), ensure_ascii=False))
    else:
        show(artefact, open_console())
    return 0 if artefact.verification.passed else EXIT_DIFFERS


def show(artefact: Artefact, console: Console) -> None:
    verification = artefact.verification
    table = Table.grid(padding=(0, 2))
    for check in verification.checks:
        table.add_row(MARKS[check.ok], check.name, Text(check.what, overflow="fold"))
    console.print(table)
    console.print()
    size = sum(path.stat().st_size for path in artefact.files)
    console.print(Text(f"wrote {artefact.folder}: {len(artefact.files)} files, {units.size(size)}"))
    if verification.passed:
        console.print(
            Text(f"It is what was trained in {verification.trained}, compared by {verification.compared_by}.")
        )
    else:
        console.print(Text(f"This is not what was trained in {verification.trained}.", style="bold red"))
        console.print(
            Text(f"It was left there to look at; all that was found is in {artefact.folder}/verify.json.")
        )
