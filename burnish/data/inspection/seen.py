"""A row with all that came of it, which is what the checks look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from burnish.data.example import Example, Message, Text, TokenizedExample
from burnish.data.inspection.blemishes import mended
from burnish.data.sources.rows import ID_COLUMNS
from burnish.errors import UserError

PAIR = ("chosen", "rejected")


@dataclass
class Piece:
    """One text of a row: a message's content, or a plain prompt, completion or text."""

    place: str  # `chosen`; `messages, turn 2 (user)`
    text: str
    first: bool = True  # nothing plain stands right before it, so that a space there would join nothing
    last: bool = True  # nothing plain follows


@dataclass
class Seen:
    """A row, read as a method reads it, tokenized and cut as in training (where there is a tokenizer)."""

    number: int  # in the source
    row: Mapping[str, Any]
    example: Example | None = None  # None: it cannot be read, or is token ids already
    tokenized: list[TokenizedExample] = field(default_factory=list)  # before truncation
    kept: list[TokenizedExample] = field(default_factory=list)  # within max_length; several if split
    fault: UserError | None = None
    dropped: str = ""  # why, for rows that can be read but not trained

    @property
    def own_id(self) -> str:
        """The person's own name of the row, or nothing."""
        return next((str(self.row[name]) for name in ID_COLUMNS if _is_id(self.row.get(name))), "")

    @property
    def cut(self) -> bool:
        """Whether something of it is lost to `max_length`, and the rest is trained."""
        return bool(self.kept) and any(not any(k is t for t in self.tokenized) for k in self.kept)

    @cached_property
    def pieces(self) -> list[Piece]:
        """Every text of the row, in its order."""
        if self.example is None:
            return []
        example, found = self.example, []
        names = completion_names(example)
        if example.prompt:
            found += _pieces(example.prompt, "prompt", last=not example.completions)
        for name, completion in zip(names, example.completions, strict=True):
            found += _pieces(completion, name, first=not example.prompt)
        return found

    @cached_property
    def normal(self) -> tuple[str, tuple[str, ...]]:
        """Prompt and completions without case, spacing, roles and blemishes; for telling what is the same."""
        if self.example is None:
            return "", ()
        return normal(self.example.prompt), tuple(map(normal, self.example.completions))


def completion_names(example: Example) -> tuple[str, ...]:
    """`chosen`, `rejected`; or `completion`; or `text` where there is nothing before it."""
    if len(example.completions) == len(PAIR):
        return PAIR
    return ("completion" if example.prompt else "text",) * len(example.completions)


def texts_of(text: Text) -> Iterator[str]:
    if isinstance(text, str):
        yield text
    else:
        yield from (_content(message) for message in text)


def plain(text: Text) -> str:
    return "\n".join(texts_of(text))


def normal(text: Text) -> str:
    return normalised(plain(text))


def normalised(text: str) -> str:
    return " ".join(mended(text).casefold().split())


def _pieces(text: Text, name: str, first: bool = True, last: bool = True) -> list[Piece]:
    if isinstance(text, str):
        return [Piece(name, text, first, last)]
    alone = len(text) == 1
    return [
        Piece(name if alone else f"{name}, turn {turn} ({message['role']})", _content(message))
        for turn, message in enumerate(text)
        if not (message.get("tool_calls") and not _content(message))
    ]


def _content(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
