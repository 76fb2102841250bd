"""Hashes of what a run is made from: rows, model folders, templates, functions; sha256 of their content.

Rows count as they are read, after samples and held-out parts were taken, so a file's name, format and time
do not matter. A model counts by its weights, configuration and tokenizer. Hashes of big files are kept by
place, size and time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from burnish.data.sources.files import version
from burnish.data.sources.rows import RowStream, Source, rows_of
from burnish.models.adapter_chain import adapter_folder, base_beside, read_settings
from burnish.paths import cache_folder

MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "config.json",
    "adapter_config.json",
    "trained_on.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "*.py",
)
"""What a model's folder is known by. Checkpoints in it, logs and optimizer states are no part of it."""

BATCH = 1000


def digest(content: Any) -> str:
    """Of anything that JSON can write; the order of keys does not matter."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, default=repr)


# Rows


def rows_entry(source: Any) -> dict[str, Any]:
    """A source as `run.json` has it: {name, rows, sha256}, and its weight and columns where it has any."""
    if isinstance(source, RowStream):
        return stream_entry(source)
    found: dict[str, Any] = {"name": source.origins.name, "rows": len(source), "sha256": hash_rows(source)}
    return found | _reading(source)


def _reading(source: Any) -> dict[str, Any]:
    said = {"weight": getattr(source, "weight", 1.0), "columns": dict(source.columns)}
    return {name: value for name, value in said.items() if value not in (1.0, {})}


def hash_rows(source: Source) -> str:
    """Of all rows in their order."""
    found = hashlib.sha256()
    rows = source.dataset.with_format(None)
    for start in range(0, len(rows), BATCH):
        for row in rows_of(rows[start : start + BATCH]):
            found.update(canonical(row).encode())
            found.update(b"\n")
    return found.hexdigest()


def stream_entry(stream: RowStream) -> dict[str, Any]:
    """A stream is not read in advance: its file counts by its bytes, a dataset of the hub by its name."""
    file = Path(stream.name)
    content = hash_file(file) if file.is_file() else digest(stream.name)
    return {"name": stream.name, "rows": None, "sha256": content} | _reading(stream)


# Models


def hash_model(name: str, revision: str = "main") -> str:
    """Of a model's folder, with the base that an adapter names; of the hub's, by the commit it is at."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return digest(["hub", name, _commit(name, revision)])
    found = {file.name: hash_file(file) for file in model_files(folder)}
    if adapter_folder(name) is not None:
        return digest({**found, "base": hash_model(base_beside(read_settings(folder), folder))})
    return digest(found)


def model_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()})


def _commit(name: str, revision: str) -> str:
    """The commit that the model would be loaded from; what was asked for, where nobody can say."""
    from transformers import AutoConfig

    try:
        return getattr(AutoConfig.from_pretrained(name, revision=revision), "_commit_hash", None) or revision
    except (OSError, ValueError):  # not there, or no network: loading it says so better
        return revision


def hash_file(path: Path) -> str:
    """Of a file's bytes; kept, so that weights are not read at every start."""
    kept = cache_folder("hashes") / digest(version(path))
    if kept.is_file():
        return kept.read_text(encoding="ascii")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(found, encoding="ascii")
    return found


# Templates and functions


def hash_template(model: str, own: str | None) -> str:
    """Of the chat template that rows are rendered with: one that was asked for, or the tokenizer's."""
    from burnish.errors import UserError
    from burnish.models.load import load_tokenizer

    if own is not None and Path(own).is_file():
        return hash_file(Path(own))
    try:
        return digest(load_tokenizer(own or model).chat_template)
    except UserError:  # not there: loading the model says so better
        return digest(None)


def hash_function(name: str) -> str:
    """Of the file that a person's function (`module:name`) is written in."""
    import inspect

    from burnish.data.sources.rows import load_function

    function: Callable = load_function(name)
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        file = None
    return digest([name, hash_file(Path(file)) if file else ""])


def without_names(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sources by their content alone."""
    return [{key: value for key, value in entry.items() if key != "name"} for entry in entries]
