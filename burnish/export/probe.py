"""What a model says of fixed texts: what a trained model and its artefact are compared by.

A reading is small, so that one model at a time is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.models.load import Task

TEXTS = (
    "The lighthouse keeper counted the ships every evening, and wrote their names into a blue book.",
    "def mean(values):\n    return sum(values) / len(values)\n",
    '{"name": "Nora", "count": 12, "when": ["Monday", "Friday"], "paid": true}',
    "17 + 25 = 42, 3.5 x 4 = 14, and 1,000 - 1 = 999.",
    "Grüße aus Köln; 東京は雨です。 Ça va? 🙂",
)
CHATS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Name three rivers."}],
    [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "4."},
        {"role": "user", "content": "And twice that?"},
    ],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ],
)
LONGEST = 128
"""Tokens of a probe; longer ones are cut."""
NEW_TOKENS = 24


@dataclass(frozen=True)
class Reading:
    """`outputs` holds a tensor per probe: log-probabilities float[T, V], or a head's float[..., labels].

    `rendered` are the chats by the template (None where it refuses one), `ids` the probes as tokens, and
    `answers` the greedy continuation of the first text and of every chat.
    """

    ids: list[list[int]]
    outputs: list[Tensor]
    rendered: list[str | None] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


def rendered_chats(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """Every chat as a prompt by the tokenizer's template; empty without a template."""
    if tokenizer.chat_template is None:
        return []
    return [render(tokenizer, chat) for chat in CHATS]


def render(tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, str]]) -> str | None:
    """A chat with the opening of the answer. None: the template refuses it, as some do a system message."""
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    except Exception:  # templates raise what they like
        return None


def probe_ids(tokenizer: PreTrainedTokenizerBase, rendered: Sequence[str | None]) -> list[list[int]]:
    texts = [tokenizer(text)["input_ids"] for text in TEXTS]
    chats = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in rendered if text]
    return [ids[:LONGEST] for ids in texts + chats if ids]


@torch.no_grad()
def read(model: Any, tokenizer: PreTrainedTokenizerBase, task: Task) -> Reading:
    """Run the probes, one at a time, without padding."""
    rendered = rendered_chats(tokenizer)
    ids = probe_ids(tokenizer, rendered)
    outputs = []
    for probe in ids:
        logits = model(input_ids=torch.tensor([probe], device=model.device)).logits[0].float().cpu()
        outputs.append(logits.log_softmax(-1) if task == "causal" else logits)
    answers = []
    if task == "causal":
        answers = [greedy(model, tokenizer, probe) for probe in (ids[0][:8], *ids[len(TEXTS) :])]
    return Reading(ids, outputs, rendered, answers)


def greedy(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: list[int]) -> str:
    """What `generate` adds to a prompt by the model's own generation config, without sampling."""
    prompt_ids = torch.tensor([prompt], device=model.device)
    made = model.generate(
        input_ids=prompt_ids,
        attention_mask=torch.ones_like(prompt_ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
    )
    return str(tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True))


def weight_hashes(model: PreTrainedModel) -> dict[str, str]:
    """A hash of the bytes of every tensor that is saved."""
    return {
        name: hashlib.blake2b(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data, digest_size=16
        ).hexdigest()
        for name, tensor in model.state_dict().items()
    }
