"""A row as the model sees it: its text from its token ids, in runs that are trained or not."""

from __future__ import annotations

from typing import Any

from burnish.data.inspection.inspection import ShownRow
from burnish.data.inspection.seen import PAIR, Seen, completion_names
from burnish.data.text.preview import runs


def shown_row(seen: Seen, tokenizer: Any) -> ShownRow:
    """The first piece of a row that is kept, within max_length."""
    example = seen.kept[0]
    names = completion_names(seen.example) if seen.example is not None else ("tokens",)
    completions = [
        runs(tokens, trained, tokenizer)
        for tokens, trained in zip(example.completions, example.trained, strict=True)
    ]
    prompt = runs(example.prompt, [False] * len(example.prompt), tokenizer)
    names = names if len(names) == len(completions) else PAIR[: len(completions)]
    return ShownRow(seen.number, example.origin, prompt, completions, list(names))
