"""What prepared rows depend on, as a short key: data, what reads it, tokenizer, options, and this code."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets.fingerprint import Hasher

from burnish.data.preparation.options import POLICY, PreparationOptions
from burnish.data.reading.family import Family
from burnish.data.sources.rows import Source, load_function


def fingerprint(
    source: Source, read_row: Callable[..., Any], tokenizer: Any, options: PreparationOptions
) -> str:
    """A change of any of them gives another key; another process gives the same one."""
    settings = {name: value for name, value in asdict(options).items() if name not in POLICY}
    parts = [
        source.dataset._fingerprint,
        repr(source.origins),
        _reader_identity(read_row),
        "" if options.row_function is None else _source_of(load_function(options.row_function)),
        _tokenizer_identity(tokenizer),
        json.dumps(settings, sort_keys=True, default=repr),
        *(path.read_text(encoding="utf-8") for path in _code()),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()[:16]


def _code() -> list[Path]:
    """The files of `burnish/data`, but for the inspection, which changes no row."""
    folder = Path(__file__).parent.parent
    return sorted(path for path in folder.rglob("*.py") if path.parent.name != "inspection")


def _reader_identity(read_row: Callable[..., Any]) -> str:
    """A family is code of this folder; a function of one's own counts with the file it is written in."""
    return read_row.name if isinstance(read_row, Family) else _source_of(read_row)


def _source_of(function: Callable[..., Any]) -> str:
    """What a function holds, and the text of its file: other functions there may be called by it."""
    try:
        file = inspect.getsourcefile(function)
        text = Path(file).read_text(encoding="utf-8") if file else ""
    except (TypeError, OSError):  # written at a prompt
        text = ""
    return f"{Hasher.hash(function)} {text}"


def _tokenizer_identity(tokenizer: Any) -> str:
    vocabulary = (
        tokenizer.backend_tokenizer.to_str()
        if tokenizer.is_fast
        else repr(sorted(tokenizer.get_vocab().items()))
    )
    return "\n".join(
        [
            type(tokenizer).__name__,
            vocabulary,
            repr(tokenizer.special_tokens_map),
            repr(tokenizer.chat_template),
        ]
    )
