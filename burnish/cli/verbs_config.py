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


def add_to(app: typer.Typer) -> None:
    app.command()(explain)
    app.command()(schema)
