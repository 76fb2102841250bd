"""A reward model to ask: as a function of prompts and completions, as a judge of pairs, of whole data sets.

All completions of a prompt are one tree, so that the prompt is computed once; trees are packed under a token
budget. What is said of a completion is what a run of it alone would say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from burnish.data.example import Example, Text, TokenizedExample
from burnish.data.forest import Forest
from burnish.data.packing import micro_batches
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.readers import TEMPLATE_COLUMNS
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from burnish.models.adapter_chain import chain_of
from burnish.models.certify import Certificate, certify
from burnish.models.checkpoint import read_config
from burnish.models.forward import detach, inner_model
from burnish.models.load import TASK_TYPES, load_model, load_tokenizer, shared
from burnish.models.precision import fast_bfloat16
from burnish.models.readiness import Readiness
from burnish.models.score import leaf_rewards
from burnish.models.states import evaluating, frozen

TOKENS = {"cpu": 2048}
TOKENS_OF_ACCELERATORS = 32768
WINDOW = 256
"""Examples that are cut into forests together."""

NEITHER = -1
"""The judgement where both completions have the same reward."""


class RewardModel:
    """A model with a reward head, and its tokenizer.

    model = RewardModel.load("runs/reward")
    model(prompts=["2 + 2 ="], completions=[" 4."])     a reward each, as reinforcement learning asks for
    model.prefer(["2 + 2 ="], [(" 4.", " 5.")])         0: the first one
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "reward_model",
        as_chats: bool = False,
        max_length: int | None = None,
        tokens_per_forward: int | None = None,
        attribute_weights: Sequence[float] | None = None,
    ) -> None:
        """`as_chats` takes plain texts for a user's turn and the assistant's. `max_length` is the longest
        prompt with a completion, in tokens; None: as long as the model's positions go. `tokens_per_forward`
        bounds memory and changes no reward. `attribute_weights` are what each label of the head counts in
        the reward; None: what the model was trained with. Raises `UserError` where the model cannot be run
        exactly."""
        self.model, self.tokenizer, self.as_chats = model.eval(), tokenizer, as_chats
        self.__name__ = name  # trainers name the metrics of a reward function by it
        self.weights = readout(inner_model(model).config, attribute_weights, name)
        config = inner_model(model).config.get_text_config()
        self.max_length: int | None = max_length or getattr(config, "max_position_embeddings", None)
        self.device = next(model.parameters()).device
        self.tokens_per_forward = tokens_per_forward or TOKENS.get(self.device.type, TOKENS_OF_ACCELERATORS)
        with frozen(model):
            self.certificate: Certificate = certify(model, max_length=self.max_length)
        detach(model)
        self._readiness = Readiness(model, self.certificate.tier, None)

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: str | torch.device | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        as_chats: bool = False,
        max_length: int | None = None,
        tokens_per_forward: int | None = None,
        attribute_weights: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> RewardModel:
        """A checkpoint with a reward head, or an adapter of one, by folder or hub id.

        `kwargs` go to `from_pretrained`, `dtype` among them; without it weights stay as they are stored, but
        for 16 bits where these are slow.
        Raises `UserError` where there is none, or it has no reward head.
        """
        require_reward_head(name, kwargs)
        fast = fast_bfloat16(torch.device(device) if device else default_device())
        model = load_model(name, "reward", trained=False, fast=fast, **kwargs)
        if "device_map" not in kwargs:
            model.to(device or default_device())
        if tokenizer is None:
            tokenizer = load_tokenizer(name, **shared(kwargs))
        options: dict[str, Any] = {
            "max_length": max_length,
            "tokens_per_forward": tokens_per_forward,
            "attribute_weights": attribute_weights,
        }
        return cls(model, tokenizer, name=name, as_chats=as_chats, **options)

    # As a reward function

    def __call__(
        self, prompts: Sequence[Text], completions: Sequence[Text], **columns: Sequence[Any]
    ) -> list[float]:
        """The reward of each completion. Texts are strings or lists of messages, as in TRL.

        Of the columns, `tools` and `chat_template_kwargs` are read. Raises `UserError` for a completion that
        is too long or has no token.
        """
        if len(prompts) != len(completions):
            raise UserError(
                f"{len(prompts)} prompts, but {len(completions)} completions",
                where="completions",
                fix="give every completion its prompt; completions of one prompt repeat it",
            )
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            kept = {name: columns[name][index] for name in TEMPLATE_COLUMNS if columns.get(name)}
            key = json.dumps([prompt, isinstance(completions[index], str), kept], default=repr)
            groups.setdefault(key, []).append(index)
        examples = [self._example(prompts, completions, columns, indices) for indices in groups.values()]
        rewards = self.score(self._tokenized(examples))
        found = dict(zip(chain(*groups.values()), chain(*rewards), strict=True))
        return [found[index] for index in range(len(prompts))]

    def _example(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        columns: dict[str, Any],
        indices: list[int],
    ) -> Example:
        first = indices[0]
        texts = [completions[index] for index in indices]
        kept = {name: columns[name][first] for name in TEMPLATE_COLUMNS if columns.get(name)}
        carried = {name: value for name, value in kept.items() if value}
        example = Example(prompts[first], tuple(texts), carried, first, f"prompt {first}")
        if example.is_chat or self.as_chats:
            return example.as_chat
        return example

    def _tokenized(self, examples: Sequence[Example]) -> list[TokenizedExample]:
        made = []
        for example, found in zip(
            examples, tokenize(examples, self.tokenizer, PreparationOptions()), strict=True
        ):
            if isinstance(found, UserError):
                raise found.at(example.origin)
            if len(found) > 1:
                raise UserError(
                    "the chat template shows the turns of this completion differently as the chat goes on",
                    where=example.origin,
                    fix="make the last turn the completion, and the others the prompt",
                )
            made.append(found[0])
        return made

    # As a judge

    def probabilities(
        self, prompts: Sequence[Text], pairs: Sequence[tuple[Text, Text]], **columns: Sequence[Any]
    ) -> list[float]:
        """How likely the first of each pair is the better one: `sigmoid(reward - reward of the other)`."""
        doubled = {name: [value for value in values for _ in "ab"] for name, values in columns.items()}
        texts = [text for pair in pairs for text in pair]
        rewards = self([prompt for prompt in prompts for _ in "ab"], texts, **doubled)
        return [sigmoid(a - b) for a, b in zip(rewards[::2], rewards[1::2], strict=True)]

    def prefer(
        self, prompts: Sequence[Text], pairs: Sequence[tuple[Text, Text]], **columns: Sequence[Any]
    ) -> list[int]:
        """Which of each pair is the better one: 0 the first, 1 the second, -1 neither."""
        return [
            NEITHER if chance == 0.5 else int(chance < 0.5)
            for chance in self.probabilities(prompts, pairs, **columns)
        ]

    # Of examples

    @torch.no_grad()
    def score(
        self, examples: Sequence[TokenizedExample], done: Callable[[int], object] = bool
    ) -> list[list[float]]:
        """The reward of every completion of every example. `done` hears of examples as they are scored.

        Raises `UserError` where a completion has no token, is too long, or its reward is not finite.
        """
        examples = [self._as_read(example) for example in examples]
        for example in examples:
            self._check(example)
        rewards: list[list[float]] = []
        for start in range(0, len(examples), WINDOW):
            window = [replace(example, columns={}) for example in examples[start : start + WINDOW]]
            found: dict[int, list[float]] = {}
            for batch in micro_batches(window, self.tokens_per_forward):
                found |= dict(zip(map(id, batch), self._forward(batch), strict=True))
                done(len(batch))
            rewards += [found[id(example)] for example in window]
        return rewards

    def _as_read(self, example: TokenizedExample) -> TokenizedExample:
        """The example up to the tokens where its rewards are read: the last ones that are not padding."""
        pad = inner_model(self.model).config.get_text_config().pad_token_id
        if not any(ids and ids[-1] == pad for ids in example.completions):
            return example
        ends = [
            max((place for place, token in enumerate(ids, start=1) if token != pad), default=1)
            for ids in example.completions
        ]
        return replace(
            example,
            completions=[ids[:end] for ids, end in zip(example.completions, ends, strict=True)],
            trained=[mask[:end] for mask, end in zip(example.trained, ends, strict=True)],
        )

    def _check(self, example: TokenizedExample) -> None:
        longest = len(example.prompt) + max(map(len, example.completions), default=0)
        if not all(example.completions):
            raise UserError(
                "a completion without a token has no reward", where=example.origin, fix="leave it out"
            )
        if self.max_length is not None and longest > self.max_length:
            raise UserError(
                f"{longest:,} tokens, and the longest text may have {self.max_length:,}",
                where=example.origin,
                fix="shorten the text, or load the model with a larger max_length",
            )

    def _forward(self, examples: Sequence[TokenizedExample]) -> list[list[float]]:
        forest = Forest.pack(examples).to(self.device)
        with self._readiness.for_now(), evaluating(self.model):
            labels = leaf_rewards(self.model, forest)
        rewards = iter((labels @ labels.new_tensor(self.weights)).tolist())
        found = [[next(rewards) for _ in example.completions] for example in examples]
        for example, values in zip(examples, found, strict=True):
            if not all(map(math.isfinite, values)):
                raise UserError(
                    f"the model gives the rewards {values}",
                    where=example.origin,
                    fix="load the model with dtype float32, or look at its training",
                )
        return found


def require_reward_head(name: str, kwargs: dict[str, Any]) -> None:
    """Refuse what `from_pretrained` would give a random head. Raises `UserError`."""
    chain = chain_of(name, **shared(kwargs))
    if chain.adapters:
        if chain.task_type != TASK_TYPES["reward"]:
            raise UserError(
                f"the adapter is of task {chain.task_type or 'unknown'}, and a reward model's is SEQ_CLS",
                where=name,
                fix="give an adapter that `burnish reward --use_peft` trained",
            )
        return
    architectures = read_config(name, **shared(kwargs)).architectures or []
    if not any("SequenceClassification" in each for each in architectures):
        raise UserError(
            f"it has no reward head: its config names {', '.join(architectures) or 'no architecture'}",
            where=name,
            fix="train one first (burnish reward), or give a ...ForSequenceClassification checkpoint",
        )


def readout(config: Any, given: Sequence[float] | None, name: str) -> list[float]:
    """What each label of a head counts in the reward. Raises `UserError` where nobody says so."""
    weights = list(given or getattr(config, "attribute_weights", None) or [1.0])
    if len(weights) != config.num_labels:
        known = (
            f"there are weights for {len(weights)}" if len(weights) > 1 else "how to add them up is unknown"
        )
        raise UserError(
            f"the head gives {config.num_labels} numbers, a reward is one, and {known}",
            where=name,
            fix="write attribute_weights into its config.json (`burnish reward` does), or give them to "
            "RewardModel.load",
        )
    return weights


def default_device() -> torch.device:
    found = torch.accelerator.current_accelerator(check_available=True)
    return found or torch.device("cpu")


def sigmoid(value: float) -> float:
    """Without overflow for any finite value."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
