"""Where each part of each message stands in a rendered chat.

A template is a program, so what it makes of a message is seen by showing it a message that can be told apart.
Marks go around everything that a message says, and are taken out of the text again:

    messages   user: ①hi②    assistant: ③hello④
    rendered   <user>①hi②<end><assistant>③hello④<end>
    text       <user>hi<end><assistant>hello<end>           ①② at 6 to 8, ③④ at 24 to 29

So a place is known by whose words they are, and never by what they say. If the text without its marks is not
the plain rendering, the template looked into what was marked, and fewer parts are marked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from burnish.data.example import Message
from burnish.data.reading.messages import REASONING_KEYS
from burnish.data.text.control import strings

Kind = Literal["content", "reasoning", "name", "argument"]
LEVELS: tuple[frozenset[Kind], ...] = (
    frozenset({"content", "reasoning", "name", "argument"}),
    frozenset({"content", "reasoning", "name"}),
    frozenset({"content", "reasoning"}),
    frozenset({"content"}),
    frozenset(),
)
"""What is marked, from all to nothing: templates may look into arguments and names, seldom into contents."""

ALPHABETS = (0x14400, 0x12000, 0x13000)
"""Where 256 letters begin that make marks: hieroglyphs, cuneiform. They print, so none are escaped."""

SIZE, DIGITS = 256, 3


@dataclass(frozen=True)
class Part:
    """Something that a message says: an answer, reasoning, the name of a call, or a text in its arguments."""

    number: int
    message: int
    kind: Kind
    core: str  # without white space around and tags at its edges, which templates look at
    before: str
    after: str


@dataclass(frozen=True)
class Piece:
    """A part where it stands in a text: `[start, stop)` in characters."""

    part: Part
    start: int
    stop: int
    entire: bool  # as it was said, or as it stands within JSON


@dataclass(frozen=True)
class Rendering:
    """A text, and the pieces of messages in it, in their order."""

    text: str
    pieces: tuple[Piece, ...] = ()
    kinds: frozenset[Kind] = frozenset()  # of parts that were marked

    def after(self, part: Part | None) -> str | None:
        """What stands between a part and the next piece, or the end; None where the part is not there.

        Without a part: what stands before all pieces.
        """
        place = -1 if part is None else self._places.get(part.number)
        if place is None:
            return None
        start = 0 if part is None else self.pieces[place].stop
        stop = self.pieces[place + 1].start if place + 1 < len(self.pieces) else len(self.text)
        return self.text[start:stop]

    def of(self, message: int) -> list[Piece]:
        """The pieces of a message."""
        return self._by_message.get(message, [])

    def place(self, piece: Piece) -> int:
        """Which of the pieces it is."""
        return self._places[piece.part.number]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {piece.part.number: place for place, piece in enumerate(self.pieces)}

    @cached_property
    def _by_message(self) -> dict[int, list[Piece]]:
        found: dict[int, list[Piece]] = {}
        for piece in self.pieces:
            found.setdefault(piece.part.message, []).append(piece)
        return found


class Marks:
    """Marks for the messages of one chat."""

    def __init__(self, messages: Sequence[Message], kinds: frozenset[Kind]) -> None:
        self.parts: list[Part] = []
        self._kinds = kinds
        self._first = self._unused(messages)
        self._any = re.compile(f"[{chr(self._first)}-{chr(self._first + SIZE - 1)}]{{{DIGITS}}}")
        self.messages = [self._marked(index, message) for index, message in enumerate(messages)]

    def read(self, marked: str) -> Rendering:
        """A rendering of marked messages as its text and pieces."""
        texts: list[str] = []
        found: list[tuple[int, int, int]] = []
        length = at = 0
        opened: dict[int, int] = {}
        for match in self._any.finditer(marked):
            texts.append(marked[at : match.start()])
            length, at = length + match.start() - at, match.end()
            number, closes = divmod(self._number(match[0]), 2)
            if not closes:
                opened[number] = length
            elif number in opened:
                found.append((number, opened.pop(number), length))
        text = "".join([*texts, marked[at:]])
        found.sort(key=lambda piece: piece[1])
        return Rendering(text, tuple(self._pieces(text, found)), self._kinds)

    def _pieces(self, text: str, found: list[tuple[int, int, int]]) -> Iterator[Piece]:
        told = set()
        for number, start, stop in found:
            part = self.parts[number]
            if part.kind in ("name", "argument") and number in told:
                continue  # templates repeat the name of a call before its result
            told.add(number)
            entire = text[start:stop] == part.core or text[start:stop] in spellings(part.core)
            heads = (edge for edge in spellings(part.before) if text.endswith(edge, 0, start))
            tails = (
                edge
                for after in (part.after, part.after.rstrip())
                for edge in spellings(after)
                if text.startswith(edge, stop)
            )
            yield Piece(part, start - len(next(heads, "")), stop + len(next(tails, "")), entire)

    # Marking

    def _marked(self, index: int, message: Message) -> Message:
        marked = dict(message)
        if content := message.get("content"):
            marked["content"] = self._content(index, content, message["role"] == "assistant")
        if message.get(REASONING_KEYS[0]):
            thought = self._part(index, "reasoning", message[REASONING_KEYS[0]])
            marked |= {key: thought for key in REASONING_KEYS if key in message}
        if "tool_calls" in message:
            marked["tool_calls"] = [self._call(index, call) for call in message["tool_calls"]]
        return marked

    def _content(self, index: int, content: str, reasons: bool) -> str:
        if not reasons or END_OF_REASONING not in content:
            return self._part(index, "content", content)
        *thoughts, answer = REASONING.split(content)
        tags = REASONING.findall(content)
        marked = [self._part(index, "reasoning", thought) for thought in thoughts]
        marked.append(self._part(index, "content" if tags[-1] == END_OF_REASONING else "reasoning", answer))
        return "".join(text for pair in zip(marked, [*tags, ""], strict=True) for text in pair)

    def _call(self, index: int, call: dict[str, Any]) -> dict[str, Any]:
        function = call.get("function", call)
        marked = {**function, "name": self._part(index, "name", function["name"])}
        if "arguments" in function:
            marked["arguments"] = self._texts(index, function["arguments"])
        return {**call, "function": marked} if "function" in call else marked

    def _texts(self, index: int, value: Any) -> Any:
        if isinstance(value, str):
            return self._part(index, "argument", value)
        if isinstance(value, dict):
            return {key: self._texts(index, item) for key, item in value.items()}
        return [self._texts(index, item) for item in value] if isinstance(value, list) else value

    def _part(self, index: int, kind: Kind, said: str) -> str:
        if kind not in self._kinds or not said.strip():
            return said
        head, core, tail = _edges(said)
        number = 2 * len(self.parts)
        # Of the edges, white space may be cut off, and is part of a piece where it is not.
        self.parts.append(Part(len(self.parts), index, kind, core, head.lstrip(), tail))
        return head + self._mark(number) + core + self._mark(number + 1) + tail

    def _mark(self, number: int) -> str:
        digits = (number // SIZE**place % SIZE for place in range(DIGITS))
        return "".join(chr(self._first + digit) for digit in digits)

    def _number(self, mark: str) -> int:
        return sum((ord(letter) - self._first) * SIZE**place for place, letter in enumerate(mark))

    @staticmethod
    def _unused(messages: Sequence[Message]) -> int:
        written = "".join(text for message in messages for text in strings(message))
        if written.isascii():
            return ALPHABETS[0]
        letters = set(written)
        free = (first for first in ALPHABETS if letters.isdisjoint(map(chr, range(first, first + SIZE))))
        return next(free, ALPHABETS[0])


BEGIN_OF_REASONING, END_OF_REASONING = "<think>", "</think>"
REASONING = re.compile(r"</?think>")
HEAD = re.compile(r"<[^<>\s]+>\s*")
TAIL = re.compile(r"\s*(<[^<>\s]+>|/\w+)\Z")
LONGEST_TAIL = 80


def _edges(said: str) -> tuple[str, str, str]:
    """A text between white space and what templates look at: `<tool_response>`, `/no_think`."""
    core = said.strip()
    start = said.index(core)
    stop = start + len(core)
    head, tail = HEAD.match(said, start), TAIL.search(said, max(start, stop - LONGEST_TAIL), stop)
    first, last = head.end() if head else start, tail.start() if tail else stop
    if first < last:
        start, stop = first, last
    return said[:start], said[start:stop], said[stop:]


def spellings(said: str) -> tuple[str, ...]:
    """A text as it is, and as it stands within JSON."""
    if said.isalnum():
        return (said,)
    return said, *(json.dumps(said, ensure_ascii=escape)[1:-1] for escape in (False, True))
