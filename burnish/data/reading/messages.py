"""Chat messages as people write them, in one spelling: `role`, `content`, `tool_calls`, `reasoning_content`.

    {"from": "human", "value": "Hi"}                     {"role": "user", "content": "Hi"}
    {"from": "function_call", "value": '{"name": ...}'}  {"role": "assistant", "tool_calls": [...]}
    {"from": "observation", "value": "..."}              {"role": "tool", "content": "..."}
    {..., "content": [{"type": "text", "text": "Hi"}]}   {..., "content": "Hi"}
    {..., "thinking": "..."}                             {..., "reasoning_content": "..."}
    {..., "weight": 0}                                   {..., "train": False}

Keys that are null are dropped: Arrow gives every message the keys of all of them. Messages, tools and tool
calls may be JSON, as files have them whose cells are strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.example import Message
from burnish.errors import UserError, nearest, shorten

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Roles that chat templates share. A template may know further ones."""

SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
"""Other people's names of the roles. `function_call` is an assistant's too, and has a call in its value."""

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Where a model's thoughts before its answer stand, the first being the one spelling."""

TRAIN_FLAGS = ("train", "training", "weight")
"""Keys that say whether an assistant's turn is trained: true or false, 1 or 0."""


def read_messages(value: Any, column: str) -> list[Message]:
    """A list of messages, or a single one, in the one spelling. Raises `UserError` naming the message."""
    turns = from_json(value) if isinstance(value, str) else value
    turns = [turns] if isinstance(turns, Mapping) else turns
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise wrong_type(column, value, "a list of messages")
    return [_message(turn, f"column '{column}', message {index}") for index, turn in enumerate(turns)]


def from_json(value: str) -> Any:
    """What a string holds as JSON; the string itself if it is none."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping):
        raise UserError(
            f"expected a message (role, content), found {shorten(value)}",
            where=where,
            fix='write messages as {"role": "user", "content": "..."}',
            reason="a message that is no object",
        )
    message = {key: without_nulls(item) for key, item in value.items() if item is not None}
    if "role" not in message and "from" in message:
        _from_sharegpt(message, where)
    if isinstance(message.get("content"), list):
        message["content"] = _joined(message["content"], where)
    _settle_calls(message, where)
    _check(message, value, where)
    _settle_reasoning(message, where)
    _settle_flags(message, where)
    return message


def _from_sharegpt(message: dict[str, Any], where: str) -> None:
    role, content = message.pop("from"), message.pop("value", None)
    if role == "function_call":
        message["role"], message["tool_calls"] = "assistant", _calls(content, where)
        return
    message["role"] = SHAREGPT_ROLES.get(role, role) if isinstance(role, str) else role
    if content is not None:
        message["content"] = content


def _calls(content: Any, where: str) -> list[dict[str, Any]]:
    """The call, or the list of calls, that a `function_call` turn holds as JSON."""
    calls = from_json(content) if isinstance(content, str) else content
    if isinstance(calls, str):
        raise UserError(
            f"the function call is not JSON: {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call that is not JSON",
        )
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise UserError(
            f"a function call needs a name, found {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call without a name",
        )
    return [{"type": "function", "function": dict(call)} for call in calls]


def _joined(parts: list[Any], where: str) -> str:
    """The text of a content in parts: `[{"type": "text", "text": "..."}]`."""
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    strange = [part for part, text in zip(parts, texts, strict=True) if not isinstance(text, str)]
    if strange:
        kind = strange[0].get("type", "part") if isinstance(strange[0], Mapping) else "part"
        raise UserError(
            f"content in parts may hold text only, found {shorten(strange[0])}",
            where=where,
            fix='write {"type": "text", "text": "..."}; images, sound and video cannot be trained on yet',
            reason=f"content with a part that is no text ({kind})",
        )
    return "".join(map(str, texts))


def _check(message: dict[str, Any], given: Any, where: str) -> None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise UserError(
            f"a message needs a role, found {shorten(given)}",
            where=where,
            fix='write messages as {"role": "user", "content": "..."}',
            reason="a message without a role",
        )
    meant = "" if role in ROLES else SHAREGPT_ROLES.get(role, "") or nearest(role, ROLES)
    if meant:
        raise UserError(
            f"unknown role '{role}'.{meant if meant.startswith(' ') else f' Did you mean {meant!r}?'}",
            where=where,
            fix=f"use one of {', '.join(ROLES)}",
            reason=f"unknown role '{role}'",
        )
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        raise UserError(
            f"the {role} message has no content: {shorten(given)}",
            where=where,
            fix="fill the message in",
            reason="a message without content",
        )
    if content is not None and not isinstance(content, str):
        raise UserError(
            f"content should be a string, found {shorten(content)}",
            where=where,
            fix="turn it into a string (objects: as JSON)",
            reason="content that is no string",
        )


def _settle_flags(message: dict[str, Any], where: str) -> None:
    """`train`, whatever the flag was called."""
    for name in TRAIN_FLAGS:
        if name not in message:
            continue
        flag = message.pop(name)
        if flag not in (0, 1):  # True and False too
            raise UserError(
                f"{name} should be true or false (1 or 0), found {shorten(flag)}",
                where=where,
                fix="a turn is trained or it is not; repeat the row to train it more",
                reason=f"{name} that is neither true nor false",
            )
        if flag and message["role"] != "assistant":
            raise UserError(
                f"only assistant turns are trained, and {name} is set on a {message['role']} message",
                where=where,
                fix=f"remove {name} there",
                reason=f"{name} on a message that is not the assistant's",
            )
        message["train"] = bool(flag)


def _settle_reasoning(message: dict[str, Any], where: str) -> None:
    """`reasoning_content`, whatever it was called; an empty one is none."""
    found = [text for text in (message.pop(name, None) for name in REASONING_KEYS) if text]
    if not found:
        return
    if not isinstance(found[0], str) or any(other != found[0] for other in found[1:]):
        raise UserError(
            f"the reasoning should be one string, found {shorten(found[0] if len(found) == 1 else found)}",
            where=where,
            fix="write it as reasoning_content, a string",
            reason="reasoning that is no string",
        )
    message[REASONING_KEYS[0]] = found[0]


def _settle_calls(message: dict[str, Any], where: str) -> None:
    """`tool_calls` as a list of objects; an empty list is none."""
    calls = message.pop("tool_calls", None)
    calls = from_json(calls) if isinstance(calls, str) else calls
    if not calls:
        return
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, list):
        raise UserError(
            f"tool_calls should be a list of calls, found {shorten(calls)}",
            where=where,
            fix='write [{"type": "function", "function": {"name": "...", "arguments": {...}}}]',
            reason="tool_calls that is no list",
        )
    for call in calls:
        _settle_call(call, where)
    message["tool_calls"] = calls


def _settle_call(call: Any, where: str) -> None:
    """Arguments as an object, whichever way they were written."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UserError(
            f"a tool call needs a function with a name, found {shorten(call)}",
            where=where,
            fix='write {"type": "function", "function": {"name": "...", "arguments": {...}}}',
            reason="a tool call without a name",
        )
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = from_json(arguments or "{}")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise UserError(
            f"the arguments of {function['name']} should be an object, found {shorten(arguments)}",
            where=where,
            fix='write {"name": value, ...}, as an object or as JSON',
            reason="tool arguments that are no object",
        )
    if arguments is not None:
        function["arguments"] = arguments


def read_tools(value: Any) -> list[Any]:
    """Tools as a list of JSON schemas in the usual form, from a list or from JSON. Raises `UserError`."""
    found = from_json(value) if isinstance(value, str) else value
    if isinstance(found, str):
        raise wrong_type("tools", value, "JSON")
    tools = [
        from_json(tool) if isinstance(tool, str) else without_nulls(tool)
        for tool in (found if isinstance(found, list) else [found])
    ]
    if not all(isinstance(tool, Mapping) for tool in tools):
        raise wrong_type("tools", value, "a list of JSON schemas")
    return [{"type": "function", "function": tool} if "name" in tool else tool for tool in tools]


def without_nulls(value: Any) -> Any:
    if isinstance(value, str):  # nearly always, and the question below is a slow one
        return value
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


KINDS = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
"""Names of types for reasons, which are the same for all rows with a fault."""


def wrong_type(column: str, value: Any, expected: str) -> UserError:
    where = f"column '{column}'"
    if value is None:
        return UserError(
            f"expected {expected}, found nothing (null, or the key is missing)",
            where=where,
            fix="fill it in",
            reason=f"{column} is null or missing",
        )
    return UserError(
        f"expected {expected}, found {shorten(value)}",
        where=where,
        fix="mend the row, or convert the column with Dataset.map",
        reason=f"{column} should be {expected}, found {KINDS.get(type(value), type(value).__name__)}",
    )
