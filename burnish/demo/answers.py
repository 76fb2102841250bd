"""What a model says to held-out notes, and how good that is.

Answers are greedy. A bar counts generated tokens, so that it moves on slow machines too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from burnish.demo.task import grade
from burnish.models.generate import answers as generated

NEW_TOKENS = 40
"""Most tokens of an answer; the longest ticket has about 30."""

BATCH = 32
"""Notes answered at a time."""


@dataclass(frozen=True)
class Score:
    """Shares of held-out answers, each between 0 and 1."""

    right: float  # every field of the ticket is right
    fields: float  # mean share of right fields
    valid: float  # one JSON object with the four keys, and nothing around it


def score_answers(answers: Sequence[str], rows: Sequence[dict[str, Any]]) -> Score:
    """Grade the answers to `rows` against their `expected` tickets."""
    grades = [grade(answer, row["expected"]) for answer, row in zip(answers, rows, strict=True)]
    return Score(
        right=sum(g.right for g in grades) / len(grades),
        fields=sum(g.fields for g in grades) / len(grades),
        valid=sum(g.valid for g in grades) / len(grades),
    )


def answer(model: PreTrainedModel, tokenizer: Any, rows: Sequence[dict[str, Any]], title: str) -> list[str]:
    """Greedy answers to the prompts of `rows`, without special tokens."""
    prompts = [row["prompt"] for row in rows]
    with tqdm(desc=title, unit="token") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = generated(
            model, tokenizer, prompts, max_new_tokens=NEW_TOKENS, batch_size=BATCH, progress=progress
        )
    return [text.strip() for text in found]


@torch.no_grad()
def mean_reward(
    model: PreTrainedModel, tokenizer: Any, rows: Sequence[dict[str, Any]], answers: Sequence[str], title: str
) -> float:
    """The mean score that a reward model gives to the answers to `rows`."""
    chats = [
        [*row["prompt"], {"role": "assistant", "content": text}]
        for row, text in zip(rows, answers, strict=True)
    ]
    total = 0.0
    for batch in tqdm(list(batches(chats)), desc=title, unit="batch"):
        total += model(**render(tokenizer, batch)).logits.float().sum().item()
    return total / len(chats)


def batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def render(tokenizer: Any, chats: Sequence[Any]) -> Any:
    """Chats as one batch of ids and mask, padded on the right."""
    tokenizer.padding_side = "right"
    return tokenizer.apply_chat_template(list(chats), padding=True, return_dict=True, return_tensors="pt")
