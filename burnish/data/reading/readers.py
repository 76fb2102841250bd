"""What the columns of a row mean: one function per shape of row.

Names are TRL's where it has the format, and others' datasets are read as their authors meant them. A row of
plain texts under TRL's names stays plain text. Rows of other layouts (Alpaca, question and answer,
transcripts) are chats for a model with a chat template, and plain text for one without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from burnish.data.example import Example, Message, Text, as_turns
from burnish.data.reading import cells
from burnish.data.reading.cells import Row
from burnish.data.reading.messages import SYSTEM_ROLES, check_system, messages_in, read_messages
from burnish.data.reading.tool_calls import read_tools
from burnish.data.reading.values import from_json, wrong_type
from burnish.errors import UserError, shorten

# Language modeling: one path, of which spans are trained


def prompt_completion(row: Row) -> Example:
    prompt, completion = _one_kind(cells.text(row, "prompt"), cells.text(row, "completion"))
    return Example(prompt, (completion,), template_columns(row))


def messages(row: Row) -> Example:
    return Example("", (read_messages(row["messages"], "messages"),), template_columns(row))


def conversations(row: Row) -> Example:
    return Example("", (read_messages(row["conversations"], "conversations"),), template_columns(row))


def instruction(row: Row) -> Example:
    """Alpaca's columns: the input (Dolly's context), where there is one, follows the instruction."""
    task, output = cells.string(row, "instruction"), cells.string(row, "output")
    given = "\n\n".join(filter(None, (cells.optional(row, name) for name in ("input", "context"))))
    headings = f"### Instruction:\n{task}\n\n" + (f"### Input:\n{given}\n\n" if given else "")
    plain = Example(f"{headings}### Response:\n", (output,))
    prompt = [_user(f"{task}\n\n{given}" if given else task)]
    return Example(prompt, ([_assistant(output)],), template_columns(row), plain=plain)


def question_answer(row: Row) -> Example:
    question, answer = cells.text(row, "prompt"), cells.text(row, "completion")
    prompt, completion = as_turns(question, "user"), as_turns(answer, "assistant")
    texts = isinstance(question, str) and isinstance(answer, str)
    plain = Example(f"{question}\n", (answer,)) if texts else None
    return Example(prompt, (completion,), template_columns(row), plain=plain)


def plain_text(row: Row) -> Example:
    return Example("", (cells.string(row, "text"),))


# Preference: a prompt and two completions


def explicit_preference(row: Row) -> Example:
    """The prompt is a column; chats of which each completion repeats it (UltraFeedback) are cut there."""
    prompt, *answers = (cells.text(row, name) for name in ("prompt", "chosen", "rejected"))
    columns = {**template_columns(row), **margin_of(row)}
    prompt, *answers = _one_kind(prompt, *answers)
    if any(_repeats(prompt, answer) for answer in answers):
        _check_systems(prompt, answers)
        chosen, rejected = (_whole(prompt, answer) for answer in answers)
        return _at_first_difference(chosen, rejected, columns)
    return Example(prompt, tuple(answers), columns)


def dialogue_preference(row: Row) -> Example:
    """ShareGPT pairs: a conversation, and two ways to go on."""
    prompt = read_messages(row["conversations"], "conversations")
    answers = tuple(as_turns(cells.text(row, name), "assistant") for name in ("chosen", "rejected"))
    return Example(prompt, answers, {**template_columns(row), **margin_of(row)})


def question_preference(row: Row) -> Example:
    """Orca pairs and their like: a question, and two answers."""
    question, chosen, rejected = (cells.text(row, name) for name in ("prompt", "chosen", "rejected"))
    answers = tuple(as_turns(answer, "assistant") for answer in (chosen, rejected))
    texts = all(isinstance(text, str) for text in (question, chosen, rejected))
    columns = {**template_columns(row), **margin_of(row)}
    plain = Example(f"{question}\n", (chosen, rejected), columns) if texts else None
    return Example(as_turns(question, "user"), answers, columns, plain=plain)


def implicit_preference(row: Row) -> Example:
    chosen, rejected = cells.text(row, "chosen"), cells.text(row, "rejected")
    columns = {**template_columns(row), **margin_of(row)}
    _no_mixture(chosen=chosen, rejected=rejected)
    return _at_first_difference(chosen, rejected, columns)


def transcript_preference(row: Row) -> Example:
    """hh-rlhf's transcripts: what both begin with is the prompt, the last turn of each the completion."""
    chosen, rejected = cells.string(row, "chosen"), cells.string(row, "rejected")
    columns = {**template_columns(row), **margin_of(row)}
    dialogues = _transcript(chosen, "chosen"), _transcript(rejected, "rejected")
    chat = _at_first_difference(*dialogues, columns)
    cut = min(text.rfind(ASSISTANT_TURN) for text in (chosen, rejected)) + len(ASSISTANT_TURN)
    cut = cut if chosen[:cut] == rejected[:cut] else shared_length(chosen, rejected)
    plain = Example(chosen[:cut], (chosen[cut:], rejected[cut:]), columns)
    return Example(chat.prompt, chat.completions, columns, plain=plain)


def is_transcript(row: Row) -> bool:
    return all(isinstance(row[name], str) and HUMAN_TURN in row[name] for name in ("chosen", "rejected"))


def has_prompt_inside(row: Row) -> bool:
    """Whether no other column looks like the prompt; chats hold theirs."""
    cells_of = (row[name] for name in CHOICE)
    texts = any(isinstance(messages_in(cell) if isinstance(cell, str) else cell, str) for cell in cells_of)
    return not texts or not any(row[name] and usual(name) in PROMPT_NAMES for name in row)


def usual(name: str) -> str:
    """A column's name in small letters, with underscores for spaces and hyphens."""
    return "_".join(name.strip().lower().replace("-", " ").split())


CHOICE = ("chosen", "rejected")
TRIPLE = (*CHOICE, "reference")
QUESTIONS = ("prompt", "question", "instruction", "query", "problem")
PROMPT_NAMES = (*QUESTIONS, "input", "context", "user")
"""Columns that are a prompt, and those that may be one where there is none by a name that says so."""


HUMAN_TURN, ASSISTANT_TURN = "\n\nHuman:", "\n\nAssistant:"
TURNS = re.compile(f"({HUMAN_TURN}|{ASSISTANT_TURN})")


def _transcript(text: str, column: str) -> list[Message]:
    before, *parts = TURNS.split(text if text.startswith("\n\n") else "\n\n" + text.lstrip("\n"))
    if before.strip():
        raise UserError(
            f"the transcript does not begin with {HUMAN_TURN.strip()}, but with {shorten(before.strip())}",
            where=f"column '{column}'",
            fix=f"begin with {HUMAN_TURN!r}, or give the text as a prompt column",
            reason="a transcript with text before its first turn",
        )
    speakers, contents = parts[::2], parts[1::2]
    roles = ["user" if speaker == HUMAN_TURN else "assistant" for speaker in speakers]
    return [{"role": role, "content": text.strip()} for role, text in zip(roles, contents, strict=True)]


def _at_first_difference(chosen: Any, rejected: Any, columns: dict[str, Any]) -> Example:
    cut = shared_length(chosen, rejected)
    return Example(chosen[:cut], (chosen[cut:], rejected[cut:]), columns)


def shared_length(*texts: Any) -> int:
    """How much of texts, chats or token ids is prompt: what all begin with, leaving each a completion.

    A space before the first difference goes with the completions, as tokenizers have it.
    """
    first, *others = texts
    limit = min(map(len, texts)) - 1
    apart = (i for i in range(limit) if any(first[i] != other[i] for other in others))
    cut = next(apart, max(limit, 0))
    differ = limit >= 0 and any(first[cut] != other[cut] for other in others)
    return cut - 1 if differ and cut and first[cut - 1] == " " else cut


def _repeats(prompt: Text, answer: Text) -> bool:
    """Whether a chat begins with its prompt once more, or with a dialogue that leads to this one question."""
    if isinstance(prompt, str) or isinstance(answer, str):
        return False
    said = [(m["role"], m.get("content", "").strip()) for m in _turns(answer)[:-1]]
    wanted = [(m["role"], m.get("content", "").strip()) for m in _turns(prompt)]
    if not said or not wanted:
        return False
    leads = len(wanted) == 1 and said[0][0] == "user" and wanted[0] in said
    return said[: len(wanted)] == wanted or leads


def _whole(prompt: list[Message], answer: list[Message]) -> list[Message]:
    """The whole chat, its system message from where there is one."""
    if not _repeats(prompt, answer):
        return [*prompt, *answer]
    alone = len(_turns(answer)) == len(answer)
    return [*(m for m in prompt if m["role"] in SYSTEM_ROLES), *answer] if alone else answer


def _check_systems(prompt: list[Message], answers: Sequence[list[Message]]) -> None:
    """The prompt's system message and those of whole chats must say the same. Raises `UserError`."""
    first = next((turn for turn in prompt if turn["role"] in SYSTEM_ROLES), None)
    for name, answer in zip(CHOICE, answers, strict=True):
        own = next((turn for turn in answer if turn["role"] in SYSTEM_ROLES), None)
        if first and own:
            where = f"columns 'prompt', '{name}'"
            check_system(own.get("content"), first.get("content"), where, "remove the other")


def _turns(chat: list[Message]) -> list[Message]:
    return [message for message in chat if message["role"] not in SYSTEM_ROLES]


def margin_of(row: Row) -> dict[str, float]:
    """By how much chosen is better, if the dataset says so."""
    if "margin" not in row:
        return {}
    return {"margin": cells.number(row, "margin")}


def triple_preference(row: Row) -> Example:
    """A pair, and a gold completion in the column `reference`."""
    names = ("prompt", *TRIPLE)
    prompt, *answers = _one_kind(*(cells.text(row, name) for name in names))
    return Example(prompt, tuple(answers), template_columns(row))


def implicit_triple(row: Row) -> Example:
    """The same without a prompt column: what all three begin with is the prompt."""
    answers = {name: cells.text(row, name) for name in TRIPLE}
    _no_mixture(**answers)
    cut = shared_length(*answers.values())
    prompt = answers["chosen"][:cut]
    return Example(prompt, tuple(answer[cut:] for answer in answers.values()), template_columns(row))


# Unpaired preference: a completion, and whether it is a good one


def both_of_a_pair(read: Callable[[Row], Any], row: Row) -> Example:
    """A row of a preference format: chosen is good, rejected is not."""
    pair: Example = read(row)
    columns = {name: value for name, value in pair.columns.items() if name in TEMPLATE_COLUMNS}
    plain = pair.plain and replace(pair.plain, columns={})
    return replace(pair, columns=columns, plain=plain, labels=(1.0, 0.0))


def unpaired(row: Row) -> Example:
    prompt, completion = _one_kind(cells.text(row, "prompt"), cells.text(row, "completion"))
    return Example(prompt, (completion,), {**template_columns(row), "label": _label(row)})


def unpaired_chat(row: Row) -> Example:
    """A chat whose last turn is the completion."""
    chat = read_messages(row["messages"], "messages")
    if not chat or chat[-1]["role"] != "assistant":
        raise UserError(
            f"the last message should be the assistant's, found {shorten(chat[-1:])}",
            where="column 'messages'",
            fix="end the chat with the turn that the label judges",
            reason="a chat that does not end with the assistant",
        )
    return Example(chat[:-1], (chat[-1:],), {**template_columns(row), "label": _label(row)})


def _label(row: Row) -> float:
    return float(cells.flag(row, "label"))


# Stepwise supervision: a completion in steps, each of them right or wrong

STEP_END = "\n"
"""Stands after every step, which is judged at the token that has it, or its last character."""


def stepwise(row: Row, step_separator: str = STEP_END, last_step_only: bool = False) -> Example:
    """Steps as one text, each followed by the separator; `last_step_only` judges the last of them alone."""
    prompt = cells.text(row, "prompt")
    steps = cells.list_of(str, row, "completions", "a list of strings")
    labels = cells.numbers(row, "labels")
    if len(steps) != len(labels):
        raise UserError(
            f"{len(steps)} steps, but {len(labels)} labels",
            where="columns 'completions', 'labels'",
            fix="give every step one label",
            reason="steps and labels differ in number",
        )
    if not all(0 <= label <= 1 for label in labels):
        raise UserError(
            f"labels are true or false, or a probability of being right from 0 to 1, found {labels}",
            where="column 'labels'",
            fix="bring the labels to this range",
            reason="labels of steps beyond 0 to 1",
        )
    if not all(map(str.strip, steps)):
        raise UserError(
            f"a step without text, found {shorten(steps)}",
            where="column 'completions'",
            fix="remove the step and its label",
            reason="a step without text",
        )
    text = "".join(step + step_separator for step in steps)
    ends = list(accumulate(len(step) + len(step_separator) for step in steps))
    if last_step_only:
        ends, labels = ends[-1:], labels[-1:]
    completion = text if isinstance(prompt, str) else [_assistant(text)]
    return Example(prompt, (completion,), {**template_columns(row), "labels": labels}, steps=tuple(ends))


# A prompt alone


def prompt_only(row: Row) -> Example:
    return Example(cells.text(row, "prompt"), (), template_columns(row))


# Cells

TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")
"""Columns that the chat template reads; they do not reach the objective."""

COMMON_COLUMNS = (*TEMPLATE_COLUMNS, "functions")
"""Columns that every format reads; `functions` is what tools were called once."""


def template_columns(row: Row) -> dict[str, Any]:
    """`tools` and `chat_template_kwargs`, decoded from JSON where they are strings."""
    found: dict[str, Any] = {}
    given = row.get("tools") or row.get("functions")
    if given and (tools := read_tools(given)):
        found["tools"] = tools
    arguments = row.get("chat_template_kwargs")
    if isinstance(arguments, str):
        arguments = from_json(arguments or "{}")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise wrong_type("chat_template_kwargs", arguments, "an object")
    if arguments:
        found["chat_template_kwargs"] = {key: item for key, item in arguments.items() if item is not None}
    return found


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _one_kind(prompt: Text, *completions: Text) -> Any:
    """All of them strings as they are, or all messages: a string among messages is one message."""
    if all(isinstance(text, str) for text in (prompt, *completions)):
        return prompt, *completions
    return as_turns(prompt, "user"), *(as_turns(completion, "assistant") for completion in completions)


def _no_mixture(**texts: Text) -> None:
    kinds = {name: "a string" if isinstance(text, str) else "messages" for name, text in texts.items()}
    if len(set(kinds.values())) > 1:
        raise UserError(
            "columns must be all strings or all lists of messages, found "
            + ", ".join(f"{name}: {kind}" for name, kind in kinds.items()),
            where=f"columns {', '.join(map(repr, kinds))}",
            fix='turn the strings into messages: [{"role": "user", "content": prompt}]',
            reason="strings and messages in one row",
        )
