"""`compare`: the same prompts to several models, and what measures say of the answers.

from burnish.comparison.compare import compare
from burnish.comparison.measures import Score

found = compare(["runs/sft", "runs/dpo"], "held_out.jsonl#200", [Score("task.py:grade")])
found.to_dict()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.comparison.answering import Asking, Progress, ask, room
from burnish.comparison.candidate import Candidate, Models, candidates
from burnish.comparison.measures import Measuring, finished, length, loss
from burnish.comparison.prompts import Prompts, read_prompts
from burnish.comparison.result import Answered, Comparison, Measure
from burnish.errors import UserError


def _silent(title: str, done: int, total: int) -> None:
    pass


def compare(
    models: Models,
    prompts: Any,
    measures: Sequence[Measuring] = (),
    *,
    how: Asking | None = None,
    columns: Mapping[str, str] | None = None,
    split: str = "train",
    progress: Progress = _silent,
) -> Comparison:
    """Ask every model the same prompts, and measure the answers.

    `models` are folders (whole models or adapters) or hub ids, with names of their own as a mapping.
    `prompts` is a file, a folder, a hub id, a dataset or a list of rows, of any format; `path#200` draws 200.
    Beside `measures` there are always the length of answers, the share that ended by themselves, and the loss
    on reference answers where rows have them. Raises `UserError`; what can be checked is checked before a
    model is loaded.
    """
    how = how or Asking()
    if len(models) < 1:
        raise UserError("there is no model to ask", fix="give one or more")
    for each in measures:
        each.check()
    found = candidates(models)
    asked = read_prompts(prompts, columns=columns, split=split, seed=how.sampling.seed)
    asked, notes = _with_room(asked, found, how.sampling.max_new_tokens)
    notes += [*asked.notes, *_without_templates(asked, found)]
    said = [ask(each, asked.rows, how, progress) for each in found]
    answered = Answered(asked, [each.name for each in found], said, how.sampling.seed)
    made = [each(answered, progress) for each in measures]
    told = [{"name": each.name, "path": each.path} for each in found]
    return Comparison(asked, told, how.sampling, answered, [*made, *_always(answered)], notes)


def _always(answered: Answered) -> list[Measure]:
    found = [loss(answered), length(answered), finished(answered)]
    return [each for each in found if each is not None]


def _with_room(prompts: Prompts, models: Sequence[Candidate], new_tokens: int) -> tuple[Prompts, list[str]]:
    """The prompts after which every model has positions for a whole answer. Raises `UserError`."""
    fits = room(models, prompts.rows, new_tokens)
    kept = [row for row, fit in zip(prompts.rows, fits, strict=True) if fit]
    if not kept:
        least = min((each.positions, each.name) for each in models if each.positions is not None)
        raise UserError(
            f"no prompt leaves room for an answer: {least[1]} has {least[0]:,} positions",
            where=prompts.name,
            fix=f"ask for fewer than {new_tokens:,} new tokens (--max_new_tokens), or for shorter prompts",
        )
    lost = len(fits) - len(kept)
    note = f"{lost:,} of {len(fits):,} prompts are left out: too long for an answer of {new_tokens:,} tokens"
    return replace(prompts, rows=kept), [note] if lost else []


def _without_templates(prompts: Prompts, models: Sequence[Candidate]) -> list[str]:
    """What should be known of models that do not know chats."""
    chats = any(row.example.is_chat for row in prompts.rows)
    return [
        f"{each.name} has no chat template: it was asked with the plain text of the prompts"
        for each in models
        if chats and not each.tokenizer.chat_template
    ]
