"""The verbs that help with configuration: explain, schema, import."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.spelling import flag


def explain(
    key: Annotated[str, typer.Argument(help="An option, as beta or dpo.loss_type; other tools' names too.")],
    method: Annotated[str, flag("method", "What it is in one method.")] = "",
    as_json: Annotated[bool, flag("json", "Print it as JSON, and nothing else.")] = False,
) -> None:
    """Say what an option is: meaning, type, unit, default, what it goes with, what TRL calls it."""
    from burnish.cli.explain import show

    show(key, method, as_json)


def schema(
    kind: Annotated[str, typer.Argument(help="pipeline, or a method, as dpo.")] = "pipeline",
) -> None:
    """Print the JSON Schema of a pipeline file, or of a method's, for editors."""
    from burnish.cli.schema import show

    show(kind)


def import_file(
    file: Annotated[str, typer.Argument(help="A YAML file of TRL, Axolotl or LLaMA-Factory.")],
    output: Annotated[str | None, flag("output", "The pipeline file to write; else it is printed.")] = None,
    method: Annotated[str, flag("method", "Of a file of TRL, which does not say it.")] = "",
    as_json: Annotated[bool, flag("json", "Print everything as JSON, and nothing else.")] = False,
) -> None:
    """Make a pipeline file of another tool's configuration; what has no counterpart is listed."""
    from burnish.cli.importing import run

    run(file, output, method, as_json)


def add_to(app: typer.Typer) -> None:
    app.command()(explain)
    app.command()(schema)
    app.command("import")(import_file)
