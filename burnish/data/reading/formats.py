"""Recognising rows: a table of the formats that each family of methods reads.

A method reads one family. The first format whose columns are all there, and whose condition holds, reads
the row. `recognise` finds the family too, and `columns` renames: {"prompt": "question"} reads `question`
as the prompt.

    family       what a row is                          methods
    triple       a pair, and a gold completion          TPO
    preference   a prompt with a better and a worse     reward models, DPO and its kin
    unpaired     a completion that is good or not       KTO, BCO (pairs too)
    stepwise     a completion in judged steps           process reward models
    ranked       a prompt with completions in an order  reward models
    scored       a completion with scores               reward models
    language     a text, a chat, or a completion        SFT
    prompt-only  a prompt to be answered                reinforcement learning
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from burnish.data.example import Example, TokenizedExample
from burnish.data.reading import readers, scores
from burnish.data.reading.readers import Row
from burnish.errors import UserError, nearest


@dataclass(frozen=True)
class Format:
    """Rows that have all of `columns`, and for which `when` holds, are read by `read`.

    `aliases` say which column stands for which of the reader's names; `optional` columns are read if there.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row], Example | TokenizedExample]
    optional: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Row], bool] = bool
    carries: tuple[str, ...] = ()  # of the columns, those that the objective reads as numbers
    makes: tuple[str, ...] = ()  # such numbers that the reader adds

    def fits(self, row: Row) -> bool:
        return all(name in row for name in self.columns) and self.when(row)


@dataclass(frozen=True)
class Recognition:
    """What the columns of a dataset were taken for."""

    family: str
    format: str
    used: tuple[str, ...]  # the dataset's own names
    unused: tuple[str, ...]
    carried: tuple[str, ...] = ()  # numbers that reach the objective

    def __str__(self) -> str:
        text = f"{self.format}, from columns {', '.join(self.used)}"
        return text + (f"; not used: {', '.join(self.unused)}" if self.unused else "")


@dataclass(frozen=True)
class Family:
    """The formats that a kind of method reads. Calling it reads a row."""

    name: str
    formats: tuple[Format, ...]
    purpose: str = ""  # which methods read it

    def __call__(self, row: Row, columns: Mapping[str, str] | None = None) -> Example | TokenizedExample:
        """Read a row. Raises `UserError` naming the column, or the columns expected where none fit."""
        row = renamed(row, columns or {})
        found = self.find(row)
        if found is None:
            raise no_format(row, [self])
        try:
            return found.read(renamed(row, found.aliases))
        except UserError as error:
            raise _spelled(error, {**found.aliases, **(columns or {})}) from error.__cause__

    def find(self, row: Row) -> Format | None:
        return next((candidate for candidate in self.formats if candidate.fits(row)), None)

    def recognise(self, row: Row, columns: Mapping[str, str] | None = None) -> Recognition:
        """What a row of these columns is taken for. Raises `UserError` if it is of no format."""
        columns = columns or {}
        row = renamed(row, columns)
        found = self.find(row)
        if found is None:
            raise no_format(row, [self])
        others = (*found.optional, *found.carries, *COMMON)
        names = list(dict.fromkeys([*found.columns, *(name for name in others if name in row)]))
        unused = [name for name in row if name not in names]
        return Recognition(
            self.name,
            found.name,
            used=tuple(columns.get(name, name) for name in names),
            unused=tuple(unused),
            carried=(*(name for name in found.carries if name in names), *found.makes),
        )


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with each of `columns` under the name it stands for. Raises `UserError` if one is missing."""
    if not columns:
        return row
    missing = [own for own in columns.values() if own not in row]
    if missing:
        raise UserError(
            f"no column '{missing[0]}'; there is {', '.join(row)}.{nearest(missing[0], row)}",
            where="columns",
            fix="name columns of the data on the right: --columns prompt=question",
            reason=f"no column '{missing[0]}'",
        )
    own = set(columns.values())
    rest = {name: value for name, value in row.items() if name not in own and name not in columns}
    return {**rest, **{name: row[column] for name, column in columns.items()}}


def _spelled(error: UserError, columns: Mapping[str, str]) -> UserError:
    """The error with the dataset's own names of columns."""
    where = error.where
    for name, own in columns.items():
        where = where.replace(f"'{name}'", f"'{own}'")
    first, space, rest = error.reason.partition(" ")  # reasons begin with the column, where they name one
    reason = columns.get(first, first) + space + rest
    return UserError(error.what, where=where, fix=error.fix, reason=reason)


COMMON = readers.TEMPLATE_COLUMNS
QUESTIONS = ("prompt", "question", "instruction", "query", "problem")
ANSWERS = ("completion", "response", "answer", "output", "solution")


def _pairs(first: Sequence[str], second: Sequence[str], skip: Iterable[tuple[str, str]]) -> list[tuple]:
    return [(a, b) for a in first for b in second if (a, b) not in skip]


LANGUAGE = Family(
    "language",
    (
        Format("token ids", ("input_ids",), readers.token_ids, ("labels", *readers.MASK_COLUMNS)),
        Format("prompt and completion", ("prompt", "completion"), readers.prompt_completion),
        Format("messages", ("messages",), readers.messages),
        Format("ShareGPT conversations", ("conversations",), readers.conversations, ("system",)),
        Format("Alpaca", ("instruction", "output"), readers.instruction, ("input", "system")),
        *(
            Format(
                "question and answer",
                names,
                readers.question_answer,
                ("system",),
                dict(zip(("prompt", "completion"), names, strict=True)),
            )
            for names in _pairs(
                QUESTIONS, ANSWERS, skip=[("prompt", "completion"), ("instruction", "output")]
            )
        ),
        Format("text", ("text",), readers.plain_text),
    ),
    purpose="SFT",
)


def _preference(name: str, columns: tuple[str, ...], read: Callable[[Row], Example], **rest: Any) -> Format:
    return Format(name, (*columns, *readers.CHOICE), read, carries=("margin",), **rest)


TRIPLE = Family(
    "triple",
    (Format("triple preference", ("prompt", *readers.CHOICE, "reference"), readers.triple_preference),),
    purpose="TPO",
)

PREFERENCE = Family(
    "preference",
    (
        _preference("preference", ("prompt",), readers.explicit_preference),
        _preference("ShareGPT pairs", ("conversations",), readers.dialogue_preference, optional=("system",)),
        *(
            _preference(
                "question with two answers",
                (name,),
                readers.question_preference,
                optional=("system", "input"),
                aliases={"prompt": name},
            )
            for name in QUESTIONS[1:]
        ),
        _preference("transcripts (hh-rlhf)", (), readers.transcript_preference, when=readers.is_transcript),
        _preference(
            "preference, prompt inside", (), readers.implicit_preference, when=readers.has_prompt_inside
        ),
    ),
    purpose="reward models and DPO",
)


def _unpaired(name: str, columns: tuple[str, ...], read: Callable[[Row], Example], **rest: Any) -> Format:
    return Format(name, (*columns, "label"), read, carries=("label",), **rest)


UNPAIRED = Family(
    "unpaired",
    (
        _unpaired("unpaired preference", ("prompt", "completion"), readers.unpaired),
        _unpaired("unpaired preference, chats", ("messages",), readers.unpaired_chat),
        _unpaired(
            "unpaired preference, ShareGPT",
            ("conversations",),
            readers.unpaired_chat,
            aliases={"messages": "conversations"},
        ),
    ),
    purpose="KTO",
)

JUDGED = Family(
    "unpaired or pairs",
    (
        *UNPAIRED.formats,
        *(
            replace(
                pairs,
                name=f"{pairs.name}, each side by itself",
                read=partial(readers.both_of_a_pair, pairs.read),
                carries=(),
                makes=("label",),
            )
            for pairs in PREFERENCE.formats
        ),
    ),
    purpose="KTO and BCO",
)
"""Unpaired preference, and pairs, of which both completions are taken."""

STEPWISE = Family(
    "stepwise",
    (
        Format(
            "stepwise supervision",
            ("prompt", "completions", "labels"),
            readers.stepwise,
            carries=("labels",),
        ),
    ),
    purpose="process reward models",
)

RANKED = Family(
    "ranked",
    (
        Format(
            "completions with scores",
            ("prompt", "completions", "scores"),
            scores.scored_list,
            makes=("scores",),
        ),
        Format(
            "completions with ranks",
            ("prompt", "completions", "ranks"),
            scores.ranked_list,
            makes=("scores",),
        ),
        Format(
            "scored responses (UltraFeedback)",
            ("instruction", "completions"),
            scores.scored_responses,
            aliases={"prompt": "instruction"},
            when=scores.has_responses,
            makes=("scores",),
        ),
    ),
    purpose="reward models of ranked lists",
)


def scored_by(attributes: Sequence[str] = ("score",), levels: Sequence[float] = ()) -> Family:
    """Rows of the language formats with a column of numbers for every attribute; of `levels`, if given."""
    return Family(
        " ".join(["scored by", *attributes, *(f"{level:g}" for level in levels)]),
        tuple(
            replace(
                each,
                name=f"{each.name}, with scores",
                columns=(*each.columns, *attributes),
                read=partial(scores.with_scores, each.read, tuple(attributes), tuple(levels)),
                makes=("scores",),
            )
            for each in LANGUAGE.formats
            if each.name != "token ids"
        ),
        purpose="reward models of scores",
    )


SCORED = scored_by()

PROMPT_ONLY = Family(
    "prompt-only",
    tuple(
        Format("prompts", (name,), readers.prompt_only, aliases={} if name == "prompt" else {"prompt": name})
        for name in (*QUESTIONS, "messages")
    ),
    purpose="sampling answers",
)

FAMILIES = (TRIPLE, PREFERENCE, UNPAIRED, STEPWISE, RANKED, LANGUAGE, SCORED, PROMPT_ONLY)
"""Families from the one that asks for most to the one that asks for least."""


def family_of(row: Row, columns: Mapping[str, str] | None = None) -> Family:
    """The first family that reads a row of these columns. Raises `UserError` if none does.

    A prompt alone is what any row with a question has: where its other columns look like answers under names
    of their own, the error says which they may be.
    """
    row = renamed(row, columns or {})
    for family in FAMILIES:
        if family.find(row) is not None and not (family is PROMPT_ONLY and _may_have_answers(row)):
            return family
    raise no_format(row, FAMILIES)


# What may have been meant


def no_format(row: Row, families: Sequence[Family]) -> UserError:
    formats = plain_formats(families)
    expected = " | ".join(dict.fromkeys(" + ".join(f.columns) for f in formats))
    renames = columns_meant(max(formats, key=lambda candidate: worth(candidate, row)), row)
    pairs = ",".join(f"{name}={found or 'YOUR_COLUMN'}" for name, found in renames.items())
    fix = f"say which is which (--columns {pairs}), or build the columns with Dataset.map"
    others = [f for f in FAMILIES if f not in families and f is not PROMPT_ONLY and f.find(row) is not None]
    what = f"no known format: found columns {', '.join(row) or 'none'}; expected {expected}"
    if others:
        meant = max(others, key=lambda family: _columns_used(family, row))
        what += f".\n  These columns are rows for {meant.purpose} ({_name(meant, row)})"
        fix = fix if any(renames.values()) else "train such rows by that method, or give rows as expected"
    return UserError(what, fix=fix, reason="no known format")


def plain_formats(families: Iterable[Family]) -> list[Format]:
    return [candidate for family in families for candidate in family.formats if not candidate.aliases]


def _name(family: Family, row: Row) -> str:
    found = family.find(row)
    return found.name if found else ""


def _columns_used(family: Family, row: Row) -> int:
    found = family.find(row)
    return len(found.columns) if found else 0


def _may_have_answers(row: Row) -> bool:
    """Whether the row has every column of a format with answers, some of them under other names."""
    return any(all(columns_meant(f, row).values()) for f in plain_formats(FAMILIES[:-1]))


def worth(wanted: Format, row: Row) -> tuple[int, bool]:
    """How near a row is to a format, 0 if it has nothing of it; people seldom mean token ids."""
    renames = columns_meant(wanted, row)
    missing = sum(not found for found in renames.values())
    known = len(wanted.columns) - missing
    return (known - missing + len(wanted.columns) if known else 0), wanted.columns != ("input_ids",)


def columns_meant(wanted: Format, row: Row) -> dict[str, str]:
    """The columns that a format misses, each with the row's column that may be meant (or nothing)."""
    free = {name: None for name in row if name not in wanted.columns}
    found: dict[str, str] = {}
    for name in wanted.columns:
        if name not in row:
            found[name] = _lookalike(name, free)
            free.pop(found[name], None)
    return found


LOOKALIKES = {
    "prompt": (*QUESTIONS, *readers.PROMPT_LOOKALIKES, "user"),
    "completion": (*ANSWERS, "target", "reply", "assistant"),
    "chosen": ("good_answer", "accepted", "preferred", "winner", "better", "response_chosen", "good"),
    "rejected": ("bad_answer", "dispreferred", "loser", "worse", "response_rejected", "bad"),
    "messages": ("conversation", "chat", "dialogue", "turns"),
    "text": ("content", "document", "story"),
}
"""Other people's names for the columns, for the suggestion in an error message only."""


def _lookalike(name: str, columns: Iterable[str]) -> str:
    known = LOOKALIKES.get(name, ())
    found = next((column for column in columns if column.lower() in (name, *known)), "")
    return found or next((column for column in columns if nearest(column, [name])), "")
