"""Control tokens that people wrote into their messages.

A chat about chat templates says `<|im_end|>`, and so may anybody who would like to end a turn that is not
theirs. In content it is text, and it is encoded as text; in what the template writes around it, the same
characters are the control token:

    content           how do I print <|im_end|>?
    hidden            how do I print ▯▯▯▯▯▯▯▯▯▯?                         for the template to render
    text              <|im_start|>user\\nhow do I print <|im_end|>?<|im_end|>
    renamed           ▮▮▮▮▮▮▮▮▮▮▮▮user\\nhow do I print <|im_end|>?▮▮▮▮▮▮▮▮▮▮      for the tokenizer

The tokenizer that reads the last line is a copy whose control tokens have these other names. All names are
as long as what they stand for, so characters keep their places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from transformers import TokenizersBackend

from burnish.data.example import CONTROL_TOKENS, Message
from burnish.data.text.encode import Encoded, with_places
from burnish.errors import UserError

WARNING = CONTROL_TOKENS

REASONING_MARKERS = frozenset({"<think>", "</think>", "[THINK]", "[/THINK]"})
"""An assistant's content may have these: templates know them there, and the model writes them."""

HIDDEN = 0x100000  # two planes of private use: no text has these characters
RENAMED = 0xF0000


class ControlTokens:
    """The special tokens of a tokenizer, and how to keep them apart from text that looks like them."""

    def __init__(self, contents: Sequence[str]) -> None:
        self.contents = tuple(contents)
        self.number = {content: number for number, content in enumerate(self.contents)}
        self.any = _pattern(self.contents)
        self.by_assistant = _pattern([c for c in self.contents if c not in REASONING_MARKERS])
        self._copy: tuple[Tokenizer, dict[int, int]] | None = None  # made when it is first needed

    def among(self, messages: Sequence[Message], tools: Any) -> bool:
        """Whether a message or a tool has the text of a control token."""
        for message in messages:
            search = self._pattern_for(message).search
            for item in message.values():
                if search(item) if isinstance(item, str) else any(map(search, strings(item))):
                    return True
        return bool(tools) and any(self.any.search(text) for text in strings(tools))

    def hide_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with a stand-in for each control token in them."""
        return [self._hidden(dict(message), self._pattern_for(message)) for message in messages]

    def hide_tools(self, tools: Any) -> Any:
        return self._hidden(tools, self.any)

    def restore(self, text: str) -> tuple[str, str]:
        """A rendered text of hidden messages as it should read, and the same with the template's own
        control tokens renamed."""
        renamed = self.any.sub(lambda match: self._stand_in(RENAMED, match[0]), text)
        return self._shown(text), self._shown(renamed)

    def encode(self, tokenizer: Any, renamed: str) -> Encoded:
        """The tokens of a text whose control tokens are renamed. Raises `UserError`."""
        self._copy = self._copy or self._renaming_copy(tokenizer)
        backend, ids = self._copy
        found = backend.encode(renamed, add_special_tokens=False)
        pieces = {*ids.values()} - ids.keys() - {tokenizer.unk_token_id}  # that the vocabulary has, too
        if not pieces.isdisjoint(found.ids):
            raise UserError(
                "a message has the text of a control token, and the tokenizer knows no other way to write it",
                fix="reword the message",
                reason="control tokens in the content",
            )
        return with_places(tokenizer, [ids.get(token, token) for token in found.ids], found.offsets)

    def _pattern_for(self, message: Message) -> re.Pattern[str]:
        return self.by_assistant if message["role"] == "assistant" else self.any

    def _stand_in(self, plane: int, content: str) -> str:
        return chr(plane + self.number[content]) * len(content)

    def _hidden(self, value: Any, pattern: re.Pattern[str]) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda match: self._stand_in(HIDDEN, match[0]), value)
        if isinstance(value, Mapping):
            return {key: self._hidden(item, pattern) for key, item in value.items()}
        if isinstance(value, list):
            return [self._hidden(item, pattern) for item in value]
        return value

    def _shown(self, text: str) -> str:
        for content in self.contents:
            text = text.replace(self._stand_in(HIDDEN, content), content)
        return text

    def _renaming_copy(self, tokenizer: Any) -> tuple[Tokenizer, dict[int, int]]:
        """The tokenizer with its control tokens renamed, and the original id of each by its new one."""
        if not tokenizer.is_fast or type(tokenizer)._encode_plus is not TokenizersBackend._encode_plus:
            raise UserError(
                "a message has the text of a control token, and this tokenizer cannot encode it as text",
                fix="use the fast version of the tokenizer (use_fast=True), or reword the message",
                reason="control tokens in the content",
            )
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        ids: dict[str, int] = {}
        for token in state["added_tokens"]:
            if token["content"] in self.number:
                name = self._stand_in(RENAMED, token["content"])
                ids[name], token["content"] = token["id"], name
        copy = Tokenizer.from_str(json.dumps(state))
        copy.no_truncation()
        copy.no_padding()
        return copy, {
            number: ids[token.content]
            for number, token in copy.get_added_tokens_decoder().items()
            if token.content in ids
        }


_known: WeakKeyDictionary[Any, ControlTokens] = WeakKeyDictionary()


def control_tokens(tokenizer: Any) -> ControlTokens:
    """The control tokens of a tokenizer, kept until it is given others."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    contents = sorted(filter(str.strip, special), key=lambda content: (-len(content), content))
    known = _known.get(tokenizer)
    if known is None or known.contents != tuple(contents):
        known = _known[tokenizer] = ControlTokens(contents)
    return known


def _pattern(contents: Sequence[str]) -> re.Pattern[str]:
    """Any of the texts, the longest where several begin alike; nothing if there are none."""
    return re.compile("|".join(map(re.escape, contents)) or r"(?!)")


def strings(value: Any) -> Iterator[str]:
    """All strings in a message or a tool, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
