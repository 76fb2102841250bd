"""Prompts that no stage of a pipeline is trained on, for `burnish compare`.

A stage with `test_split_size` holds rows out by prompt and seed, so which ones is known before it runs. Of
several sources, a prompt that is held out of one may be trained on in another: those are left out here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from burnish.data.example import Example
from burnish.data.reading.readers import TEMPLATE_COLUMNS
from burnish.data.sources.holdout import hold_out, prompt_keys
from burnish.data.sources.rows import RowReader, Source
from burnish.errors import UserError
from burnish.pipeline.draft import SEED, Facts, held_out

HELD_OUT = "held_out.jsonl"
ASKED = 20
"""Prompts of a first comparison."""


class Found(Protocol):
    @property
    def facts(self) -> Facts: ...

    @property
    def source(self) -> Source: ...

    @property
    def reader(self) -> RowReader: ...


def held_out_prompts(sources: Sequence[Found]) -> list[dict[str, Any]]:
    """Rows with `prompt` and `completion` (or `messages`), and the columns that training does not read."""
    trained: set[str] = set()
    kept: list[tuple[Found, Source]] = []
    for each in sources:
        train: list[Source] = [each.source]
        held: list[Source] = []
        if (size := held_out(each.facts)) is not None:
            with suppress(UserError):  # which the stage says when it is checked
                train, held = hold_out(train, size, each.reader.read_row, each.reader.options, SEED)
        kept += [(each, source) for source in held]
        trained |= {key for source in train for key in _keys(each, source)}
    for each, source in reversed(kept):  # the last stage's, which saves what is compared
        keys = _keys(each, source)
        rows = [row for row, key in zip(source.dataset, keys, strict=True) if key not in trained]
        if found := [made for row in rows if (made := _asked(row, each.reader)) is not None]:
            return found
    return []


def _keys(each: Found, source: Source) -> list[str]:
    return prompt_keys(source, each.reader.read_row, each.reader.options, SEED)


def _asked(row: Mapping[str, Any], reader: RowReader) -> dict[str, Any] | None:
    """A row to ask: its prompt, the better or only answer, and what a function of one's own may read."""
    example, recognition = reader(row), reader.recognise(row)
    if not isinstance(example, Example) or recognition is None or len(example.completions) > 2:
        return None
    rest = {name: row[name] for name in recognition.unused}
    rest |= {name: value for name, value in example.columns.items() if name in TEMPLATE_COLUMNS}
    if example.prompt:
        bad = example.columns.get("label") == 0
        return {**rest, "prompt": example.prompt} | ({} if bad else {"completion": example.completions[0]})
    whole = example.completions[0]
    return {**rest, "messages": whole} if not isinstance(whole, str) else None


def json_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def compare_lines(prompts: Path) -> str:
    """The key `compare`, for a person to switch on."""
    return (
        "\n# Without the marks: after the stages, the model before and after each answers these prompts.\n"
        f"# compare:\n#   prompts: {prompts}#{ASKED}\n#   max_new_tokens: 128\n"
    )
