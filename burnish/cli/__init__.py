"""The `burnish` command. One module per verb; what is heavy is imported when its verb runs."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from burnish import __version__
from burnish.errors import UserError
from burnish.pipeline.methods import METHODS

app = typer.Typer(
    name="burnish",
    help="Post-training of language models on one engine: SFT, reward modeling and DPO.",
    add_completion=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"burnish {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def add_method(name: str, summary: str) -> None:
    """A verb that takes every field of the method's config as a flag."""
    raw = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}

    def verb(context: typer.Context) -> None:
        from burnish.cli.method import train

        train(name, context.args)

    app.command(name, help=summary, add_help_option=False, context_settings=raw)(verb)


for _method in METHODS.values():
    add_method(_method.name, _method.summary)


@app.command()
def run(
    file: Annotated[str, typer.Argument(metavar="PIPELINE.YAML", help="A pipeline file.")],
    check: Annotated[
        bool, typer.Option("--check", help="Check every stage and stop before training.")
    ] = False,
) -> None:
    """Run the stages of a pipeline file."""
    from burnish.cli.run import run as run_file

    run_file(file, check)


@app.command()
def env() -> None:
    """Print the versions and the machine, for reports and questions."""
    from burnish.cli.env import show

    show()


@app.command()
def demo(
    output_dir: Annotated[
        str | None, typer.Option("--output_dir", "--output-dir", help="Folder for models and numbers.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tiny model, in under two minutes.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the rows and of the training.")] = 0,
) -> None:
    """Post-train a small chat model in three stages on this machine, and show what it learned."""
    from burnish.cli.demo import demo as run_demo

    run_demo(output_dir, quick, seed)


def main(words: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 2 for wrong input, 1 for anything unexpected."""
    wait_without_spinning()
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        return app(words, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        return report(error)


def wait_without_spinning() -> None:
    """Let OpenMP threads sleep soon when they wait, which must be said before torch is loaded.

    By default they spin for milliseconds at the end of every small operation. On a core that someone
    else is using too, that makes a step five times as slow; alone on the machine it makes no difference.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def report(error: Exception) -> int:
    """Print an error for people, and return its exit code."""
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
        return 2
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # a wrong command line, from typer
        print(f"error: {error.format_message()}", file=sys.stderr)
        return int(error.exit_code)
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
    print("  run again with --debug for the traceback", file=sys.stderr)
    return 1
