"""The verbs that take a model away: merge, export, card, push."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.spelling import flag

JSON = flag("json", "Print everything as JSON, and nothing else.")


def merge(
    adapter: Annotated[str, typer.Argument(help="A folder with an adapter; its base may be an adapter too.")],
    output: Annotated[str | None, flag("output", "Folder to write; else ADAPTER-merged.")] = None,
    dtype: Annotated[
        str | None, flag("dtype", "float32, bfloat16, float16; else as the base is stored.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Make one model of a base and its adapters, and compare it with what was trained."""
    from burnish.cli.export import run_merge

    raise typer.Exit(run_merge(adapter, output, dtype, as_json))


def export(
    model: Annotated[str, typer.Argument(help="What was trained: a model or an adapter.")],
    to: Annotated[str, flag("to", "safetensors, gguf or ollama.")] = "safetensors",
    output: Annotated[str | None, flag("output", "Folder to write; else MODEL-<form>.")] = None,
    dtype: Annotated[
        str | None, flag("dtype", "Of safetensors: float32, bfloat16, float16; else as stored.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write a model in another form, load that again, and compare it with what was trained."""
    from burnish.cli.export import run_export

    raise typer.Exit(run_export(model, to, output, dtype, as_json))


def add_to(app: typer.Typer) -> None:
    for verb in (merge, export):
        app.command()(verb)
