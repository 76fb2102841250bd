"""Chat messages as people write them, in one spelling: `role`, `content`, `tool_calls`, `reasoning_content`.

    {"from": "human", "value": "Hi"}                     {"role": "user", "content": "Hi"}
    {"from": "function_call", "value": '{"name": ...}'}  {"role": "assistant", "tool_calls": [...]}
    {"from": "observation", "value": "..."}              {"role": "tool", "content": "..."}
    {..., "weight": 0}                                   {..., "train": False}

Keys that are null are dropped: Arrow gives every message the keys of all of them.
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

TRAIN_FLAGS = ("train", "training", "weight")
"""Keys that say whether an assistant's turn is trained: true or false, 1 or 0."""


def read_messages(value: Any, column: str) -> list[Message]:
    """A list of messages, or a single one, in the one spelling. Raises `UserError` naming the message."""
    turns = [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise wrong_type(column, value, "a list of messages")
    return [_message(turn, f"column '{column}', message {index}") for index, turn in enumerate(turns)]


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
    _check(message, value, where)
    _settle_flags(message, where)
    for call in message.get("tool_calls", ()):
        _settle_call(call, where)
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
    try:
        calls = json.loads(content) if isinstance(content, str) else content
    except ValueError as error:
        raise UserError(
            f"the function call is not JSON ({error}): {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call that is not JSON",
        ) from None
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise UserError(
            f"a function call needs a name, found {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call without a name",
        )
    return [{"type": "function", "function": dict(call)} for call in calls]


def _check(message: dict[str, Any], given: Any, where: str) -> None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise UserError(
            f"a message needs a role, found {shorten(given)}",
            where=where,
            fix='write messages as {"role": "user", "content": "..."}',
            reason="a message without a role",
        )
    meant = SHAREGPT_ROLES.get(role, "") or nearest(role, ROLES)
    if role not in ROLES and meant:
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
            fix="drop the row, or fill the message in",
            reason="a message without content",
        )
    if content is not None and not isinstance(content, str | list):
        raise UserError(
            f"content should be a string, found {shorten(content)}",
            where=where,
            fix="turn it into a string",
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
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = json.loads(function["arguments"])
        except ValueError:
            raise UserError(
                f"the arguments of {function['name']} are not JSON: {shorten(function['arguments'])}",
                where=where,
                fix="write them as an object",
                reason="tool arguments that are not JSON",
            ) from None


def read_tools(value: Any) -> list[Any]:
    """Tools as a list of JSON schemas in the usual form, from a list or from JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise wrong_type("tools", value, "JSON") from None
    tools = value if isinstance(value, list) else [value]
    return [
        {"type": "function", "function": tool} if isinstance(tool, dict) and "name" in tool else tool
        for tool in map(without_nulls, tools)
    ]


def without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def wrong_type(column: str, value: Any, expected: str) -> UserError:
    where = f"column '{column}'"
    if value is None:
        return UserError(
            f"expected {expected}, found nothing (null, or the key is missing)",
            where=where,
            fix="drop the row or fill it in",
            reason=f"{column} is null or missing",
        )
    return UserError(
        f"expected {expected}, found {shorten(value)}",
        where=where,
        fix="mend the row, or convert the column with Dataset.map",
        reason=f"{column} is no {expected.removeprefix('a ')}, but {type(value).__name__}",
    )
