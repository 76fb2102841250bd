"""A converted configuration as a commented pipeline file, read again before it is handed out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from burnish.pipeline.chosen import spell
from burnish.pipeline.foreign.convert import Converted, Line, convert
from burnish.pipeline.run import read_pipeline
from burnish.pipeline.settings import SHORT_NAMES, Document, parse_document, read_document

FIRST = (
    "model_name_or_path",
    "dataset_name",
    "datasets",
    "eval_dataset_name",
    "test_split_size",
    "max_length",
)
"""Options that stand at the beginning of a stage."""

COMMENT = 44
"""The column at which comments begin, where there is room."""


def imported(path: str, method: str = "") -> tuple[Converted, str]:
    """The configuration in a file, and the text of a pipeline file. Raises `UserError`."""
    document = read_document(path)
    config = {key: value_of(node, document) for key, node in document.nodes.items()}
    found = convert(config, path, method)
    text = "\n".join(lines_of(found, path)) + "\n"
    read_pipeline(parse_document(text, "pipeline.yaml"))
    return found, text


def value_of(node: yaml.Node, document: Document) -> Any:
    """A value as it was meant: `no` is a word, and `1e-5` in quotes a number."""
    if not isinstance(node, yaml.ScalarNode):
        return document.loader.construct_object(node, deep=True)
    if node.tag == "tag:yaml.org,2002:bool" and node.value.lower() not in ("true", "false"):
        return node.value
    value = document.loader.construct_object(node)
    if isinstance(value, str) and "e-" in value.lower():
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def lines_of(found: Converted, path: str) -> Iterator[str]:
    yield f"# Made by `burnish import {path}` from a configuration of {found.tool}."
    yield "# `burnish run FILE --dry-run` checks it; `burnish explain KEY` says what an option is."
    for warning in found.warnings:
        yield f"# To look at: {one_line(warning)}"
    yield ""
    for key, line in found.top.items():
        yield from entry(key, line, "")
    if found.top:
        yield ""
    yield "stages:"
    yield f"  - name: {found.method.name}"
    yield f"    method: {found.method.name}"
    short = {name: key for key, name in SHORT_NAMES.items()}
    for option in sorted(found.lines, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        yield from entry(short.get(option, option), found.lines[option], "    ")
    yield from listed("Not needed here:", found.unneeded)
    yield from listed("Without a counterpart:", found.missing)


def entry(key: str, line: Line, indent: str) -> Iterator[str]:
    """A setting with its origin and note beside it, or above it where it is long."""
    said = line.origin if line.origin != key else ""
    note = ": ".join(filter(None, [said, one_line(line.note)]))
    text = f"{indent}{key}: {in_yaml(line.value)}"
    if not note:
        yield text
    elif len(f"{text:<{COMMENT}}  # {note}") <= 110:
        yield f"{text:<{COMMENT}}  # {note}"
    else:
        yield f"{indent}# {note}"
        yield text


def listed(title: str, reasons: Mapping[str, str]) -> Iterator[str]:
    if reasons:
        yield ""
        yield f"# {title}"
        for key, why in reasons.items():
            yield f"#   {key}: {one_line(why)}"


def in_yaml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, float):
        return spell(value)
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return dumped.removesuffix("\n").removesuffix("\n...").strip()


def one_line(text: str) -> str:
    return " ".join(text.split())
