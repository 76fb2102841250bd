"""A tokenizer's chat template as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.data.example import Message
from burnish.data.reading.messages import ROLES
from burnish.errors import UserError, shorten

Render = Callable[[Sequence[Message], bool], str]
"""Messages, and whether an assistant turn is to follow, to text."""


def chat_renderer(tokenizer: Any, tools: Any = None, **template_kwargs: Any) -> Render:
    """The tokenizer's chat template as a function; `UserError` if there is none or it refuses a chat."""

    def render(messages: Sequence[Message], generation_prompt: bool) -> str:
        _check_roles(messages, tokenizer)
        try:
            return tokenizer.apply_chat_template(
                list(messages),
                tools=tools or None,
                tokenize=False,
                add_generation_prompt=generation_prompt,
                **template_kwargs,
            )
        except Exception as error:  # templates are programs; they raise anything
            raise _refused(tokenizer, messages, error) from error

    return render


def _check_roles(messages: Sequence[Message], tokenizer: Any) -> None:
    """Refuse roles that the template does not know: many write whatever role they are given."""
    for turn, message in enumerate(messages):
        role = message["role"]
        if role not in ROLES and not any(f"{q}{role}{q}" in str(tokenizer.chat_template) for q in "'\""):
            raise UserError(
                f"unknown role '{role}': the chat template does not mention it",
                where=f"message {turn}",
                fix=f"use one of {', '.join(ROLES)}, or a chat template that knows '{role}'",
                reason=f"unknown role '{role}'",
            )


def _refused(tokenizer: Any, messages: Sequence[Message], error: Exception) -> UserError:
    if not tokenizer.chat_template:
        return UserError(
            "the tokenizer has no chat template, and the rows are chats",
            fix="set chat_template_path to a model or a .jinja file, or assign tokenizer.chat_template",
        )
    roles = ", ".join(str(message["role"]) for message in messages[:SHOWN_ROLES])
    more = ", …" if len(messages) > SHOWN_ROLES else ""
    why = shorten(str(error) or type(error).__name__, 200).strip("'\"")
    return UserError(
        f"the chat template refuses this conversation: {why} (roles: {roles}{more})",
        fix="reorder or merge the messages as the template wants them, or use another chat template",
        reason=f"the chat template refuses the conversation: {why}",
    )


SHOWN_ROLES = 8
