"""What a person should know of how rows are taken: guesses, and what is not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.data.example import Example, TokenizedExample
from burnish.data.preparation.options import has_turns_of_others
from burnish.data.reading.family import Recognition
from burnish.data.reading.side_columns import unread_content
from burnish.data.sources.rows import RowReader
from burnish.errors import UserError

TURNS = (
    "what users and tools say within a completion is not in the loss; --assistant_only_loss false counts it, "
    "as TRL does"
)

LOOKED_AT = 20
"""Rows that are looked at, spread over all."""

PLAIN_TEXT = (
    "plain text for a model with a chat template: prompt and completion are trained one after the other as "
    "they are, and chatting and serving write the template around them; --as_chats makes turns of them"
)

NULLS = (
    "nulls inside of objects are left out: Arrow writes them for missing keys, too. Rows as JSON lines, or "
    "arguments and schemas as JSON text, keep them"
)


def notes_of(
    rows: Sequence[Mapping[str, Any]], reader: RowReader, recognition: Recognition | None, tokenizer: Any
) -> list[str]:
    """Notes on rows like these."""
    notes = [*guess_notes(reader), *_notes(recognition)]
    read = list(_read(rows, reader))
    if any(is_plain_for_a_chat(example, tokenizer) for _, example in read):
        notes.append(PLAIN_TEXT)
    if reader.options.assistant_only_loss is None and any(map(_is_dialogue, (each for _, each in read))):
        notes.append(TURNS)
    used = recognition.used if recognition else ()
    news = dict.fromkeys(name for row, example in read for name in unread_content(row, used, example))
    if news and recognition:
        notes.append(unread_note([*news]))
    if any("tools" in example.columns or _calls(example) for _, example in read if _has_nulls(reader)):
        notes.append(NULLS)
    return notes


def spread(count: int) -> list[int]:
    """The numbers of `LOOKED_AT` of so many rows."""
    step = max(1, count // LOOKED_AT)
    return list(range(0, count, step))[:LOOKED_AT]


def guess_notes(reader: RowReader) -> list[str]:
    if not reader.guessed:
        return []
    said = ", ".join(f"{own} for {name}" for name, own in reader.guessed.items())
    words = ",".join(f"{name}={own}" for name, own in reader.guessed.items())
    return [f"columns were taken by their names: {said} (--columns {words})"]


def unread_note(names: Sequence[str]) -> str:
    many = len(names) > 1
    return (
        f"column{'s' if many else ''} {', '.join(names)} hold{'' if many else 's'} text that is not read: "
        "rename what is meant for training (--columns), or build the rows with row_function"
    )


def is_plain_for_a_chat(example: Example | TokenizedExample, tokenizer: Any) -> bool:
    """Whether a prompt and its completion are trained without the chat template that the model has."""
    if isinstance(example, TokenizedExample) or not getattr(tokenizer, "chat_template", None):
        return False
    return example.splits and not example.is_chat


def _read(
    rows: Sequence[Mapping[str, Any]], reader: RowReader
) -> Iterator[tuple[Mapping[str, Any], Example | TokenizedExample]]:
    for row in rows:
        try:
            yield row, reader(row)
        except UserError:  # which preparation reports
            continue


def _is_dialogue(example: Example | TokenizedExample) -> bool:
    return (
        isinstance(example, Example) and example.splits and any(map(has_turns_of_others, example.completions))
    )


def _has_nulls(reader: RowReader) -> bool:
    return bool({"messages", "conversations", "tools", "prompt"} & {*reader.options.struct_columns})


def _calls(example: Example | TokenizedExample) -> bool:
    if isinstance(example, TokenizedExample):
        return False
    texts = (example.prompt, *example.completions)
    return any(turn.get("tool_calls") for text in texts if not isinstance(text, str) for turn in text)


def _notes(recognition: Recognition | None) -> list[str]:
    if recognition and recognition.family == "language" and "label" in recognition.unused:
        return [
            "the column 'label' is not used: completions that it calls bad are trained like the others; "
            "use kto, which learns from both, or filter them out"
        ]
    return []
