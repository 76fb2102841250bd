"""The `burnish` command. One module per verb; what is heavy is imported when its verb runs."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from burnish import __version__
from burnish.cli import verbs_compare, verbs_config, verbs_export
from burnish.cli.spelling import flag as _flag
from burnish.errors import UserError
from burnish.pipeline.methods import METHODS
from burnish.secrets import hidden

app = typer.Typer(
    name="burnish",
    help="Post-training of language models on one engine: SFT, reward models, preferences, distillation.",
    add_completion=False,
    rich_markup_mode=None,
)


INTERRUPTED = 130
"""The exit code of Ctrl-C, by custom of shells."""


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
    dry_run: Annotated[
        bool, _flag("dry_run", "Say what each stage would do and why; train nothing.")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="stage.key=value, defaults.key=value or key=value.")
    ] = None,
    as_json: Annotated[bool, _flag("json", "Print one JSON object, and nothing else.")] = False,
) -> None:
    """Run the stages of a pipeline file; those that are finished and unchanged are skipped."""
    from burnish.cli.run import Request
    from burnish.cli.run import run as run_file

    run_file(Request(file, dry_run, assignments or [], as_json))


@app.command()
def plan(
    file: Annotated[str, typer.Argument(metavar="CONFIG.YAML", help="A pipeline, or a config with method:.")],
    device: Annotated[
        str | None, _flag("device", "A GPU by name, as h100 or rtx4090; else this machine.")
    ] = None,
    assignments: Annotated[list[str] | None, _flag("set", "stage.key=value, or key=value.")] = None,
    as_json: Annotated[bool, _flag("json", "Print everything as JSON, and nothing else.")] = False,
) -> None:
    """Predict memory and time of a config before anything is loaded, and the largest length that fits."""
    from burnish.cli.plan import run as run_plan

    run_plan(file, device, assignments or [], as_json)


@app.command()
def init(
    data: Annotated[list[str], typer.Argument(help="Files, folders or hub ids: chats, pairs, labels ...")],
    model: Annotated[str | None, _flag("model", "The model to train; its tokenizer counts tokens.")] = None,
    output: Annotated[str, _flag("output", "The file to write.")] = "pipeline.yaml",
    as_json: Annotated[bool, _flag("json", "Print one JSON object, and nothing else.")] = False,
) -> None:
    """Write a commented pipeline file from the rows themselves."""
    from burnish.cli.init import run as run_init

    run_init(data, model, output, as_json)


@app.command()
def inspect(
    data: Annotated[str, typer.Argument(help="A file, a folder, a pattern, a hub id; DATA#500 samples 500.")],
    method: Annotated[str | None, _flag("method", "A method, as dpo; else the format is recognised.")] = None,
    model: Annotated[str | None, _flag("model", "Whose tokenizer says what is trained.")] = None,
    columns: Annotated[str | None, _flag("columns", "Your names: question=ticket,chosen=good.")] = None,
    row_function: Annotated[
        str | None, _flag("row_function", "module:function that makes a row of a known format.")
    ] = None,
    max_length: Annotated[int, _flag("max_length", "Longest row in tokens; 0: no limit.", min=0)] = 1024,
    truncation_mode: Annotated[str, _flag("truncation_mode", "What a longer row loses.")] = "keep_start",
    as_chats: Annotated[
        bool, _flag("as_chats", "Take plain texts for a user's and the assistant's turn.")
    ] = False,
    assistant_only_loss: Annotated[
        bool, _flag("assistant_only_loss", "Train the assistant's turns only.")
    ] = False,
    split: Annotated[str, _flag("split", "Split of a folder or a hub dataset.")] = "train",
    evaluation: Annotated[
        str | None, _flag("eval", "Rows that must not be among these; else the folder's held-out split.")
    ] = None,
    show: Annotated[int, _flag("show", "How many rows to show as they are trained.", min=0)] = 0,
    as_json: Annotated[bool, _flag("json", "Print everything as JSON, and nothing else.")] = False,
    html: Annotated[str | None, _flag("html", "Write one self-contained page.")] = None,
    fix: Annotated[
        str | None, _flag("fix", "Write a clean copy, and beside it what was left out or mended, and why.")
    ] = None,
    fail_on: Annotated[
        str | None, _flag("fail_on", 'Exit with 1 where there is more: "faults>0,duplicates>5%".')
    ] = None,
) -> None:
    """Look at rows before training: format, lengths, what is trained of them, and what is wrong."""
    from burnish.cli.inspect import Request
    from burnish.cli.inspect import run as run_inspect

    code = run_inspect(
        Request(
            data,
            method=method,
            model=model,
            columns=columns,
            row_function=row_function,
            max_length=max_length,
            truncation_mode=truncation_mode,
            assistant_only_loss=assistant_only_loss,
            as_chats=as_chats,
            split=split,
            evaluation=evaluation,
            show=show,
            as_json=as_json,
            html=html,
            fix=fix,
            fail_on=fail_on,
        )
    )
    raise typer.Exit(code)


@app.command("evaluate-reward")
def evaluate_reward(
    model: Annotated[str, typer.Argument(help="A reward model: a folder or a hub id; adapters too.")],
    data: Annotated[str, typer.Argument(help="A file, a folder, a pattern, a hub id; DATA#500 samples 500.")],
    columns: Annotated[str | None, _flag("columns", "Your names: question=ticket,chosen=good.")] = None,
    row_function: Annotated[
        str | None, _flag("row_function", "module:function that makes a row of a known format.")
    ] = None,
    split: Annotated[str, _flag("split", "Split of a folder or a hub dataset.")] = "train",
    subset_column: Annotated[str, _flag("subset_column", "The column to group rows by.")] = "subset",
    as_chats: Annotated[
        bool, _flag("as_chats", "Take plain texts for a chat: the prompt a user's turn.")
    ] = False,
    max_length: Annotated[
        int, _flag("max_length", "Longest prompt with a completion; 0: the model's limit.", min=0)
    ] = 0,
    truncation_mode: Annotated[
        str, _flag("truncation_mode", "What a longer row does: drop (counted), or error.")
    ] = "drop",
    on_bad_row: Annotated[
        str, _flag("on_bad_row", "What a row that cannot be read does: stop, or skip (counted).")
    ] = "stop",
    dtype: Annotated[str, _flag("dtype", "Of the weights; auto: as stored, where that is fast.")] = "auto",
    tokens_per_forward: Annotated[
        int, _flag("tokens_per_forward", "Bounds memory, changes nothing else; 0: by device.", min=0)
    ] = 0,
    as_json: Annotated[bool, _flag("json", "Print everything as JSON, and nothing else.")] = False,
    html: Annotated[str | None, _flag("html", "Write one self-contained page.")] = None,
    fail_under: Annotated[
        float | None, _flag("fail_under", "Exit with 1 where the accuracy is lower: 0.7.")
    ] = None,
) -> None:
    """Measure a reward model on known preferences: accuracy, calibration, length bias, best of n."""
    from burnish.cli.evaluate_reward import Request
    from burnish.cli.evaluate_reward import run as run_evaluation

    code = run_evaluation(
        Request(
            model,
            data,
            columns=columns,
            row_function=row_function,
            split=split,
            subset_column=subset_column,
            as_chats=as_chats,
            max_length=max_length,
            truncation_mode=truncation_mode,
            on_bad_row=on_bad_row,
            dtype=dtype,
            tokens_per_forward=tokens_per_forward,
            as_json=as_json,
            html=html,
            fail_under=fail_under,
        )
    )
    raise typer.Exit(code)


@app.command()
def report(
    folder: Annotated[str, typer.Argument(help="The output_dir of a run, or of a pipeline.")],
    html: Annotated[str | None, _flag("html", "Where to write the page; else FOLDER/report.html.")] = None,
    as_json: Annotated[bool, _flag("json", "Print the summary as JSON, and nothing else.")] = False,
) -> None:
    """Write one page of what a run or a pipeline did, and whether it worked."""
    from burnish.cli.report import run as run_report

    run_report(folder, html, as_json)


@app.command()
def env(as_json: Annotated[bool, _flag("json", "Print it as JSON, and nothing else.")] = False) -> None:
    """Print the versions and the machine, for reports and questions."""
    from burnish.cli.env import show

    show(as_json)


@app.command()
def demo(
    output_dir: Annotated[
        str | None,
        typer.Option(
            "--output_dir", "--output-dir", help="Folder for rows, models and the report. [runs/demo]"
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tiny model, in under two minutes.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the rows and of the training.")] = 0,
) -> None:
    """Walk through the first hour on this machine: inspect, plan, train in three stages, compare, report."""
    from burnish.cli.demo import demo as run_demo

    raise typer.Exit(run_demo(main, output_dir, quick, seed))


verbs_config.add_to(app)
verbs_export.add_to(app)
verbs_compare.add_to(app)


def main(words: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, 2 for wrong input, 1 for anything unexpected."""
    wait_without_spinning()
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        code = app(words, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if debug:
            print(hidden(traceback.format_exc()), file=sys.stderr)
        return complain(error)
    if code == INTERRUPTED:  # typer returns this too, and says nothing
        print("\nstopped", file=sys.stderr)
    return code


def wait_without_spinning() -> None:
    """Let OpenMP threads sleep soon when they wait, which must be said before torch is loaded.

    By default they spin for milliseconds at the end of every small operation. On a core that someone
    else is using too, that makes a step five times as slow; alone on the machine it makes no difference.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def complain(error: Exception) -> int:
    """Print an error for people, and return its exit code."""
    if isinstance(error, UserError):
        print(f"error: {hidden(str(error))}", file=sys.stderr)
        return 2
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # a wrong command line, from typer
        print(f"error: {hidden(error.format_message())}", file=sys.stderr)
        return int(error.exit_code)
    print(f"error: {type(error).__name__}: {hidden(str(error))}", file=sys.stderr)
    print("  run again with --debug for the traceback", file=sys.stderr)
    return 1
