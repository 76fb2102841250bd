"""Messages as a chat template wants them.

Templates differ in what they read of a message: the reasoning under one key or another, and the arguments of
a tool call as an object or as JSON text. What they do with a call is found out by showing them one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from burnish.data.example import Message
from burnish.data.messages import REASONING_KEYS
from burnish.data.render import Render
from burnish.errors import UserError


def for_template(messages: Sequence[Message], tokenizer: Any, render: Render) -> list[Message]:
    """The messages with what templates read, and without our own flags."""
    return [
        _adapted(message, tokenizer, render) if len(message) > 2 or "content" not in message else message
        for message in messages
    ]


def _adapted(message: Message, tokenizer: Any, render: Render) -> Message:
    adapted = {key: value for key, value in message.items() if key != "train"}
    if reasoning := adapted.get(REASONING_KEYS[0]):
        adapted |= dict.fromkeys(REASONING_KEYS, reasoning)
    if message.get("tool_calls") and _wants_json(tokenizer, render):
        adapted["tool_calls"] = [_with_json(call) for call in message["tool_calls"]]
    return adapted


def _with_json(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    text = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


# How the arguments of a call are read

_wanted: WeakKeyDictionary[Any, dict[Any, bool]] = WeakKeyDictionary()

CALL = {"name": "lookup", "arguments": {"subject": "weather"}}
SHOWN_CALL: list[Message] = [
    {"role": "user", "content": "What is it like outside?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "abcdefghi", "type": "function", "function": CALL}],
    },
]
WRITTEN_ARGUMENT = re.compile(r'"subject"\s*:\s*"weather"')


def _wants_json(tokenizer: Any, render: Render) -> bool:
    """Whether the template writes arguments as they are, and so wants them as JSON text.

    A template that turns an object into JSON itself shows `"subject": "weather"`; one that does not shows
    Python's `'subject': 'weather'`, or fails. Those with a notation of their own take objects.
    """
    known = _wanted.setdefault(tokenizer, {})
    template = str(tokenizer.chat_template)
    if template not in known:
        question, call = SHOWN_CALL
        as_json = {**call, "tool_calls": [_with_json(call["tool_calls"][0])]}
        shown = (_shows(render, [question, answer]) for answer in (call, as_json))
        known[template] = not next(shown) and next(shown)
    return known[template]


def _shows(render: Render, messages: list[Message]) -> bool:
    try:
        return bool(WRITTEN_ARGUMENT.search(render(messages, False)))
    except UserError:
        return False
