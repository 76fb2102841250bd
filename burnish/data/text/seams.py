"""The text between two pieces of messages, and where in it a turn begins or ends.

A seam is what the template wrote there: the end of one turn, the header of the next. Where it is cut is found
out by rendering a beginning of the chat, once for all seams of a kind:

    hi|<end><assistant>|hello      seam <end><assistant>, after a user
    hi|<end><assistant>            a beginning that is to be continued: a turn starts after all of it
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.example import Message
from burnish.data.text.encode import common_prefix


@dataclass(frozen=True)
class Split:
    """A seam in two."""

    left: str
    right: str
    sure: bool = False  # `left` is what a rendering of the beginning alone ends with


class Rules:
    """How seams of a kind are cut."""

    def __init__(self) -> None:
        self._known: dict[Any, list[Split]] = {}

    def find(self, kind: Any, seam: str) -> Split | None:
        """The cut of a seam, if one of its kind that is cut alike is known."""
        rules = self._known.get(kind, ())
        for rule in rules:
            if rule.left + rule.right == seam:
                return rule
        for rule in (rule for rule in rules if rule.sure):
            if seam.startswith(rule.left):
                return Split(rule.left, seam[len(rule.left) :], True)
            if seam.endswith(CONTEXT.search(rule.left)[0] + rule.right):  # type: ignore[index]
                return Split(seam[: len(seam) - len(rule.right)], rule.right, True)
        return None

    def add(self, kind: Any, split: Split) -> Split:
        self._known.setdefault(kind, []).append(split)
        return split


CONTEXT = re.compile(r"\D{0,12}\Z")
"""What must be alike before a cut. Further before it, the last call may have numbers and ids."""


def shape(messages: Sequence[Message], index: int) -> Any:
    """What of a message a template goes by."""
    if not 0 <= index < len(messages):
        return None
    message = messages[index]
    return message["role"], *(
        bool(message.get(key)) for key in ("content", "reasoning_content", "tool_calls")
    )


def cut_at(seam: str, place: int, sure: bool = False) -> Split:
    return Split(seam[:place], seam[place:], sure)


def cut_within_prompt(seam: str, opened: str | None, closed: str | None) -> Split | None:
    """Cut where a turn starts that has less before it than the generation prompt: no empty reasoning, mostly.

    `opened` follows the same piece with a generation prompt, and `closed` without one.
    """
    if opened is None or closed is None or not seam.startswith(closed):
        return None
    common = common_prefix(opened, seam)
    return cut_at(seam, clean_cut(seam, len(closed), common) or common)


def cut_before_opening(seam: str, opened: str | None, closed: str | None, alone: str | None) -> Split | None:
    """The same where the seam begins otherwise: before what the model writes before its first piece.

    `alone` is the seam in the chat that ends with this turn.
    """
    if opened is None:
        return None
    prompt = opened[len(closed) :] if closed is not None and opened.startswith(closed) else ""
    if alone is not None and alone.startswith(opened) and seam.endswith(alone[len(opened) :]):
        place = len(seam) - len(alone) + len(opened)
        return cut_at(seam, place, sure=seam.endswith(prompt, 0, place) and bool(prompt))
    if prompt and prompt in seam:
        return cut_at(seam, seam.rfind(prompt) + len(prompt), sure=True)
    for length in range(len(prompt), 0, -1):
        if seam.endswith(prompt[:length]) and clean_cut(prompt, length - 1, length):
            return cut_at(seam, len(seam))
    place = clean_cut(seam, 0, common_prefix(opened, seam))
    return cut_at(seam, place) if place else None


def cut_after_end(seam: str, alone: str) -> Split:
    """Cut where a turn ends; `alone` follows it where it is the last one.

    The end is what both have in common. Nothing, where an earlier turn ends otherwise than the last one does:
    the model writes the end of a last turn (`<|return|>`), and would not stop at the other (`<|end|>`).
    """
    if seam.startswith(alone):
        return cut_at(seam, len(alone), sure=True)
    return cut_at(seam, clean_cut(seam, 0, common_prefix(alone, seam)))


def clean_cut(text: str, floor: int, position: int) -> int:
    """The last place in `(floor, position]` after white space or a closing bracket; 0 if there is none.

    Two texts may go on alike for a few letters by chance, as `<think>` and `<tool_call>` do.
    """
    cuts = range(position, floor, -1)
    return next((cut for cut in cuts if text[cut - 1].isspace() or text[cut - 1] in CLOSING), 0)


CLOSING = frozenset(">]")
