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

import re
from dataclasses import dataclass
from functools import cached_property

from burnish.data.encode import common_prefix
from burnish.data.example import Message
from burnish.data.render import Render
from burnish.errors import UserError, shorten

PLACEHOLDER = "\N{WHITE SQUARE}completion\N{WHITE SQUARE}"


@dataclass(frozen=True)
class Conversation:
    """A chat and its rendering. Positions are characters of `text`."""

    messages: list[Message]
    render: Render

    @cached_property
    def text(self) -> str:
        """The rendered chat. Raises `UserError` if the template leaves out what a message says."""
        text = self.render(self.messages, False)
        for turn, message in enumerate(self.messages):
            content = message.get("content")
            if isinstance(content, str) and content.rpartition(END_OF_REASONING)[2].strip() not in text:
                raise UserError(
                    f"the chat template leaves out message {turn} ({message['role']}): {shorten(content)}",
                    fix="use a template that writes this role and string contents, or remove the message",
                )
        return text

    def assistant_turns(self) -> list[tuple[int, int]]:
        """`[start, stop)` of every assistant turn: without its generation prompt, with its end."""
        turns = [i for i, message in enumerate(self.messages) if message["role"] == "assistant"]
        return [(self.start(i), self.stop(i)) for i in turns]

    def start(self, turn: int) -> int:
        """Where the model begins to write message `turn`: after the generation prompt."""
        found = self._start_by_prefix(turn)
        return self._start_by_surroundings(turn) if found is None else found

    def stop(self, turn: int) -> int:
        """Where message `turn` ends, its end-of-turn token included."""
        if turn == len(self.messages) - 1:
            return len(self.text)
        before = self.render(self.messages[: turn + 1], False)
        return len(before) if self.text.startswith(before) else self._stop_by_surroundings(turn)

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
        prompt = self._generation_prompt(turn)
        start = head.rfind(prompt) + len(prompt) if prompt and prompt in head else len(head)
        if self.text[:start] != head[:start]:
            at = common_prefix(self.text, head)
            raise self._unsettled(turn, "starts", head[at:], self.text[at:])
        return start

    def _stop_by_surroundings(self, turn: int) -> int:
        _, tail = self._surroundings(turn)
        if not self.text.endswith(tail):
            at = common_prefix(self.text[::-1], tail[::-1])
            raise self._unsettled(turn, "stops", tail[: len(tail) - at], self.text[: len(self.text) - at])
        content_stop = len(self.text) - len(tail)
        alone = self.render([*self.messages[:turn], self._placeholder(turn)], False)
        return content_stop + _end_of_turn(alone.rpartition(PLACEHOLDER)[2], tail)

    def _surroundings(self, turn: int) -> tuple[str, str]:
        """The text before and after the content of message `turn`, from the chat with a placeholder there."""
        messages = [*self.messages[:turn], self._placeholder(turn), *self.messages[turn + 1 :]]
        pieces = self.render(messages, False).split(PLACEHOLDER)
        if len(pieces) != 2:
            raise UserError(
                f"the chat template writes message {turn} {len(pieces) - 1} times",
                fix="use a chat template that writes every assistant message once",
            )
        return pieces[0], pieces[1]

    def _placeholder(self, turn: int) -> Message:
        return {"role": self.messages[turn]["role"], "content": PLACEHOLDER}

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
        )


def _end_of_turn(alone: str, tail: str) -> int:
    """How much of `tail`, the text after a turn's content, ends the turn; `alone` follows a last turn.

    It is what both have in common, or else the marker that each of them begins with: some templates end the
    last turn with another one.
    """
    end = _clean_cut(tail, 0, common_prefix(alone, tail))
    marker = MARKER.match(tail)
    if not end and marker and MARKER.match(alone):
        return marker.end()
    return end


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
END_OF_REASONING = "</think>"
