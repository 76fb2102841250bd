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
from dataclasses import replace
from functools import partial
from typing import Any

from burnish.data.example import Example
from burnish.data.reading import readers, scores, token_ids
from burnish.data.reading.family import Family, Format, renamed
from burnish.data.reading.readers import QUESTIONS, Row

ANSWERS = ("completion", "response", "answer", "output", "solution")


def _pairs(first: Sequence[str], second: Sequence[str], skip: Iterable[tuple[str, str]]) -> list[tuple]:
    return [(a, b) for a in first for b in second if (a, b) not in skip]


LANGUAGE = Family(
    "language",
    (
        Format(
            "token ids",
            ("input_ids",),
            token_ids.token_ids,
            optional=("labels", *token_ids.MASK_COLUMNS),
            sides=False,
        ),
        Format("prompt and completion", ("prompt", "completion"), readers.prompt_completion),
        Format("messages", ("messages",), readers.messages),
        Format("ShareGPT conversations", ("conversations",), readers.conversations),
        Format("Alpaca", ("instruction", "output"), readers.instruction, ("input", "context")),
        *(
            Format(
                "question and answer",
                names,
                readers.question_answer,
                aliases=dict(zip(("prompt", "completion"), names, strict=True)),
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
    (
        Format("triple preference", ("prompt", *readers.TRIPLE), readers.triple_preference),
        Format(
            "triple preference, prompt inside",
            readers.TRIPLE,
            readers.implicit_triple,
            when=readers.has_prompt_inside,
        ),
    ),
    purpose="TPO",
)

PREFERENCE = Family(
    "preference",
    (
        _preference("preference", ("prompt",), readers.explicit_preference),
        _preference("ShareGPT pairs", ("conversations",), readers.dialogue_preference),
        *(
            _preference(
                "question with two answers",
                (name,),
                readers.question_preference,
                aliases={"prompt": name},
            )
            for name in QUESTIONS[1:]
        ),
        Format(
            "pairs of token ids",
            ("chosen_ids", "rejected_ids"),
            token_ids.pair_of_token_ids,
            optional=("prompt_ids",),
            carries=("margin",),
            sides=False,
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
            for pairs in PREFERENCE.of_text
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
        Format(
            "steps as token ids",
            ("input_ids", "labels"),
            token_ids.step_token_ids,
            when=token_ids.judges_steps,
            carries=("labels",),
            sides=False,
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
            for each in LANGUAGE.of_text
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
    from burnish.data.reading.meant import may_have_answers, no_format  # which guess among these

    row = renamed(row, columns or {})
    for family in FAMILIES:
        if family.find(row) is not None and not (family is PROMPT_ONLY and may_have_answers(row)):
            return family
    raise no_format(row, FAMILIES)


def known_columns() -> frozenset[str]:
    """Every name of a column that some format reads."""
    return frozenset().union(*(family.known for family in FAMILIES))
