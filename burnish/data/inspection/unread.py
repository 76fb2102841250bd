"""Checks of what is in the rows and not in training: columns, keys of messages, pictures, a template."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from burnish.data.inspection.duplicates import Found
from burnish.data.inspection.seen import Piece, Seen
from burnish.data.preparation.notes import is_plain_for_a_chat
from burnish.data.reading.messages import unread_keys
from burnish.data.reading.side_columns import unread_content


class ContentNotRead:
    """Rows with columns of text that stands nowhere in what is trained; of few rows it is another finding."""

    def __init__(self, used: tuple[str, ...], few: float) -> None:
        self._used, self._few = used, few
        self._rows: dict[str, list[int]] = {}
        self._read = 0

    def add(self, seen: Seen) -> None:
        self._read += 1
        example = seen.example or next(iter(seen.tokenized), None)
        if example is not None:
            for name in unread_content(seen.row, self._used, example):
                self._rows.setdefault(name, []).append(seen.number)

    def found(self) -> Found:
        found: Found = {}
        for name, rows in self._rows.items():
            if len(rows) > self._few * self._read:
                found |= {row: f"{found[row]}, {name}" if row in found else f"column {name}" for row in rows}
        return found


def keys_not_read(tokenizer: Any) -> Callable[[Seen], str]:
    """Keys of messages that neither training nor the chat template reads."""
    template = str(getattr(tokenizer, "chat_template", None) or "")
    return lambda seen: ", ".join(f"key {key}" for key in unread_keys(seen.example, template))


def plain_text(tokenizer: Any) -> Callable[[Seen], str]:
    def look(seen: Seen) -> str:
        plain = seen.example is not None and is_plain_for_a_chat(seen.example, tokenizer)
        return "no chat template around it" if plain else ""

    return look


PLACEHOLDER = re.compile(r"<\|?/?(?:image|video|audio|img)(?:_pad|_start|_end)?\|?>|\[IMG\]")


def placeholders(piece: Piece) -> list[str]:
    """Marks that stand for a picture or a sound, and are trained as the text they are."""
    return PLACEHOLDER.findall(piece.text)
