"""A conversation with a model, turn by turn: what is said next, taken back, or kept as a row to train on."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.comparison.prompts import as_text
from burnish.data.example import Message, Text
from burnish.errors import UserError
from burnish.models.generate import stream


@dataclass
class Conversation:
    """One model and what was said. Without a chat template the model goes on with the text as it stands."""

    name: str
    model: Any
    tokenizer: Any
    system: str = ""
    turns: list[Message] = field(default_factory=list)

    @property
    def is_chat(self) -> bool:
        return bool(self.tokenizer.chat_template)

    @property
    def messages(self) -> list[Message]:
        """The chat with its system message."""
        head: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, *self.turns]

    @property
    def prompt(self) -> Text:
        """What the model is asked: the chat, or the whole text so far."""
        return self.messages if self.is_chat else "".join(as_text([turn]) for turn in self.messages)

    def say(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def answer(
        self, *, max_new_tokens: int, temperature: float, top_p: float, seed: int
    ) -> Generator[str, None, None]:
        """The answer in pieces. What was read of it becomes a turn, also where it is broken off.

        Raises `UserError` where the conversation leaves no room; then the last message is taken back.
        """
        pieces: list[str] = []
        given: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        try:
            for piece in stream(self.model, self.tokenizer, self.prompt, top_p=top_p, seed=seed, **given):
                pieces.append(piece)
                yield piece
        except UserError:
            self.turns.pop()
            raise
        finally:
            if self.turns and self.turns[-1]["role"] == "user":
                said = "".join(pieces)
                self.turns.append({"role": "assistant", "content": said.strip() if self.is_chat else said})

    def retry(self) -> bool:
        """Take the last answer back, to be given anew; False where there is none."""
        if not self.turns or self.turns[-1]["role"] != "assistant":
            return False
        self.turns.pop()
        return True

    def undo(self) -> bool:
        """Take the last message and its answer back; False where there is none."""
        if not self.turns:
            return False
        while self.turns and self.turns.pop()["role"] != "user":
            pass
        return True

    def save(self, path: str | Path) -> int:
        """Append the conversation as a row: `messages`, or `text` of a model without chats.

        Returns how many turns it has. Raises `UserError` where there is nothing to keep, or no way to write.
        """
        if not any(turn["role"] == "assistant" for turn in self.turns):
            raise UserError("there is no answer to keep yet", where="/save", fix="ask something first")
        row = {"messages": [dict(m) for m in self.messages]} if self.is_chat else {"text": self.prompt}
        try:
            with Path(path).expanduser().open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"cannot be written: {error.strerror}", where=str(path)) from error
        return len(self.turns)
