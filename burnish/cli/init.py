"""`burnish init`: a pipeline file from the rows themselves."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.cli.held_out import HELD_OUT, compare_lines, held_out_prompts, json_line
from burnish.cli.inspect import load_tokenizer
from burnish.cli.quiet import quiet
from burnish.data.example import Example
from burnish.data.inspection.inspect import inspect, reader_of
from burnish.data.inspection.inspection import Inspection
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.family import Family
from burnish.data.reading.formats import SCORED
from burnish.data.sources.holdout import prompt_keys
from burnish.data.sources.rows import RowReader, Source
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from burnish.pipeline.draft import METHODS_OF, Facts, draft

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model where none is named: small enough for any machine, and it chats already."""


def run(data: Sequence[str], model: str | None, output: str, as_json: bool) -> None:
    """Look at the rows and write the file. Raises `UserError`, and never writes over a file."""
    path = Path(output)
    if path.exists():
        raise UserError("there is a file already", where=output, fix="give another --output, or remove it")
    quiet()
    tokenizer = None if model is None else load_tokenizer(model)
    looked = [look_at(name, tokenizer) for name in data]
    found = [each.facts for each in looked]
    parameters, context = size_of(model)
    words = ["burnish", "init", *data, *(["--model", model] if model else [])]
    text = draft(
        found, model or MODEL, parameters, context, f"runs/{path.stem}", head(words, output, model is None)
    )
    prompts = path.with_name(HELD_OUT)
    rows = [] if prompts.exists() else held_out_prompts(looked)
    text += compare_lines(prompts) if rows else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if rows:
        prompts.write_text("".join(map(json_line, rows)), encoding="utf-8")
    if as_json:
        print(json.dumps({"file": output, "text": text, "sources": [vars(f) for f in found]}, default=str))
    else:
        print(text, end="")
        if rows:
            print(f"\nwrote  {prompts}: {len(rows):,} prompts that no stage is trained on", file=sys.stderr)
        print(f"\nwrote  {output}\nnext   burnish run {output} --dry-run", file=sys.stderr)


def head(words: Sequence[str], output: str, without_model: bool) -> str:
    lines = [
        f"Written by `{shlex.join(words)}`",
        "from what is in the rows. Change what you like.",
        f"`burnish run {output} --dry-run` says what each stage would do, `burnish run {output}` does it.",
    ]
    if without_model:
        lines.append("Lengths are guessed from characters: name your own model with --model to count tokens.")
    return "\n".join(f"# {line}" for line in lines)


@dataclass(frozen=True)
class Looked:
    """A source, what reads its rows, and what was found in it."""

    facts: Facts
    source: Source
    reader: RowReader


def look_at(name: str, tokenizer: Any) -> Looked:
    """What the rows are, and how long. Raises `UserError` where no method trains on such rows."""
    source = load_rows(name)
    first = source.dataset[0]
    options = PreparationOptions(max_length=None)
    reader = reader_of(source, options, SCORED if _is_scored(first) else None)
    assert isinstance(reader.read_row, Family)
    family, columns = reader.read_row, dict(reader.guessed)
    if family.name not in METHODS_OF:
        raise UserError(
            f"these rows are {family.name}: prompts without answers, and no method here trains on them alone",
            where=name,
            fix="add a column with answers (completion), or pairs of them (chosen, rejected)",
        )
    plain = (tokenizer is None or tokenizer.chat_template) and _is_plain(first, reader)
    reader = replace(reader, options=replace(reader.options, as_chats=bool(plain)))
    found = inspect(source, reader.options, family=family, tokenizer=tokenizer)
    if not found.kept:
        worst = found.findings[0]
        raise UserError(
            f"no row can be trained: {'; '.join(worst.found) or worst.check}", where=name, fix=worst.fix
        )
    whole = found.lengths["whole"]
    faults = [finding for finding in found.findings if finding.severity == "fault"]
    facts = Facts(
        name,
        family.name,
        found.format,
        found.kept,
        len(set(prompt_keys(source, family, options, 0))),
        whole.quantiles["1"],
        whole.quantiles["0.99"],
        whole.unit,
        sum(finding.count for finding in faults),
        faults[0].check if faults else "",
        columns,
        _trains_turns(source, found, tokenizer),
        bool(plain),
    )
    return Looked(facts, source, reader)


def _is_scored(row: Any) -> bool:
    return SCORED.find(row) is not None and isinstance(row["score"], int | float)


def _is_plain(row: Any, reader: RowReader) -> bool:
    """Whether rows are plain text that can be taken for chats."""
    try:
        example = reader(row)
        replace(reader, options=replace(reader.options, as_chats=True))(row)
    except UserError:
        return False
    return isinstance(example, Example) and example.splits and not example.is_chat


def _trains_turns(source: Source, found: Inspection, tokenizer: Any) -> bool:
    """Whether rows are chats of which the assistant's turns can be trained alone, with this template."""
    if found.family != "language" or not {"messages", "conversations"} & set(found.used):
        return False
    if tokenizer is None:
        return True
    alone = PreparationOptions(max_length=None, assistant_only_loss=True)
    few = source.select(range(min(len(source), 100)))
    return inspect(few, alone, tokenizer=tokenizer).kept > 0


def size_of(model: str | None) -> tuple[int | None, int | None]:
    """How many parameters a model has, and the most tokens it reads; None where its folder is not here."""
    from safetensors import safe_open

    folder = Path(model or "").expanduser()
    if model is None or not folder.is_dir():
        return None, None
    count = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118
                shape = weights.get_slice(key).get_shape()
                size = 1
                for each in shape:
                    size *= each
                count += size
    config = folder / "config.json"
    known = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return count or None, known.get("max_position_embeddings")
