"""Messages as a chat template wants them.

Templates differ in what they read of a message: reasoning under a key, or within the content; the arguments
of a tool call as an object, or as JSON text; no content beside a call as an empty text, or not at all.
What a template does is found out by showing it a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from burnish.data.example import Message
from burnish.data.reading.messages import REASONING_KEYS
from burnish.data.text.render import Render, chat_renderer
from burnish.errors import UserError

Answer = TypeVar("Answer")


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
    if message.get("tool_calls"):
        as_json, empty = _known(_call_form, tokenizer, render)
        if as_json:
            adapted["tool_calls"] = [_with_json(call) for call in message["tool_calls"]]
        if not message.get("content"):
            adapted = {key: value for key, value in adapted.items() if key != "content"} | empty
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

_found: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def _known(question: Callable[[Render], Answer], tokenizer: Any, render: Render) -> Answer:
    """The answer to a question about the tokenizer's template, asked once."""
    answers = _found.setdefault(tokenizer, {})
    key = (question, str(tokenizer.chat_template))
    if key not in answers:
        answers[key] = question(render)
    return answers[key]


NO_TOOLS = "the chat template leaves out the tools"


def writes_tools(tokenizer: Any) -> bool:
    """Whether the template says anything of tools that it is given."""
    return _known(_writes_tools, tokenizer, chat_renderer(tokenizer, [WEATHER]))


WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather_of_place",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "Where it is."}},
            "required": ["place"],
        },
    },
}


def _writes_tools(render: Render) -> bool:
    shown = _shown(render, {"role": "assistant", "content": "Cold."})
    refused = not shown  # this tool, and it may take others
    return refused or WEATHER["function"]["name"] in shown


def _reads_reasoning(render: Render) -> bool:
    thoughtful = {"content": "Cold.", **dict.fromkeys(REASONING_KEYS, "Bern?")}
    return "Bern?" in _shown(render, {"role": "assistant", **thoughtful})


def _call_form(render: Render) -> tuple[bool, dict[str, Any]]:
    """Whether the template wants arguments as JSON text, and what stands for no content beside a call.

    The first form that the call is written in. Of an object, a template that wants JSON shows
    `'place': 'Bern'`, as Python does, or fails. Null is none of the forms: transformers takes it out.
    """
    function = {"name": "weather", "arguments": {"place": "Bern"}}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    for empty in NO_CONTENT:
        for as_json in (False, True):
            calls = [_with_json(call) if as_json else call]
            shown = _shown(render, {"role": "assistant", **empty, "tool_calls": calls})
            written = "weather" in shown and "'place': 'Bern'" not in shown
            if written and (not as_json or '"place": "Bern"' in shown):
                return as_json, empty
    return False, NO_CONTENT[0]


NO_CONTENT: tuple[dict[str, Any], ...] = ({"content": ""}, {})


def _shown(render: Render, answer: Message) -> str:
    """A chat that ends with this answer; empty if the template refuses it."""
    try:
        return render([{"role": "user", "content": "What is it like outside?"}, answer], False)
    except UserError:
        return ""
