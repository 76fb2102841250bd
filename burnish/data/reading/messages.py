"""Chat messages as people write them, in one spelling: `role`, `content`, `tool_calls`, `reasoning_content`.

    {"from": "human", "value": "Hi"}                     {"role": "user", "content": "Hi"}
    {"from": "function_call", "value": '{"name": ...}'}  {"role": "assistant", "tool_calls": [...]}
    {"from": "observation", "value": "..."}              {"role": "tool", "content": "..."}
    {..., "content": [{"type": "text", "text": "Hi"}]}   {..., "content": "Hi"}
    {..., "thinking": "..."}                             {..., "reasoning_content": "..."}
    {..., "function_call": {"name": ...}}                {..., "tool_calls": [...]}
    {..., "weight": 0}, {..., "loss": False}             {..., "train": False}

Keys that are null are dropped: Arrow gives every message the keys of all of them. Messages, tools and tool
calls may be JSON, as files have them whose cells are strings. Further keys are left for the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.example import Example, Message
from burnish.data.reading.tool_calls import call_turn, settle_calls
from burnish.data.reading.values import from_json, wrong_type
from burnish.errors import UserError, nearest, shorten

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Roles that chat templates share. A template may know further ones."""

SYSTEM_ROLES = ("system", "developer")

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
"""Other people's names of the roles."""

FORMER_ROLES = {"function": "tool", "tool_response": "tool"}
"""Names that stand under `role` too: OpenAI's of functions, and ms-swift's."""

CALL_ROLES = ("function_call", "tool_call")
"""An assistant's turns whose content is a call."""

REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Where a model's thoughts before its answer stand, the first being the one spelling."""

TRAIN_FLAGS = ("train", "training")
"""Keys that say whether an assistant's turn is trained: true or false, 1 or 0."""

LOSS_FLAGS = ("weight", "loss", "loss_weight", "loss_mask", "trainable")
"""Keys by which a turn is taken out of the loss. Being in it is the rule: 1 says no more than no flag."""

LIKE_A_FLAG = re.compile(
    r"(?:^|_)(?:loss|masks?|masked|train|training|trained|trainable|weights?)(?:_|$)", re.IGNORECASE
)
"""Keys of which one must know what they mean: of a `mask`, 1 may be what is trained or what is not."""


def read_messages(value: Any, column: str) -> list[Message]:
    """A list of messages, or a single one, in the one spelling. Raises `UserError` naming the message."""
    turns = unwrapped(from_json(value) if isinstance(value, str) else value, column)
    turns = [turns] if isinstance(turns, Mapping) else turns
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise wrong_type(column, value, "a list of messages")
    return [_message(turn, f"column '{column}', message {index}") for index, turn in enumerate(turns)]


def messages_in(text: str) -> Any:
    """The messages that a text holds as JSON, as cells of CSV files have them; else the text."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    found = from_json(text)
    turns = found.get("messages", [found]) if isinstance(found, Mapping) else found
    chat = isinstance(turns, list) and turns and all(map(_is_message, turns))
    return found if chat else text


def unwrapped(value: Any, column: str) -> Any:
    """The messages of `{"messages": [...], "tools": []}`; other values as they are. Raises `UserError`."""
    if not isinstance(value, Mapping) or "messages" not in value:
        return value
    other = next((key for key, item in value.items() if key != "messages" and item), None)
    if other is not None:
        raise UserError(
            f"messages with '{other}' beside them, inside of one cell",
            where=f"column '{column}'",
            fix=f"give the messages alone, and {other} as a column of the row",
            reason=f"{other} inside of a cell with messages",
        )
    return value["messages"]


def _is_message(turn: Any) -> bool:
    if not isinstance(turn, Mapping) or not {"content", "value", "tool_calls"} & turn.keys():
        return False
    role = turn.get("role", turn.get("from"))
    return isinstance(role, str) and role in (*ROLES, *SHAREGPT_ROLES, *FORMER_ROLES, *CALL_ROLES)


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping):
        raise UserError(
            f"expected a message (role, content), found {shorten(value)}",
            where=where,
            fix='write messages as {"role": "user", "content": "..."}',
            reason="a message that is no object",
        )
    message = {key: item for key, item in value.items() if item is not None}
    if "role" not in message and "from" in message:
        _from_sharegpt(message, where)
    _settle_role(message, where)
    if isinstance(message.get("content"), list):
        message["content"] = _joined(message["content"], where)
    settle_calls(message, where)
    _check(message, value, where)
    _settle_reasoning(message, where)
    _settle_flags(message, where)
    return message


def _from_sharegpt(message: dict[str, Any], where: str) -> None:
    role, content = message.pop("from"), message.pop("value", None)
    message["role"] = SHAREGPT_ROLES.get(role, role) if isinstance(role, str) else role
    if content is not None:
        message["content"] = content


def _settle_role(message: dict[str, Any], where: str) -> None:
    role = message.get("role")
    if role in CALL_ROLES and not message.get("tool_calls"):
        message |= call_turn(message.pop("content", None), where)
    elif isinstance(role, str):
        message["role"] = FORMER_ROLES.get(role, role)


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
    """`train`, whatever the flag was called: True, False, or None for what is as if it were not there."""
    flags = {name: message.pop(name) for name in [*message] if LIKE_A_FLAG.search(name)}
    for name, flag in flags.items():
        if name not in (*TRAIN_FLAGS, *LOSS_FLAGS):
            _refuse_flag(name, flag, where)
            continue
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
        if message.get("train", bool(flag)) not in (bool(flag), None):
            raise UserError(
                f"two flags that differ: {', '.join(flags)}",
                where=where,
                fix="keep one of them",
                reason="flags of a message that differ",
            )
        said = True if flag and name in TRAIN_FLAGS else None if flag else False
        message["train"] = message.get("train") if said is None else said


def _refuse_flag(name: str, value: Any, where: str) -> None:
    """Stop at a key that looks as if it said what is trained, unless it is empty."""
    if value or value == 0:
        raise UserError(
            f"a key '{name}' that looks like a flag of what is trained, and is not known: {shorten(value)}",
            where=where,
            fix='write "train": false where a turn of the assistant is not trained, and remove the key',
            reason=f"a key '{name}' of a message that is not known",
        )


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


READ_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "train", REASONING_KEYS[0]})


def unread_keys(example: object, template: str) -> list[str]:
    """Keys of messages that hold more than a word or a number, and neither we nor the chat template read."""
    texts = (example.prompt, *example.completions) if isinstance(example, Example) else ()
    return sorted(
        {
            key
            for text in texts
            if not isinstance(text, str)
            for message in text
            for key in message.keys() - READ_KEYS
            if _holds_content(message[key]) and key not in template
        }
    )


def _holds_content(value: Any) -> bool:
    if isinstance(value, str):
        return len(value.split()) > 2
    return isinstance(value, Sequence | Mapping) and len(value) > 0


def check_system(one: Any, other: Any, where: str, fix: str) -> None:
    """Two system messages of one chat must say the same. Raises `UserError`."""
    if str(one or "").strip() != str(other or "").strip():
        raise UserError(
            f"two system messages that differ: {shorten(other, 60)}, and in the chat {shorten(one, 60)}",
            where=where,
            fix=f"keep one of them, or {fix}",
            reason="two system messages that differ",
        )
