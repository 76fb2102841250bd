"""The prompts that models are compared on: any rows that Burnish reads, of which the prompt is asked.

row                                     prompt                      reference answer
prompt                                  it                          none
prompt, completion                      it                          the completion
messages, conversations                 all but the last turn       the last turn, if the assistant's
a pair, or several chosen               their prompt                chosen
completions with scores or ranks        their prompt                the best one
prompt, completion, label (KTO)         it                          the completion, if it is a good one
steps of an answer                      their prompt                none

A row without a prompt (plain `text`) cannot be asked, and is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.example import Example, Text, TokenizedExample
from burnish.data.reading.family import Family, Recognition
from burnish.data.reading.formats import PROMPT_ONLY, family_of
from burnish.data.reading.readers import TEMPLATE_COLUMNS
from burnish.data.sources.rows import Source
from burnish.data.sources.source import load_rows
from burnish.errors import UserError


@dataclass(frozen=True)
class Asked:
    """A row: what is asked, and what is known of it."""

    index: int  # its number in the source
    example: Example  # the prompt, without completions; may bring tools
    reference: Text | None
    columns: Mapping[str, Any]  # the row as it was read
    origin: str

    @property
    def prompt(self) -> Text:
        return self.example.prompt

    @property
    def answered(self) -> Example | None:
        """The prompt with its reference answer, to be scored."""
        if self.reference is None:
            return None
        plain = self.example.plain
        if plain is not None:
            plain = Example(plain.prompt, (as_text(self.reference),))
        return Example(self.prompt, (self.reference,), self.example.columns, plain=plain, origin=self.origin)


@dataclass(frozen=True)
class Prompts:
    name: str
    rows: Sequence[Asked]
    format: str
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of what is asked and what is known of it."""
        told = [
            [row.example.prompt, row.example.columns, row.reference, dict(row.columns)] for row in self.rows
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def read_prompts(
    data: Any, *, columns: Mapping[str, str] | None = None, split: str = "train", seed: int = 42
) -> Prompts:
    """Rows from a file, a folder, a hub id, a dataset or a list; `path#200` draws 200 by the seed.

    Raises `UserError` naming the row that has no prompt, or cannot be read.
    """
    source = load_rows(data, split=split, columns=columns, seed=seed, label="prompts")
    first = source.dataset[0]
    try:
        family, found = _family(first, source.columns)
    except UserError as error:
        raise error.at(source.origins.name) from error.__cause__
    rows = [_asked(source, index, row, family) for index, row in enumerate(source.dataset)]
    return Prompts(source.origins.name, rows, str(found), source.notes)


def _family(first: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[Family, Recognition]:
    """How rows are read. Columns that may be answers under names of their own do not matter here."""
    try:
        family = family_of(first, columns)
        return family, family.recognise(first, columns)
    except UserError:
        try:
            return PROMPT_ONLY, PROMPT_ONLY.recognise(first, columns)
        except UserError:
            pass
        raise


def _asked(source: Source, index: int, row: Mapping[str, Any], family: Family) -> Asked:
    origin = source.origins.of(index, row)
    try:
        example = family(row, source.columns)
        if isinstance(example, TokenizedExample):
            raise UserError("token ids have no prompt that can be asked", fix="give texts or messages")
        prompt, reference = _parted(example, family)
    except UserError as error:
        raise error.at(origin) from error.__cause__
    plain = example.plain and Example(example.plain.prompt, ())
    kept = {name: value for name, value in example.columns.items() if name in TEMPLATE_COLUMNS}
    asked = Example(prompt, (), kept, index, origin, plain=plain)
    return Asked(source.origins.number(index), asked, reference, dict(row), origin)


def _parted(example: Example, family: Family) -> tuple[Text, Text | None]:
    """The prompt, and the reference answer if there is one. Raises `UserError`."""
    if example.prompt:
        return example.prompt, _reference(example, family)
    if not example.completions or isinstance(example.completions[0], str):
        raise UserError(
            "a row without a prompt cannot be asked",
            fix="give rows with a prompt column or messages; --columns prompt=YOUR_COLUMN names it",
        )
    chat = example.completions[0]
    if not chat or chat[-1]["role"] != "assistant":
        return chat, None
    if len(chat) == 1:
        raise UserError("the chat has an answer and nothing before it", fix="begin with a user's turn")
    return chat[:-1], chat[-1:]


def _reference(example: Example, family: Family) -> Text | None:
    if not example.completions or family.name == "stepwise":
        return None
    if family.name == "triple":  # chosen, rejected, and the gold one
        return example.completions[-1]
    if "label" in example.columns:
        return example.completions[0] if example.columns["label"] else None
    scores = example.columns.get("scores")
    if scores is not None and len(scores) == len(example.completions):
        return example.completions[max(range(len(scores)), key=scores.__getitem__)]
    return example.completions[0]


# Texts


def as_text(text: Text) -> str:
    """The contents of messages, a blank line between two."""
    return text if isinstance(text, str) else "\n\n".join(str(m.get("content") or "") for m in text)


def without_template(example: Example) -> Example:
    """A prompt for a model that knows no chats: the format's plain form, or the contents of the turns."""
    if not example.is_chat:
        return example
    if example.plain is not None:
        return example.plain
    answers = tuple(as_text(text) for text in example.completions)
    return Example(as_text(example.prompt) + "\n", answers, row=example.row, origin=example.origin)
