"""What a model says to held-out notes, and how good that is.

Answers are greedy, in batches padded on the left. A bar counts generated tokens, so that it moves on
slow machines too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, StoppingCriteriaList

from burnish.demo.task import grade

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


@torch.no_grad()
def answer(model: PreTrainedModel, tokenizer: Any, rows: Sequence[dict[str, Any]], title: str) -> list[str]:
    """Greedy answers to the prompts of `rows`, without special tokens."""
    answers: list[str] = []
    with tqdm(total=-(-len(rows) // BATCH) * NEW_TOKENS, desc=title, unit="token") as bar:
        for done, batch in enumerate(batches(rows), start=1):
            prompts = render(
                tokenizer, [row["prompt"] for row in batch], side="left", add_generation_prompt=True
            )
            generated = model.generate(
                **prompts,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
                stopping_criteria=StoppingCriteriaList([Tick(bar)]),
            )
            new = generated[:, prompts["input_ids"].shape[1] :]
            answers += [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
            bar.update(done * NEW_TOKENS - bar.n)  # a batch may end early
    return answers


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
        total += model(**render(tokenizer, batch, side="right")).logits.float().sum().item()
    return total / len(chats)


class Tick:
    """A stopping rule that never stops, and moves the bar by one for each generated token."""

    def __init__(self, bar: tqdm) -> None:
        self.bar = bar

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self.bar.update(1)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def render(tokenizer: Any, chats: Sequence[Any], side: str, **options: Any) -> Any:
    """Chats as one padded batch of ids and mask."""
    tokenizer.padding_side = side
    return tokenizer.apply_chat_template(
        list(chats), padding=True, return_dict=True, return_tensors="pt", **options
    )
