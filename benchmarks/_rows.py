"""Rows for the benchmarks: real ones where they lie beside the project, generated ones otherwise."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.data.sources.jsonl import rows_of
from burnish.demo.task import Rows, make_rows

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHATS, PAIRS = "sft_permissive_train.jsonl", "pref_hh_harmless_train.jsonl"
PAIR = ("prompt", "chosen", "rejected")
COLUMNS = {
    "sft": ("messages",),
    "reward": PAIR,
    "dpo": PAIR,
    "kto": ("prompt", "completion", "label"),
    "orpo": PAIR,
    "cpo": PAIR,
}
METHODS = tuple(COLUMNS)
AS_TEXT = ("orpo", "cpo")
"""Methods that are given chats as plain text: TRL's trainers for them end a chat twice."""


def load_rows(method: str, count: int, file: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """The first `count` rows for a method, and a word on where they are from."""
    path = Path(file) if file else REAL_DATA / (CHATS if method == "sft" else PAIRS)
    if not file and not path.is_file():
        return generated_rows(method, count), "generated"
    rows = itertools.islice(rows_of(path), count)
    return [as_read_by(method, row, index) for index, row in enumerate(rows)], path.name


def as_read_by(method: str, row: dict[str, Any], index: int) -> dict[str, Any]:
    """The columns of a row that a method reads; of a pair KTO gets one side, by turns."""
    if method == "kto":
        side = ("chosen", "rejected")[index % 2]
        row = {**row, "completion": row[side], "label": side == "chosen"}
    row = {name: row[name] for name in COLUMNS[method]}
    return {name: as_text(chat) for name, chat in row.items()} if method in AS_TEXT else row


def as_text(chat: str | list[dict[str, str]]) -> str:
    """The turns of a chat, each on lines of its own; a text as it is."""
    return chat if isinstance(chat, str) else "".join(f"{message['content']}\n" for message in chat)


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
    row = {"messages": [*prompt, *pair["chosen"]], **pair, "prompt": prompt}
    return as_read_by(method, row, index)


# Conversations in prose, of the lengths that people's data have


def conversations(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Chats of one to four exchanges, half of them with one of a few system prompts; about 400 tokens each.

    The prose is Python's own documentation, which comes with Python. Lengths are log-normal: an answer has 75
    words in the median, and one in ten more than 180.
    """
    rng, words = random.Random(seed), _prose()
    instructions = [_passage(rng, words, 60) for _ in range(8)]
    for index in range(count):
        messages = [{"role": "system", "content": rng.choice(instructions)}] if rng.random() < 0.5 else []
        for _ in range(rng.randint(1, 4)):
            messages.append({"role": "user", "content": _passage(rng, words, 25)})
            messages.append({"role": "assistant", "content": _passage(rng, words, 75)})
        yield {"messages": messages, "id": index}


def conversation_pairs(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The same chats with two answers at their end."""
    rng, words = random.Random(seed + 1), _prose()
    for row in conversations(count, seed):
        *prompt, chosen = row["messages"]
        rejected = {"role": "assistant", "content": _passage(rng, words, 75)}
        yield {"prompt": prompt, "chosen": [chosen], "rejected": [rejected], "id": row["id"]}


MOST_WORDS = 500


def _passage(rng: random.Random, words: list[str], usual: int) -> str:
    length = min(max(int(usual * rng.lognormvariate(0, 0.7)), 3), MOST_WORDS)
    start = rng.randrange(len(words) - MOST_WORDS)
    return " ".join(words[start : start + length]).strip() + "."


def _prose() -> list[str]:
    from pydoc_data.topics import topics

    return " ".join(topics[name] for name in sorted(topics)).split(" ")
