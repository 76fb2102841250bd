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
    quantization: Annotated[
        str | None,
        flag("quantization", "Of GGUF: F32, F16, BF16, Q8_0; Q4_K_M and others by llama-quantize."),
    ] = None,
    llama_cpp: Annotated[
        str | None, flag("llama_cpp", "Folder of llama.cpp, or its converter; else LLAMA_CPP, or the PATH.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write a model in another form, load that again, and compare it with what was trained."""
    from burnish.cli.export import Request, run_export

    raise typer.Exit(run_export(Request(model, to, output, dtype, quantization, llama_cpp, as_json)))


def card(
    folder: Annotated[str, typer.Argument(help="A run's folder, or what `burnish export` wrote.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Write the model card, README.md: data, options, metrics and lineage of a run."""
    from burnish.cli.push import run_card

    raise typer.Exit(run_card(folder, as_json))


def push(
    folder: Annotated[str, typer.Argument(help="A run's folder, or what `burnish export` wrote.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name, or a name of your own.")],
    public: Annotated[
        bool, typer.Option("--public/--private", help="Who can read it. A new repository is private.")
    ] = False,
    dry_run: Annotated[bool, flag("dry_run", "List what would be uploaded, and stop.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Upload a model with its card to the Hugging Face Hub."""
    from burnish.cli.push import run_push

    raise typer.Exit(run_push(folder, repository, public, dry_run, as_json))


def add_to(app: typer.Typer) -> None:
    for verb in (merge, export, card, push):
        app.command()(verb)
