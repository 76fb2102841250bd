"""Recognising dataset rows: which columns a row has, and what they mean.

Every method reads one family of formats. A family is a table; the first format whose columns are all
present reads the row. The names and meanings are TRL's, so its datasets work unchanged.

    family      columns                              read as
    language    prompt, completion                   a prompt with one completion
                messages                             one chat
                conversations                        one chat, in ShareGPT's from / value spelling
                text                                 one text
                input_ids [labels | *_mask(s)]       token ids, as they are
    preference  prompt, chosen, rejected             a prompt with two completions
                chosen, rejected                     the same; the prompt is what both begin with

Texts are strings or lists of chat messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.example import Example, Message, Text, TokenizedExample
from burnish.errors import UserError, nearest, shorten

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """Rows that have all of `columns` are read by `read`."""

    columns: tuple[str, ...]
    read: Callable[[Row], Example | TokenizedExample]


def read_row(row: Row, formats: Sequence[Format]) -> Example | TokenizedExample:
    """Read a row with the first format that fits. Raises `UserError` naming the columns, if none does."""
    for candidate in formats:
        if all(name in row for name in candidate.columns):
            return candidate.read(row)
    raise _no_format(row, formats)


# Language modeling: one path, of which spans are trained


def _prompt_completion(row: Row) -> Example:
    prompt, completion = _text(row, "prompt"), _text(row, "completion")
    _same_kind(prompt=prompt, completion=completion)
    return Example(prompt, (completion,), _template_columns(row))


def _chat(row: Row) -> Example:
    return Example("", (_messages(row["messages"], "messages"),), _template_columns(row))


def _sharegpt(row: Row) -> Example:
    return Example("", (_messages(row["conversations"], "conversations"),), _template_columns(row))


def _plain_text(row: Row) -> Example:
    text = row["text"]
    if not isinstance(text, str):
        raise _wrong_type("text", text, "a string")
    return Example("", (text,))


MASK_COLUMNS = ("completion_mask", "assistant_masks")
IGNORED_LABEL = -100


def _token_ids(row: Row) -> TokenizedExample:
    """`labels` say what is trained (-100: not); else the masks together; else every token is trained."""
    ids = _integers(row, "input_ids")
    trained = [True] * len(ids)
    if row.get("labels") is not None:
        trained = [label != IGNORED_LABEL for label in _integers(row, "labels")]
    else:
        for name in MASK_COLUMNS:
            if row.get(name) is not None:
                mask = _integers(row, name)
                trained = [a and bool(b) for a, b in zip(trained, mask, strict=False)] if len(mask) else []
    if len(trained) != len(ids):
        raise UserError(
            f"{len(ids)} token ids, but {len(trained)} labels or mask values",
            where="column 'input_ids'",
            fix="give every token one label or mask value",
        )
    return TokenizedExample([], [ids], [trained])


LANGUAGE = (
    Format(("input_ids",), _token_ids),
    Format(("prompt", "completion"), _prompt_completion),
    Format(("messages",), _chat),
    Format(("conversations",), _sharegpt),
    Format(("text",), _plain_text),
)


# Preference: a prompt and two completions


def _explicit_preference(row: Row) -> Example:
    prompt, chosen, rejected = _text(row, "prompt"), _text(row, "chosen"), _text(row, "rejected")
    _same_kind(prompt=prompt, chosen=chosen, rejected=rejected)
    return Example(prompt, (chosen, rejected), {**_template_columns(row), **_margin(row)})


def _implicit_preference(row: Row) -> Example:
    chosen, rejected = _text(row, "chosen"), _text(row, "rejected")
    _same_kind(chosen=chosen, rejected=rejected)
    cut = _shared_length(chosen, rejected)
    columns = {**_template_columns(row), **_margin(row)}
    return Example(chosen[:cut], (chosen[cut:], rejected[cut:]), columns)


def _shared_length(chosen: Text, rejected: Text) -> int:
    """How much of both is prompt: what they begin with, leaving each a completion.

    A space before the first difference goes with the completions, as tokenizers have it.
    """
    limit = min(len(chosen), len(rejected)) - 1
    cut = next((i for i in range(max(limit, 0)) if chosen[i] != rejected[i]), max(limit, 0))
    differ = limit >= 0 and chosen[cut] != rejected[cut]
    return cut - 1 if differ and cut and chosen[cut - 1] == " " else cut


def _margin(row: Row) -> dict[str, float]:
    """By how much chosen is better, if the dataset says so."""
    if "margin" not in row:
        return {}
    margin = row["margin"]
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise _wrong_type("margin", margin, "a number")
    return {"margin": float(margin)}


PREFERENCE = (
    Format(("prompt", "chosen", "rejected"), _explicit_preference),
    Format(("chosen", "rejected"), _implicit_preference),
)


# Texts and messages

TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")
"""Columns that the chat template reads; they do not reach the objective."""

SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}


def _text(row: Row, column: str) -> Text:
    value = row[column]
    if isinstance(value, str):
        return value
    return _messages(value, column)


def _messages(value: Any, column: str) -> list[Message]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _wrong_type(
            column, value, "a list of messages" if column in CHAT_ONLY else "a string or a list of messages"
        )
    return [_message(message, f"column '{column}', message {turn}") for turn, message in enumerate(value)]


CHAT_ONLY = ("messages", "conversations")


def _message(value: Any, where: str) -> Message:
    """A message without the keys that are null: Arrow gives every message the keys of all of them."""
    if not isinstance(value, Mapping):
        raise UserError(f"expected a message (role, content), found {shorten(value)}", where=where)
    message = {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if "role" not in message and "from" in message:
        role = message.pop("from")
        message["role"] = SHAREGPT_ROLES.get(role, role)
        message["content"] = message.pop("value", None)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise UserError(
            f"a message needs a role, found {shorten(value)}",
            where=where,
            fix='write messages as {"role": "user", "content": "..."}',
        )
    if content is None and not (role == "assistant" and "tool_calls" in message):
        raise UserError(
            f"the {role} message has no content: {shorten(value)}", where=where, fix="drop or mend it"
        )
    if content is not None and not isinstance(content, str | list):
        raise UserError(f"content should be a string, found {shorten(content)}", where=where)
    return message


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _template_columns(row: Row) -> dict[str, Any]:
    """`tools` and `chat_template_kwargs`, decoded from JSON where they are strings."""
    found = {}
    for name in TEMPLATE_COLUMNS:
        value = row.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise _wrong_type(name, value, "JSON") from None
        if value:
            found[name] = _without_nulls(value)
    return found


def _integers(row: Row, column: str) -> list[int]:
    value = row[column]
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(v, int) for v in value)
    ):
        raise _wrong_type(column, value, "a list of integers")
    return list(value)


# Errors


def _same_kind(**texts: Text) -> None:
    kinds = {name: "a string" if isinstance(text, str) else "messages" for name, text in texts.items()}
    if len(set(kinds.values())) > 1:
        raise UserError(
            "columns must be all strings or all lists of messages, found "
            + ", ".join(f"{name}: {kind}" for name, kind in kinds.items()),
            where=f"columns {', '.join(map(repr, kinds))}",
            fix='turn the strings into messages: [{"role": "user", "content": prompt}]',
        )


def _wrong_type(column: str, value: Any, expected: str) -> UserError:
    fix = (
        "drop the row or fill it in"
        if value is None
        else "mend the row, or convert the column with Dataset.map"
    )
    return UserError(f"expected {expected}, found {shorten(value)}", where=f"column '{column}'", fix=fix)


def _no_format(row: Row, formats: Sequence[Format]) -> UserError:
    expected = " | ".join(" + ".join(f.columns) for f in formats)
    renames = max((_renames(f, row) for f in formats), key=lambda found: sum(map(bool, found.values())))
    hint = ", ".join(f"'{found}': '{name}'" for name, found in renames.items() if found)
    example = f"'{next(iter(row), '...')}': '{next(iter(renames))}'"
    return UserError(
        f"no known format: found columns {', '.join(row)}; expected {expected}",
        fix=f"dataset.rename_columns({{{hint or example}}}), or build the columns with Dataset.map",
    )


def _renames(wanted: Format, row: Row) -> dict[str, str]:
    """The columns that a format misses, each with the row's column that may be meant (or nothing)."""
    return {name: _lookalike(name, row) for name in wanted.columns if name not in row}


LOOKALIKES = {
    "prompt": ("question", "instruction", "query", "input"),
    "completion": ("answer", "response", "output", "target"),
    "chosen": ("good_answer", "accepted", "preferred", "winner", "better", "response_chosen"),
    "rejected": ("bad_answer", "dispreferred", "loser", "worse", "response_rejected"),
    "messages": ("conversation", "chat", "dialogue", "turns"),
    "text": ("content", "document", "story"),
}
"""Other people's names for the columns, for the suggestion in an error message only."""


def _lookalike(name: str, row: Row) -> str:
    for found in row:
        if found in LOOKALIKES.get(name, ()) or nearest(found, [name]):
            return found
    return ""
