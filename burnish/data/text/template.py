"""Chats as text: the model's template, and where in its text each turn is.

A turn is located by rendering the conversation's beginnings, never by searching for its content:

    full                           <user>hi<end><assistant>hello<end><user>bye<end>
    messages[:1], to be continued  <user>hi<end><assistant>                              a turn starts here
    messages[:2]                   <user>hi<end><assistant>hello<end>                    and stops here

So it works for any template, and the generation prompt is outside the turn and the end-of-turn token inside,
as in generation. Some templates render a beginning differently from the whole (they drop the reasoning of
earlier turns, or write the system prompt into the last user turn). There, a second rendering of the whole,
with a placeholder in the turn, shows what surrounds it. If neither settles it, the row is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from burnish.data.example import Message
from burnish.data.reading.messages import REASONING_KEYS
from burnish.data.text.encode import common_prefix
from burnish.data.text.render import Render
from burnish.errors import UserError, shorten

PLACEHOLDER = "\N{WHITE SQUARE}completion\N{WHITE SQUARE}"
QUESTION: Message = {"role": "user", "content": "?"}


@dataclass(frozen=True)
class Conversation:
    """A chat and its rendering. Positions are characters of `text`."""

    messages: list[Message]
    render: Render

    @cached_property
    def text(self) -> str:
        """The rendered chat. Raises `UserError` if the template leaves out what a message says.

        The reasoning and the calls of a turn may be missing here: see `abridges`.
        """
        text = self.render(self.messages, False)
        for turn, message in enumerate(self.messages):
            said = _said(message)
            if not _writes(text, said):
                raise UserError(
                    f"the chat template leaves out message {turn} ({message['role']}): {shorten(said)}",
                    fix="use a template that writes this role and string contents, or remove the message",
                    reason=f"the chat template leaves out what the {message['role']} says",
                )
        return text

    def turns_of(self, role: str, first: int = 0) -> list[int]:
        """The places of a role's messages, from message `first` on."""
        return [turn for turn in range(first, len(self.messages)) if self.messages[turn]["role"] == role]

    def cut_after(self, turn: int) -> Conversation:
        return Conversation(self.messages[: turn + 1], self.render)

    def abridges(self, turn: int) -> str:
        """Which of its reasoning and its tool calls the rendering lacks of message `turn`, if any."""
        message = self.messages[turn]
        reasoning, calls = _reasoning(message), list(_calls(message))
        if not reasoning and not calls:
            return ""
        start, stop = self.span(turn)
        written = self.text[start:stop]
        if not _writes(written, reasoning):
            return "reasoning"
        return "" if all(_writes(written, said) for said in calls) else "tool calls"

    def span(self, turn: int) -> tuple[int, int]:
        """`[start, stop)` of message `turn` as the model writes it, with its end-of-turn token."""
        return self.start(turn), self.stop(turn)

    def start(self, turn: int) -> int:
        """Where the model begins to write message `turn`: after the generation prompt."""
        found = self._start_by_prefix(turn)
        return self._start_by_surroundings(turn) if found is None else found

    def stop(self, turn: int) -> int:
        """Where message `turn` ends, its end-of-turn token included.

        Where the template has none, the model ends a turn by beginning the next one (`<|user|>`, in GLM), so
        the marker after the turn is its end. Nothing ends the last turn of such a chat.
        """
        if turn == len(self.messages) - 1:
            return len(self.text)
        before = self.render(self.messages[: turn + 1], False)
        stop = len(before) if self.text.startswith(before) else self._stop_by_surroundings(turn)
        marker = MARKER.match(self.text, stop)
        return marker.end() if marker and self._may_lack_end(turn, stop) and self._lacks_ends else stop

    @property
    def unended(self) -> bool:
        """Whether nothing follows the last message's content, because the template has no end of turn."""
        return self._may_lack_end(len(self.messages) - 1, len(self.text)) and self._lacks_ends

    def _may_lack_end(self, turn: int, stop: int) -> bool:
        """Whether what the message says stands right before `stop`, as far as it is easy to tell."""
        message = self.messages[turn]
        return "tool_calls" in message or self.text.endswith(_said(message).strip(), 0, stop)

    @cached_property
    def _lacks_ends(self) -> bool:
        """Whether the template writes nothing after an answer."""
        try:
            answered = self.render([QUESTION, {"role": "assistant", "content": PLACEHOLDER}], False)
        except UserError:
            return False
        return answered.endswith(PLACEHOLDER)

    # Beginnings of the chat

    def _start_by_prefix(self, turn: int) -> int | None:
        if turn == 0:  # templates do not render an empty chat
            return None
        opened = self.render(self.messages[:turn], True)
        if self.text.startswith(opened):
            return len(opened)
        before = self.render(self.messages[:turn], False)
        if not self.text.startswith(before):
            return None
        # The chat's own turn has less than the generation prompt: an empty reasoning block, mostly.
        common = common_prefix(opened, self.text)
        return _clean_cut(self.text, len(before), common) or common

    # What surrounds the turn

    def _start_by_surroundings(self, turn: int) -> int:
        head, _ = self._surroundings(turn)
        start = len(head) - self._opening(turn, head)
        if self.text[:start] != head[:start]:
            at = common_prefix(self.text, head)
            raise self._unsettled(turn, "starts", head[at:], self.text[at:])
        return start

    def _opening(self, turn: int, head: str) -> int:
        """How much of `head`, the text before the placeholder, the model writes: the beginning of a call."""
        if turn == 0:  # nothing opens a first message: what would, after a question?
            return Conversation([QUESTION, self.messages[0]], self.render)._opening(1, head)
        opened = self.render(self.messages[:turn], True)
        alone, _ = self._alone(turn)
        if alone.startswith(opened) and head.endswith(alone[len(opened) :]):
            return len(alone) - len(opened)
        if "tool_calls" in self.messages[turn]:  # the placeholder may stand within the call
            raise self._unsettled(turn, "starts", alone[len(opened) :], head[-TAIL:])
        prompt = self._generation_prompt(turn)
        return len(head) - head.rfind(prompt) - len(prompt) if prompt and prompt in head else 0

    def _stop_by_surroundings(self, turn: int) -> int:
        _, tail = self._surroundings(turn)
        if not self.text.endswith(tail):
            at = common_prefix(self.text[::-1], tail[::-1])
            raise self._unsettled(turn, "stops", tail[: len(tail) - at], self.text[: len(self.text) - at])
        content_stop = len(self.text) - len(tail)
        _, ending = self._alone(turn)
        return content_stop + _end_of_turn(ending, tail)

    def _surroundings(self, turn: int) -> tuple[str, str]:
        """The text before and after a placeholder in message `turn`, in the whole chat."""
        return self._around(turn, self.messages[turn + 1 :])

    def _alone(self, turn: int) -> tuple[str, str]:
        """The same in the chat that ends with this message."""
        return self._around(turn, [])

    def _around(self, turn: int, after: list[Message]) -> tuple[str, str]:
        earlier = self.messages[:turn]
        pieces = [""]
        if self.messages[turn].get("content") or "tool_calls" not in self.messages[turn]:
            pieces = self.render([*earlier, self._placeholder(turn), *after], False).split(PLACEHOLDER)
        if len(pieces) == 1 and "tool_calls" in self.messages[turn]:  # there may be nothing but calls
            named, name = self._placeholder_call(turn)
            head, *tails = self.render([*earlier, named, *after], False).split(PLACEHOLDER)
            pieces = [head, name.join(tails)] if tails else [head]  # a tool's result may repeat the name
        if len(pieces) != 2:
            raise UserError(
                f"the chat template writes message {turn} {len(pieces) - 1} times",
                fix="use a chat template that writes every assistant message once",
                reason="the chat template writes a message more or less than once",
            )
        return pieces[0], pieces[1]

    def _placeholder(self, turn: int) -> Message:
        """Message `turn` with another content and no reasoning."""
        rest = {k: v for k, v in self.messages[turn].items() if k not in REASONING_KEYS}
        return {**rest, "content": PLACEHOLDER}

    def _placeholder_call(self, turn: int) -> tuple[Message, str]:
        """Message `turn` with another name in its first call, and the name that was there."""
        rest = {k: v for k, v in self.messages[turn].items() if k not in REASONING_KEYS}
        first, *others = rest["tool_calls"]
        function = first.get("function", first)
        renamed = {**function, "name": PLACEHOLDER}
        call = {**first, "function": renamed} if "function" in first else renamed
        return {**rest, "tool_calls": [call, *others]}, function["name"]

    def _generation_prompt(self, turn: int) -> str:
        if turn == 0:
            return ""
        before, opened = (self.render(self.messages[:turn], opening) for opening in (False, True))
        return opened[len(before) :] if opened.startswith(before) else ""

    def _unsettled(self, turn: int, edge: str, expected: str, found: str) -> UserError:
        if edge == "stops":
            expected, found = expected[-TAIL:], found[-TAIL:]
        return UserError(
            f"cannot tell where message {turn} {edge}: alone the chat template writes {expected[:TAIL]!r} "
            f"there, in the whole chat {found[:TAIL]!r}",
            fix="use a chat template that writes a turn the same way whatever surrounds it",
            reason=f"cannot tell where a message {edge}",
        )


# What a message says

END_OF_REASONING = "</think>"


def _said(message: Message) -> str:
    """What must stand in a rendered chat."""
    content = message.get("content", "")
    if END_OF_REASONING in content and message["role"] == "assistant":
        content = content.rpartition(END_OF_REASONING)[2]
    return content


def _calls(message: Message) -> Iterator[str]:
    """The names and the texts in the tool calls of a message."""
    for call in message.get("tool_calls", ()):
        function = call.get("function", call)
        yield function["name"]
        yield from _texts(function.get("arguments"))


def _texts(arguments: Any) -> Iterator[str]:
    if isinstance(arguments, str):
        yield arguments
    elif isinstance(arguments, dict | list):
        for item in arguments.values() if isinstance(arguments, dict) else arguments:
            yield from _texts(item)


def _reasoning(message: Message) -> str:
    """What the model thinks before it answers, from its own key or from the content."""
    if reasoning := message.get(REASONING_KEYS[0]):
        return reasoning
    thoughts, end, _ = message.get("content", "").rpartition(END_OF_REASONING)
    return thoughts.strip().removeprefix("<think>") if end else ""


def _writes(text: str, said: str) -> bool:
    """Whether a text has what is said, as it is or within JSON."""
    said = said.strip()
    return said in text or any(json.dumps(said, ensure_ascii=e)[1:-1] in text for e in (False, True))


# The ends of turns


def _end_of_turn(alone: str, tail: str) -> int:
    """How much of `tail`, the text after a turn's content, ends the turn; `alone` follows a last turn.

    It is what both have in common. Nothing, where an earlier turn ends otherwise than the last one does: the
    model writes the end of a last turn (`<|return|>`), and would not stop at the other (`<|end|>`).
    """
    return _clean_cut(tail, 0, common_prefix(alone, tail))


def _clean_cut(text: str, floor: int, position: int) -> int:
    """The last place in `(floor, position]` after white space or a closing bracket; 0 if there is none.

    Two texts may go on alike for a few letters by chance, as `<think>` and `<tool_call>` do.
    """
    cuts = range(position, floor, -1)
    return next((cut for cut in cuts if text[cut - 1].isspace() or text[cut - 1] in CLOSING), 0)


TAIL = 40
"""Characters shown of two renderings that diverge."""

CLOSING = frozenset(">]")
MARKER = re.compile(r"<[^<>\s]+>")
