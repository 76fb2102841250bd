"""`burnish import`: a configuration of TRL, Axolotl or LLaMA-Factory as a pipeline file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from burnish.errors import UserError
from burnish.pipeline.foreign.convert import Converted
from burnish.pipeline.foreign.write import imported


def run(file: str, output: str | None, method: str, as_json: bool) -> None:
    """Write the pipeline, or print it; then what was not translated. Raises `UserError`."""
    found, text = imported(file, method)
    if output is not None:
        if Path(output).exists():
            raise UserError(f"{output} is there already", where="--output", fix="name another file")
        Path(output).write_text(text, encoding="utf-8")
    if as_json:
        print(json.dumps(as_dict(found, text, output), indent=2, ensure_ascii=False, default=str))
    elif output is None:
        print(text, end="")
        print("\n".join(summary(found)), file=sys.stderr)
    else:
        print("\n".join(summary(found)))
        print(f"wrote  {output}")
        print(f"next   burnish run {output} --dry-run")


def as_dict(found: Converted, text: str, output: str | None) -> dict:
    return {
        "tool": found.tool,
        "method": found.method.name,
        "settings": {option: asdict(line) for option, line in {**found.top, **found.lines}.items()},
        "unneeded": found.unneeded,
        "missing": found.missing,
        "warnings": found.warnings,
        "output": output,
        "text": text,
    }


def summary(found: Converted) -> Iterator[str]:
    """How many keys became what, and each without a counterpart with its reason."""
    origins = {line.origin for line in (*found.top.values(), *found.lines.values())}
    translated = [origin for origin in origins if not origin.startswith("default")]
    yield (
        f"{found.tool} → {found.method.name}: {len(translated)} keys translated, "
        f"{len(found.unneeded)} not needed, {len(found.missing)} without a counterpart"
    )
    for key, why in found.missing.items():
        yield f"  {key}: {why}"
    for warning in found.warnings:
        yield f"warning: {warning}"
