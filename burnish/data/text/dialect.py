"""Messages as a chat template wants them.

Templates differ in what they read of a message: reasoning under a key, or within the content; the arguments
of a tool call as an object, or as JSON text. What a template does is found out by showing it a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from burnish.data.example import Message
from burnish.data.reading.messages import REASONING_KEYS
from burnish.data.text.render import Render
from burnish.errors import UserError


def for_template(messages: Sequence[Message], tokenizer: Any, render: Render) -> list[Message]:
    """The messages with what the template reads, and without our own flags."""
    return [message if _is_plain(message) else _adapted(message, tokenizer, render) for message in messages]


def _is_plain(message: Message) -> bool:
    """Whether a message has nothing but a role and a content without reasoning, as most have."""
    return len(message) == 2 and END not in message.get("content", END)


def _adapted(message: Message, tokenizer: Any, render: Render) -> Message:
    adapted = {key: value for key, value in message.items() if key != "train"}
    if message["role"] == "assistant" and REASONING_KEYS[0] not in message:
        thought, answer = _parted(message.get("content", ""))
        if thought and _known(_reads_reasoning, tokenizer, render):
            adapted |= {"content": answer, REASONING_KEYS[0]: thought}
    if reasoning := adapted.get(REASONING_KEYS[0]):
        adapted |= dict.fromkeys(REASONING_KEYS, reasoning)
    if message.get("tool_calls") and _known(_wants_json, tokenizer, render):
        adapted["tool_calls"] = [_with_json(call) for call in message["tool_calls"]]
    return adapted


BEGIN, END = "<think>", "</think>"


def _parted(content: str) -> tuple[str, str]:
    """The reasoning that a content begins with, and the answer after it."""
    before, _, after = content.partition(END)
    if END in after or not before.lstrip().startswith(BEGIN):
        return "", content
    return before.strip().removeprefix(BEGIN).strip(), after.lstrip()


def _with_json(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    text = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": text}}


# What a template does

_found: WeakKeyDictionary[Any, dict[Any, bool]] = WeakKeyDictionary()


def _known(question: Callable[[Render], bool], tokenizer: Any, render: Render) -> bool:
    """The answer to a question about the tokenizer's template, asked once."""
    answers = _found.setdefault(tokenizer, {})
    key = (question, str(tokenizer.chat_template))
    if key not in answers:
        answers[key] = question(render)
    return answers[key]


def _reads_reasoning(render: Render) -> bool:
    thoughtful = {"content": "Cold.", **dict.fromkeys(REASONING_KEYS, "Bern?")}
    return "Bern?" in _shown(render, {"role": "assistant", **thoughtful})


def _wants_json(render: Render) -> bool:
    """Whether the template writes arguments as they are, and so wants them as JSON text.

    Of an object, such a template shows Python's `'place': 'Bern'`, or it fails.
    """
    function = {"name": "weather", "arguments": {"place": "Bern"}}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    shown = _shown(render, message)
    if shown and "'place': 'Bern'" not in shown:
        return False
    return '"place": "Bern"' in _shown(render, {**message, "tool_calls": [_with_json(call)]})


def _shown(render: Render, answer: Message) -> str:
    """A chat that ends with this answer; empty if the template refuses it."""
    try:
        return render([{"role": "user", "content": "What is it like outside?"}, answer], False)
    except UserError:
        return ""
