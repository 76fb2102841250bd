"""Columns that may stand beside those of any format: one rule for all of them.

    system     the system turn: {"system": "Be brief."}
    history    earlier turns, as messages or as [question, answer] pairs
    context    joins the question, after a blank line; so does `input`
    loss_mask  a flag for every message: 0 takes the turn out of the loss
    images     and the like cannot be trained on yet

Each is read, or the row is refused by the column's name: a row of plain text has no turns, a chat with
several questions does not say which of them a context belongs to. Other columns that hold content are said by
name (`unread_content`). A column is left out on purpose by `--columns NAME=`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.example import Example, Message, Text, TokenizedExample
from burnish.data.reading.cells import Row
from burnish.data.reading.messages import (
    LIKE_A_FLAG,
    LOSS_FLAGS,
    SYSTEM_ROLES,
    TRAIN_FLAGS,
    check_system,
    read_messages,
)
from burnish.data.reading.values import from_json, wrong_type
from burnish.errors import UserError, shorten

SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = ("history", "chat_history", "conversation_history")
CONTEXT = ("context", "input")
SIDE_COLUMNS = (*SYSTEM, *HISTORY, *CONTEXT)
"""Columns of known meaning beside those of a format."""

MEDIA = ("image", "images", "video", "videos", "audio", "audios", "pixel_values")
"""Columns of what no method here trains on."""


def filled(row: Row, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the columns that have something in this row; white space, `[]` and `{}` are nothing."""
    return tuple(name for name in names if name in row and is_filled(row[name]))


def is_filled(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() not in ("", "[]", "{}", "null")
    return value is not None and (not isinstance(value, Sequence | Mapping) or len(value) > 0)


def with_side_columns(
    example: Example | TokenizedExample, row: Row, own: Sequence[str]
) -> Example | TokenizedExample:
    """The example with what stands beside it in the row; `own` are the columns that its format reads itself.

    Token ids are complete as they are. Raises `UserError` for a column that cannot be read with such a row.
    """
    for name in filled(row, MEDIA):
        if name not in own:
            what = "images, sound and video cannot be trained on yet"
            raise _left_over(name, what, "content that is no text")
    flags = [name for name in row if LIKE_A_FLAG.search(name) and name not in own]
    for name in filled(row, flags):
        if isinstance(example, Example) and not isinstance(row[name], bool | int | float | str):
            example = _flagged(example, row[name], name)
    names = [name for name in filled(row, SIDE_COLUMNS) if name not in own]
    if not names or isinstance(example, TokenizedExample):
        return example
    if not example.is_chat:
        fix = "take the texts for a chat (--as_chats), or "
        what = "rows of plain text have no turns, which this column needs"
        raise _left_over(names[0], what, f"{names[0]} beside plain text", fix)
    system, context = _one_of(row, names, SYSTEM), _one_of(row, names, CONTEXT)
    name = next((name for name in names if name in HISTORY), "")
    history = read_history(row[name], name) if name else []
    return _surrounded(example, system, history, context)


def _left_over(name: str, what: str, reason: str, fix: str = "") -> UserError:
    return UserError(
        what,
        where=f"column '{name}'",
        fix=f"{fix}leave the column out (--columns {name}=)",
        reason=reason,
    )


def _flagged(example: Example, flags: Any, column: str) -> Example:
    """A chat whose turns are trained as a list of flags says, which has one for every message."""
    chat = [*_turns(example.prompt or []), *_turns(example.completions[0])] if _is_one_chat(example) else []
    fits = column in (*TRAIN_FLAGS, *LOSS_FLAGS) and len(flags) == len(chat)
    if not fits or not all(flag in (0, 1) for flag in flags):
        what = f"a list that looks as if it said what is trained, and does not fit the row: {shorten(flags)}"
        raise _left_over(column, what, f"{column} that is not known", "flag the messages (train: false), or ")
    found: list[Message] = []
    for index, (message, flag) in enumerate(zip(chat, flags, strict=True)):
        if flag and message["role"] != "assistant":
            what = f"only assistant turns are trained, and message {index} ({message['role']}) is flagged"
            raise _left_over(column, what, f"{column} on a message that is not the assistant's")
        found.append({**message, "train": None if flag else False})
    lead = len(example.prompt)
    prompt: Text = found[:lead] if lead else example.prompt
    return replace(example, prompt=prompt, completions=(found[lead:],), plain=None)


def _is_one_chat(example: Example) -> bool:
    return example.is_chat and len(example.completions) == 1


Named = tuple[str, str]
"""A column with its text."""


def _one_of(row: Row, names: Sequence[str], meaning: Sequence[str]) -> Named:
    """The column of this meaning and its text. Raises `UserError` where two say different things."""
    found: Named = "", ""
    for name in names:
        if name not in meaning:
            continue
        if not isinstance(row[name], str):
            raise wrong_type(name, row[name], "a string")
        if found[0] and row[name].strip() != found[1].strip():
            raise _left_over(name, f"it says something else than column '{found[0]}'", "two columns differ")
        found = found if found[0] else (name, row[name])
    return found


def read_history(value: Any, column: str) -> list[Message]:
    """Earlier turns, from messages or from pairs of a question and its answer. Raises `UserError`."""
    turns = from_json(value) if isinstance(value, str) else value
    listed = isinstance(turns, Sequence) and not isinstance(turns, str)
    if listed and all(isinstance(turn, Mapping) for turn in turns):
        return read_messages(turns, column)
    if not listed or not all(_is_pair(turn) for turn in turns):
        raise wrong_type(column, value, "messages, or a list of [question, answer] pairs")
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in turns for role, text in zip(roles, pair, strict=True)]


def _is_pair(turn: Any) -> bool:
    listed = isinstance(turn, Sequence) and not isinstance(turn, str)
    return listed and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def _surrounded(example: Example, system: Named, history: list[Message], context: Named) -> Example:
    """A chat with its system turn, its earlier turns, and what belongs to its question."""
    if isinstance(example.prompt, str):  # whole chats
        chats = tuple(_chat(_turns(each), system, history, context, True) for each in example.completions)
        return replace(example, completions=chats)
    prompt = _chat(example.prompt, system, history, context, False)
    plain = example.plain and _plain(example.plain, example.prompt, system[1], history, context[1])
    return replace(example, prompt=prompt, plain=plain)


def _turns(text: Text) -> list[Message]:
    assert not isinstance(text, str)
    return text


def _chat(
    turns: list[Message], system: Named, history: list[Message], context: Named, whole: bool
) -> list[Message]:
    if context[0]:
        turns = _with_context(turns, *context, whole=whole)
    own = next((i for i, turn in enumerate(turns) if turn["role"] not in SYSTEM_ROLES), len(turns))
    lead, rest = list(turns[:own]), turns[own:]
    if system[0]:
        lead = _lead(lead, *system)
    if lead and history and history[0]["role"] in SYSTEM_ROLES:
        said, *history = history
        fix = "remove that of the history"
        check_system(lead[0].get("content"), said.get("content"), "the history", fix)
    return [*lead, *history, *rest]


def _lead(lead: list[Message], column: str, text: str) -> list[Message]:
    """The system turn: of the column, or the chat's own where it says the same."""
    if not lead:
        return [{"role": "system", "content": text}]
    fix = f"leave the column out (--columns {column}=)"
    check_system(lead[0].get("content"), text, f"column '{column}'", fix)
    return lead


def _with_context(turns: list[Message], column: str, text: str, whole: bool) -> list[Message]:
    """The question with its context: the last of a prompt, or the only one of a whole chat."""
    asked = [index for index, turn in enumerate(turns) if turn["role"] == "user"]
    if not asked or (whole and len(asked) > 1):
        many = "has several questions, and the column does not say which it is for"
        raise _left_over(
            column,
            f"the chat {many if asked else 'has no question that it could belong to'}",
            f"{column} without its question",
            "write it into the message it belongs to, or ",
        )
    found = list(turns)
    found[asked[-1]] = {**turns[asked[-1]], "content": f"{turns[asked[-1]].get('content') or ''}\n\n{text}"}
    return found


def _plain(
    plain: Example, prompt: list[Message], system: str, history: list[Message], context: str
) -> Example:
    """The same for a model without a chat template: all before the question, a blank line between."""
    assert isinstance(plain.prompt, str)
    asked = plain.prompt
    if context:
        question = next((str(turn.get("content")) for turn in reversed(prompt) if turn["role"] == "user"), "")
        before, _, after = asked.rpartition(question)
        asked = f"{before}{question}\n\n{context}{after}"
    said = [str(turn.get("content") or "") for turn in history]
    return replace(plain, prompt="\n\n".join(filter(None, [system, *said, asked])))


# Columns of no known meaning

FEWEST_WORDS = 3
"""A text of fewer words is a name, a category, a score: about the row, and nothing that it says."""


def unread_content(row: Row, used: Iterable[str], example: Example | TokenizedExample) -> list[str]:
    """Columns that are not read, and hold texts of some words that stand nowhere in what is read."""
    known = set(used)
    others = [name for name in row if name not in known and not isinstance(row[name], bool | int | float)]
    if not others or isinstance(example, TokenizedExample):
        return [name for name in others if name in SIDE_COLUMNS and is_filled(row[name])]
    said = [text for whole in (example.prompt, *example.completions) for text in strings_in(whole)]
    said += [text for name in known & row.keys() for text in strings_in(row[name])]
    read = [_flat(text) for text in said if text.strip()]
    return [name for name in others if any(_is_news(text, read) for text in strings_in(row[name]))]


def strings_in(value: Any) -> Iterator[str]:
    """Every string inside of a value, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings_in(item)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            yield from strings_in(item)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _is_news(text: str, read: Sequence[str]) -> bool:
    """Whether a text says something that is nowhere among those read, nor made of the longest of them."""
    flat = _flat(text)
    if flat.count(" ") + 1 < FEWEST_WORDS or flat.startswith(("http://", "https://")):
        return False
    longest = max(read, key=len, default="")
    return not any(flat in other for other in read) and not (longest and longest in flat)
