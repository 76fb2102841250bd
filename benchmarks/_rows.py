"""Rows for the benchmarks: real ones where they lie beside the project, generated ones otherwise."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

from burnish.data.jsonl import rows_of
from burnish.demo.task import Rows, make_rows

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = {
    "sft": "sft_permissive_train.jsonl",
    "reward": "pref_hh_harmless_train.jsonl",
    "dpo": "pref_hh_harmless_train.jsonl",
}
COLUMNS = {
    "sft": ("messages",),
    "reward": ("prompt", "chosen", "rejected"),
    "dpo": ("prompt", "chosen", "rejected"),
}
METHODS = tuple(FILES)


def load_rows(method: str, count: int, file: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """The first `count` rows for a method, and a word on where they are from."""
    path = Path(file) if file else REAL_DATA / FILES[method]
    if not file and not path.is_file():
        return generated_rows(method, count), "generated"
    rows = itertools.islice(rows_of(path), count)
    return [{name: row[name] for name in COLUMNS[method]} for row in rows], path.name


def generated_rows(method: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Chats of the demo's notes and tickets, of one to six turns, so that lengths differ as in real data."""
    rng = random.Random(seed)
    rows = make_rows(seed, lessons=6 * count, preferences=count, held_out=0)
    lessons = iter(rows.lessons)
    return [
        _chat_row(method, rows, index, [next(lessons) for _ in range(rng.randrange(6))])
        for index in range(count)
    ]


def _chat_row(method: str, rows: Rows, index: int, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    pair = rows.preferences[index]
    system, note = pair["prompt"]
    turns = [message for lesson in earlier for message in (lesson["prompt"][1], *lesson["completion"])]
    prompt = [system, *turns, note]
    if method == "sft":
        return {"messages": [*prompt, *pair["chosen"]]}
    return {"prompt": prompt, "chosen": pair["chosen"], "rejected": pair["rejected"]}
