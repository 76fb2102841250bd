"""`burnish schema`: the JSON Schema of a file, for editors."""

from __future__ import annotations

import json

from burnish.errors import UserError, nearest
from burnish.pipeline.methods import METHODS
from burnish.pipeline.schema import schema_of


def show(name: str) -> None:
    """Print the schema of `pipeline`, or of a method's file. Raises `UserError`."""
    if name not in ("pipeline", *METHODS):
        raise UserError(
            f"there is no file of kind '{name}'.{nearest(name, ('pipeline', *METHODS))}",
            fix=f"name one of pipeline, {', '.join(METHODS)}",
        )
    print(json.dumps(schema_of(name), indent=2, ensure_ascii=False))
