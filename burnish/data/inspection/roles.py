"""Whether the turns of a chat come in an order that training can make sense of."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.data.example import Message
from burnish.data.inspection.seen import Seen, completion_names

OPENING = ("system", "developer")


def role_order(seen: Seen) -> str:
    """The first thing wrong with the order, or nothing; plain text has none."""
    example = seen.example
    if example is None or not example.is_chat:
        return ""
    names = completion_names(example)
    for name, completion in zip(names, example.completions, strict=True):
        wrong = wrong_order([*_messages(example.prompt), *_messages(completion)])
        if wrong:
            return f"{name}: {wrong}" if len(names) > 1 else wrong
    return "" if example.completions else wrong_order(_messages(example.prompt), to_be_answered=True)


def wrong_order(messages: Sequence[Message], to_be_answered: bool = False) -> str:
    """What is wrong with the order of roles. `to_be_answered`: a prompt, which the assistant does not end."""
    turns = list(messages)
    while turns and turns[0]["role"] in OPENING:
        turns.pop(0)
    if not turns:
        return "no turns"
    before = ""
    for turn, message in enumerate(turns, start=len(messages) - len(turns)):
        role = message["role"]
        if role in OPENING:
            return f"turn {turn} is {role}, after the first turn"
        known = not before or before in EXPECTED
        if role in EXPECTED and known and before not in EXPECTED[role]:
            return f"turn {turn} is {role}, after {before or 'nothing'}"
        before = role
    if not to_be_answered and before != "assistant":
        return f"the last turn is {before}"
    return ""


EXPECTED = {
    "user": ("", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""The roles that each may follow; a template's further roles may stand anywhere, and be followed by any."""


def _messages(text: object) -> list[Message]:
    return text if isinstance(text, list) else []
