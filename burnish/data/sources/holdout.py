"""A held-out split by prompt: rows that share a prompt stay together.

A prompt is in training or held out, never both, whatever its white space and capitals; otherwise a model is
tested on what it has seen. Which prompts are held out depends on the seed and the prompts alone, not on the
order of rows, and is decided over all sources at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from burnish.data.example import Example, Text, TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.rows import ReadRow, Source
from burnish.errors import UserError


def hold_out(
    sources: Sequence[Source],
    size: float,
    read_row: ReadRow,
    options: PreparationOptions | None = None,
    seed: int = 42,
) -> tuple[list[Source], list[Source]]:
    """Sources to train on and sources held out, of about `size` rows: a share below 1, a number from 1 on.

    Rows that cannot be read stay in training, where preparation reports them. Raises `UserError` if a split
    by prompt would leave one side without rows.
    """
    options = options or PreparationOptions()
    places = [
        (index, row, key)
        for index, source in enumerate(sources)
        for row, key in enumerate(prompt_keys(source, read_row, options, seed))
    ]
    chosen = _chosen([key for _, _, key in places if key], _target(size, len(places)))
    kept: list[list[int]] = [[] for _ in sources]
    held: list[list[int]] = [[] for _ in sources]
    for index, row, key in places:
        (held if key in chosen else kept)[index].append(row)
    if not chosen or not any(kept):
        prompts = len({key for *_, key in places if key})
        raise UserError(
            f"no split by prompt: {len(places)} rows have {prompts} prompt{'s' if prompts != 1 else ''}",
            where="test_split_size",
            fix="give rows to evaluate on (eval_dataset_name)",
        )
    counts = f"{sum(map(len, held)):,} of {len(places):,} rows are held out, by prompt"
    train = _parts(sources, kept, counts)
    return train, [replace(source, weight=1.0) for source in _parts(sources, held, counts)]


def _parts(sources: Sequence[Source], indices: list[list[int]], note: str) -> list[Source]:
    chosen = [source.select(rows) for source, rows in zip(sources, indices, strict=True) if rows]
    return [replace(source, notes=(*source.notes, note)) for source in chosen]


def _target(size: float, rows: int) -> int:
    target = min(round(size * rows), rows - 1) if size < 1 else round(size)
    if size <= 0 or target >= rows:
        raise UserError(
            f"expected a share of the {rows} rows (0.1), or a number of rows below that, found {size:g}",
            where="test_split_size",
        )
    return max(1, target)


def _chosen(keys: Sequence[str], target: int) -> set[str]:
    """Prompts in the order of their keys, while they have no more than `target` rows; at least one."""
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    chosen: set[str] = set()
    held = 0
    for key in sorted(counts):
        if held + counts[key] <= target:
            chosen.add(key)
            held += counts[key]
    if not chosen and len(counts) > 1:
        chosen.add(min(counts, key=lambda key: (counts[key], key)))
    return chosen


def prompt_keys(source: Source, read_row: ReadRow, options: PreparationOptions, seed: int) -> list[str]:
    """A digest of every row's prompt and the seed; empty for a row that cannot be read."""
    reader = source.reader(read_row, options)
    keys = []
    for row in source.dataset:
        try:
            keys.append(_digest(prompt_of(reader(row)), seed))
        except UserError:
            keys.append("")
    return keys


def prompt_of(example: Example | TokenizedExample) -> str:
    """The first user message, else the prompt's text, or the text; lower case, single spaces."""
    if isinstance(example, TokenizedExample):
        return json.dumps(example.prompt or example.completions)
    whole: Text = example.prompt or (example.completions[0] if example.completions else "")
    if not isinstance(whole, str):
        users = [message for message in whole if message["role"] == "user"]
        content = (users or whole or [{}])[0].get("content") or ""
        whole = content if isinstance(content, str) else json.dumps(content, sort_keys=True, default=str)
    return " ".join(whole.lower().split())


def _digest(prompt: str, seed: int) -> str:
    return hashlib.blake2b(f"{seed} {prompt}".encode(), digest_size=16).hexdigest()
