"""Chats as text: the model's template, and where in its text each turn is.

The parts of all messages are found by marks (`marks`), never by what they say. Between the last part of one
message and the first of the next, the template wrote the end of a turn and the generation prompt. A rendering
of the conversation's beginning shows which is which (`seams`):

    full                           <user>hi<end><assistant>hello<end><user>bye<end>
    messages[:1], to be continued  <user>hi<end><assistant>                              a turn starts here
    messages[:2]                   <user>hi<end><assistant>hello<end>                    and stops here

So it works for any template, and the generation prompt is outside the turn and the end-of-turn token inside,
as in generation. Only what follows the part before is compared, so a template may render a beginning in
another way than the whole: drop the reasoning of earlier turns, or write the system prompt into the last user
turn. A turn has several spans where another message stands between its parts. Where nothing settles a place,
the row is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from burnish.data.example import Message
from burnish.data.reading.messages import REASONING_KEYS
from burnish.data.text.beginnings import ANSWER, QUESTION, Beginnings
from burnish.data.text.control import strings
from burnish.data.text.encode import common_prefix
from burnish.data.text.marks import (
    BEGIN_OF_REASONING,
    END_OF_REASONING,
    LEVELS,
    Kind,
    Part,
    Piece,
    Rendering,
    spellings,
)
from burnish.data.text.render import Render
from burnish.data.text.seams import Split, cut_after_end, cut_at, cut_before_opening, cut_within_prompt, shape
from burnish.errors import UserError, shorten

Span = tuple[int, int]
"""`[start, stop)` in characters."""


@dataclass(frozen=True)
class Conversation:
    """The first `count` messages of a chat and their rendering. Positions are characters of `text`."""

    chat: Beginnings
    count: int

    @staticmethod
    def of(messages: list[Message], render: Render) -> Conversation:
        """A whole chat. Raises `UserError` if the template refuses it."""
        return Conversation(Beginnings(messages, render), len(messages))

    @cached_property
    def messages(self) -> list[Message]:
        return self.chat.messages[: self.count]

    @cached_property
    def text(self) -> str:
        """The rendered chat. Raises `UserError` if the template leaves out what a message says.

        The reasoning and the calls of a turn, and what it says beside calls, may be missing: see `abridges`.
        """
        for turn, message in enumerate(self.messages):
            if "tool_calls" not in message and self._missing(turn, CONTENT):
                raise UserError(
                    f"the chat template leaves out message {turn} ({message['role']}): "
                    f"{shorten(_said(message))}",
                    fix="use a template that writes this role and string contents, or remove the message",
                    reason=f"the chat template leaves out what the {message['role']} says",
                )
        return self._written.text

    def turns_of(self, role: str, first: int = 0) -> list[int]:
        """The places of a role's messages, from message `first` on."""
        return [turn for turn in range(first, self.count) if self.messages[turn]["role"] == role]

    def cut_after(self, turn: int) -> Conversation:
        return replace(self, count=turn + 1)

    def abridges(self, turn: int) -> str:
        """Which of its reasoning, its tool calls and its content the rendering lacks of a turn, if any."""
        missing = self._missing(turn, LEVELS[0])
        if "reasoning" in missing:
            return "reasoning"
        if "name" in missing or "argument" in missing:
            return "tool calls"
        return "content" if "content" in missing else ""

    def spans(self, turn: int) -> list[Span]:
        """Where message `turn` stands as the model writes it, with its end-of-turn token.

        Mostly one `[start, stop)`; more where the template writes other messages between its parts.
        """
        edges = [self.start(turn)]
        for piece, following in zip(self._pieces_of(turn)[:-1], self._pieces_of(turn)[1:], strict=True):
            if self._written.place(following) != self._written.place(piece) + 1:
                edges += [self._stop(turn, piece), following.start]
        edges.append(self.stop(turn))
        return list(zip(edges[::2], edges[1::2], strict=True))

    def start(self, turn: int) -> int:
        """Where the model begins to write message `turn`: after the generation prompt."""
        return self._begin(turn)[0]

    def follows_prompt(self, turn: int) -> bool:
        """Whether all of the generation prompt stands before message `turn`, as it does in generation."""
        return self._begin(turn)[1]

    def stop(self, turn: int) -> int:
        """Where message `turn` ends, its end-of-turn token included.

        Where the template has none, the model ends a turn by beginning the next one (`<|user|>`, in GLM), so
        the marker after the turn is its end. Nothing ends the last turn of such a chat.
        """
        own = self._pieces_of(turn)
        if turn == self.count - 1 and (not own or own[-1] is self._written.pieces[-1]):
            return len(self._written.text)
        stop = self._stop(turn, own[-1] if own else None)
        if self._may_lack_end(turn, stop) and self.chat.lacks_ends:
            marker = MARKER.match(
                self._written.text, stop, self._seam_after(turn, own[-1] if own else None)[1]
            )
            return marker.end() if marker else stop
        return stop

    @property
    def unended(self) -> bool:
        """Whether nothing follows the last message's content, because the template has no end of turn."""
        return self._may_lack_end(self.count - 1, len(self._written.text)) and self.chat.lacks_ends

    @property
    def next_role(self) -> str:
        """The token that begins the turn after the last message; nothing if no single token does."""
        calls = "tool_calls" in self.messages[-1]
        after = {"role": "tool", "content": "?"} if calls else QUESTION
        longer = self.chat.render([*self.messages, after], False)
        text = self._written.text
        marker = MARKER.match(longer, len(text)) if longer.startswith(text) else None
        return marker[0] if marker else ""

    def prompt(self, turn: int) -> str:
        """The text that the model is given to write message `turn`; nothing if the template refuses it."""
        opened = self.chat.opened(turn)
        return opened.text if opened is not None else ""

    def as_generated(self, turn: int) -> str:
        """What the model writes of the last message after a prompt that begins its reasoning."""
        message, own = self.messages[turn], self._pieces_of(turn)
        if "tool_calls" in message or not own:
            return ""
        content = message["content"]
        if thought := message.get(REASONING_KEYS[0], ""):
            content = f"{thought.strip()}\n{END_OF_REASONING}\n\n{content}"
        written = content.strip().removeprefix(BEGIN_OF_REASONING).lstrip("\n")
        return written + self._written.text[own[-1].stop :]

    def _may_lack_end(self, turn: int, stop: int) -> bool:
        """Whether what the message says stands right before `stop`, as far as it is easy to tell."""
        message = self.messages[turn]
        return "tool_calls" in message or self._written.text.endswith(_said(message).strip(), 0, stop)

    # What is written

    @cached_property
    def _written(self) -> Rendering:
        return self.chat.written(self.count)

    def _pieces_of(self, turn: int) -> list[Piece]:
        return self._written.of(turn)

    def _missing(self, turn: int, kinds: frozenset[Kind]) -> set[Kind]:
        """Which kinds of parts of a message the text lacks."""
        marked = self._written.kinds
        there = {piece.part.number for piece in self._pieces_of(turn) if piece.entire}
        parts = self.chat.parts.get(turn, ())
        missing: set[Kind] = {p.kind for p in parts if p.kind in marked & kinds and p.number not in there}
        if not kinds <= marked:
            # Marks would have changed the text, so that words are looked for.
            for kind, said in _parts(self.messages[turn]):
                if kind in kinds - marked and not _writes(self._where(turn, kind), said):
                    missing.add(kind)
        return missing

    def _where(self, turn: int, kind: Kind) -> str:
        """Where a part of a message is looked for that has no mark."""
        if kind == "content":
            return self._written.text
        return "".join(self._written.text[start:stop] for start, stop in self.spans(turn))

    # Where a turn begins

    @cached_property
    def _begun(self) -> dict[int, tuple[int, bool]]:
        return {}

    def _begin(self, turn: int) -> tuple[int, bool]:
        if turn not in self._begun:
            self._begun[turn] = self._find_begin(turn)
        return self._begun[turn]

    def _find_begin(self, turn: int) -> tuple[int, bool]:
        if self._is_silent(turn):
            return self._begin_as_filled(turn)
        anchor, base, seam = self._seam_before(turn)
        kind = shape(self.messages, turn - 1), self.messages[turn]["role"], _place(anchor, turn)
        split = self.chat.starts.find(kind, seam)
        if split is None:
            split = self.chat.starts.add(kind, self._split_before(turn, anchor, seam))
        return base + len(split.left), split.sure

    def _split_before(self, turn: int, anchor: Part | None, seam: str) -> Split:
        assistant = self.messages[turn]["role"] == "assistant"
        opened = self.chat.opened(turn) if assistant else None
        prompt = opened.after(anchor) if opened is not None else None
        if prompt is not None and seam.startswith(prompt):
            return cut_at(seam, len(prompt), sure=True)
        closed = self.chat.closed(turn)
        before = closed.after(anchor) if closed is not None else None
        if not assistant:  # no prompt comes before it
            return cut_at(seam, common_prefix(before or "", seam), sure=True)
        if split := cut_within_prompt(seam, prompt, before):
            return split
        if not self._pieces_of(turn):  # the seam has more than this turn
            raise self._unsettled(turn, "starts", prompt or "", seam)
        whole = self.chat.closed(turn + 1)
        alone = whole.after(anchor) if whole is not None else None
        if split := cut_before_opening(seam, prompt, before, alone):
            return split
        if opened is None and (split := self._split_as_asked(turn, seam)):
            return split
        if "tool_calls" not in self.messages[turn]:
            return cut_at(seam, len(seam))  # right before what it says
        raise self._unsettled(turn, "starts", (alone if prompt is None else prompt) or "", seam)

    def _split_as_asked(self, turn: int, seam: str) -> Split | None:
        """Cut the seam before a turn that nothing is rendered before: as after a question."""
        asked = self._asked(turn)
        if asked is None:
            return None
        try:
            anchor, _, longer = asked._seam_before(turn + 1)
            split = asked._split_before(turn + 1, anchor, longer)
        except UserError:
            return None
        if seam.endswith(split.right):
            place = len(seam) - len(split.right)
            closed = asked.chat.closed(turn + 1)
            prompt = split.left.removeprefix((closed.after(anchor) if closed is not None else None) or "")
            return cut_at(seam, place, sure=split.sure and seam.endswith(prompt, 0, place))
        return cut_before_opening(seam, longer, "", None)

    def _is_silent(self, turn: int) -> bool:
        """Whether nothing that a turn says is marked, so that its place is not known from its parts."""
        assistant = self.messages[turn]["role"] == "assistant"
        return assistant and self._written.kinds >= CONTENT and not self._pieces_of(turn)

    def _begin_as_filled(self, turn: int) -> tuple[int, bool]:
        """Where a turn without words begins: where it would with some."""
        filled = self._filled(turn)
        start = filled.start(turn)
        before = filled._written.text[:start]
        if not self._written.text.startswith(before):
            raise self._unsettled(turn, "starts", before, self._written.text)
        return start, filled.follows_prompt(turn)

    def _filled(self, turn: int) -> Conversation:
        """The chat with words in a turn that says nothing."""
        answer = {**self.messages[turn], "content": ANSWER}
        filled = Conversation.of(
            [*self.messages[:turn], answer, *self.messages[turn + 1 :]], self.chat.render
        )
        if not filled._pieces_of(turn):
            raise self._unsettled(turn, "starts", filled._written.text, self._written.text)
        return filled

    def _asked(self, turn: int) -> Conversation | None:
        """The chat up to this turn, with a question before it; some templates refuse one without."""
        try:
            return Conversation.of([*self.messages[:turn], QUESTION, self.messages[turn]], self.chat.render)
        except UserError:
            return None

    def _seam_before(self, turn: int) -> tuple[Part | None, int, str]:
        """The part before a turn, where it ends, and the text from there to the turn's own first part."""
        written, own = self._written, self._pieces_of(turn)
        if own:
            place = written.place(own[0])
        else:  # it says nothing: before the first part of a later message
            later = (place for place, piece in enumerate(written.pieces) if piece.part.message > turn)
            place = next(later, len(written.pieces))
        base = written.pieces[place - 1].stop if place else 0
        stop = written.pieces[place].start if place < len(written.pieces) else len(written.text)
        anchor = written.pieces[place - 1].part if place else None
        return anchor, base, written.text[base:stop]

    # Where it ends

    def _stop(self, turn: int, last: Piece | None) -> int:
        """Where the turn, or a stretch of it that ends with the piece `last`, ends."""
        if last is None and self._is_silent(turn):
            return self._stop_as_filled(turn)
        base, stop = self._seam_after(turn, last)
        seam = self._written.text[base:stop]
        part = last.part if last else self._seam_before(turn)[0]
        kind = shape(self.messages, turn), shape(self.messages, turn + 1), _place(part, turn)
        split = self.chat.stops.find(kind, seam)
        if split is None:
            alone = self.chat.closed(turn + 1)
            ending = alone.after(part) if alone is not None else self._ending_as_asked(turn)
            if ending is None:
                raise self._unsettled(turn, "stops", alone.text if alone is not None else "", seam)
            split = self.chat.stops.add(kind, cut_after_end(seam, ending))
        return base + len(split.left)

    def _stop_as_filled(self, turn: int) -> int:
        """Where a turn without words ends."""
        filled = self._filled(turn)
        after = filled._written.text[filled.stop(turn) :]
        if not self._written.text.endswith(after):
            raise self._unsettled(turn, "stops", after, self._written.text[-len(after) :])
        return len(self._written.text) - len(after)

    def _ending_as_asked(self, turn: int) -> str | None:
        asked = self._asked(turn)
        own = asked._pieces_of(turn + 1) if asked is not None else []
        return asked._written.after(own[-1].part) if asked is not None and own else None

    def _seam_after(self, turn: int, last: Piece | None) -> Span:
        """From the end of a piece to the next one. Of a turn without any: the seam that it stands in."""
        if last is None:
            _, base, seam = self._seam_before(turn)
            return base, base + len(seam)
        place = self._written.place(last) + 1
        following = self._written.pieces[place : place + 1]
        return last.stop, following[0].start if following else len(self._written.text)

    def _unsettled(self, turn: int, edge: str, expected: str, found: str) -> UserError:
        at = common_prefix(expected, found)
        expected, found = expected[at : at + TAIL], found[at : at + TAIL]
        return UserError(
            f"cannot tell where message {turn} {edge}: alone the chat template writes {expected!r} "
            f"there, in the whole chat {found!r}",
            fix="use a chat template that writes a turn the same way whatever surrounds it",
            reason=f"cannot tell where a message {edge}",
        )


def _place(part: Part | None, turn: int) -> Any:
    """What a part is, seen from a turn. Without one, only the same turn has the same seam."""
    return turn if part is None else (turn - part.message, part.kind)


# What a message says


def _said(message: Message) -> str:
    """What must stand in a rendered chat."""
    content = message.get("content") or ""
    if END_OF_REASONING in content and message["role"] == "assistant":
        content = content.rpartition(END_OF_REASONING)[2]
    return content


def _parts(message: Message) -> Iterator[tuple[Kind, str]]:
    """All that a message says."""
    yield "content", _said(message)
    thoughts, end, _ = (message.get("content") or "").rpartition(END_OF_REASONING)
    inside = thoughts.strip().removeprefix("<think>") if end and message["role"] == "assistant" else ""
    yield "reasoning", message.get(REASONING_KEYS[0]) or inside
    for call in message.get("tool_calls", ()):
        function = call.get("function", call)
        yield "name", function["name"]
        for text in strings(function.get("arguments")):
            yield "argument", text


def _writes(text: str, said: str) -> bool:
    """Whether a text has what is said, as it is or within JSON."""
    return any(spelling in text for spelling in spellings(said.strip()))


CONTENT: frozenset[Kind] = frozenset({"content"})

TAIL = 40
"""Characters shown of two renderings that diverge."""

MARKER = re.compile(r"<[^<>\s]+>")
