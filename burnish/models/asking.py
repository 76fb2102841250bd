"""Prompts as a model is asked them: token ids, where an answer ends, and the seed of its noise.

The tokens are those that training takes for the prompt (`burnish.data.text.tokenize`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedTokenizerBase

from burnish.data.example import Example, Message, Text
from burnish.data.preparation.options import PreparationOptions
from burnish.data.text.render import chat_renderer
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from burnish.models.forward import inner_model

Prompt = Text | Example
"""A text, messages, or an example without completions, which may bring `tools`."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    max_new_tokens: int = 256
    temperature: float = 0.0  # 0: always the most likely token
    top_p: float = 1.0  # draw from the likeliest tokens that have this share together
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fits, wanted in (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and up to 1"),
        ):
            if not fits:
                raise UserError(f"expected {wanted}, found {getattr(self, name)}", where=name)


@dataclass(frozen=True)
class Question:
    """A prompt as tokens, and what its answer needs to know."""

    tokens: list[int]
    context: list[int]  # the end of a text that the answer goes on with: how a token reads depends on it
    stops: frozenset[int]  # tokens that end the answer
    limit: int  # most tokens of the answer
    seed: int


CONTEXT = 8
"""Tokens of a text that its continuation is decoded with."""


def questions(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], sampling: Sampling
) -> list[Question]:
    """Prompts as token ids. Raises `UserError`."""
    config = inner_model(model).config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    ends = {chat: stop_tokens(model, tokenizer, chat) for chat in {_is_chat(prompt) for prompt in prompts}}
    asked: list[Question] = []
    seen: dict[tuple[int, ...], int] = {}
    for index, (prompt, tokens) in enumerate(zip(prompts, prompt_tokens(tokenizer, prompts), strict=True)):
        room = sampling.max_new_tokens if positions is None else positions - len(tokens)
        if not tokens or room < 1:
            raise UserError(
                f"{len(tokens):,} tokens, and the model has {positions:,} positions"
                if tokens
                else "it is empty, and the tokenizer has no token to begin with",
                where=f"prompt {index}",
                fix="shorten the prompt, or leave it out" if tokens else "write something",
            )
        again = seen[tuple(tokens)] = seen.get(tuple(tokens), -1) + 1
        chat = _is_chat(prompt)
        context = [] if chat else tokens[-CONTEXT:]
        limit = min(sampling.max_new_tokens, room)
        asked.append(Question(tokens, context, ends[chat], limit, _seed(sampling.seed, tokens, again)))
    return asked


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The tokens that a model is asked with, the beginning of an assistant's turn included."""
    examples = [each if isinstance(each, Example) else Example(each, ()) for each in prompts]
    made = []
    for index, found in enumerate(tokenize(examples, tokenizer, PreparationOptions())):
        if isinstance(found, UserError):
            raise found.at(f"prompt {index}")
        made.append(found[0].prompt)
    return made


def _is_chat(prompt: Prompt) -> bool:
    return not isinstance(prompt.prompt if isinstance(prompt, Example) else prompt, str)


def _seed(seed: int, tokens: list[int], again: int) -> int:
    """Of one prompt; `again` tells prompts apart that are asked several times."""
    digest = hashlib.blake2b(json.dumps([seed, again, tokens]).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def stop_tokens(model: nn.Module, tokenizer: PreTrainedTokenizerBase, chat: bool) -> frozenset[int]:
    """Tokens that end an answer: the model's, the tokenizer's, and in a chat what the template ends with."""
    inner = inner_model(model)
    found: set[int | None] = {tokenizer.eos_token_id}
    for config in (inner.generation_config, inner.config.get_text_config()):
        ends = getattr(config, "eos_token_id", None)
        found |= set(ends) if isinstance(ends, list | tuple) else {ends}
    if chat:
        found.add(_end_of_turn(tokenizer))
    return frozenset(each for each in found if each is not None)


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template writes after an answer, if it is one."""
    answer: list[Message] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "7391"}]
    try:
        text = chat_renderer(tokenizer)(answer, False)
    except UserError:
        return None
    after = text.rpartition("7391")[2].lstrip()
    ids = tokenizer(after, add_special_tokens=False)["input_ids"][:1]
    return next((each for each in ids if after.startswith(_special(tokenizer, each))), None)


def _special(tokenizer: PreTrainedTokenizerBase, token: int) -> str | tuple[str, ...]:
    """The text of a special token; nothing starts with an empty tuple."""
    added = tokenizer.added_tokens_decoder.get(token)
    return added.content if added is not None and added.special else ()
