"""What methods share that train on texts and chats, one path a row, by a mean over its trained tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from burnish import units
from burnish.data.example import Example, TokenizedExample
from burnish.data.forest import Forest
from burnish.data.packing import PackedRows
from burnish.data.reading.formats import LANGUAGE
from burnish.data.reading.readers import plain_text
from burnish.engine.arguments import TrainerArguments
from burnish.engine.config import EngineConfig
from burnish.engine.plan import Plan
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.losses.output import Mean, Metric
from burnish.models.score import Details, score
from burnish.options import described


@dataclass
class LanguageConfig(EngineConfig):
    """What the configs of these methods share: what is trained of a row, and how rows make batches."""

    learning_rate: float = described(2e-5, "The initial learning rate.")
    completion_only_loss: bool | None = described(
        None, "Train completions only. Unset: yes for rows with a prompt and a completion."
    )
    assistant_only_loss: bool = described(False, "Train the assistant's turns of a chat only.")
    last_turn_only_loss: bool = described(False, "Train the last turn of the assistant only.")
    match_generation_prompt: bool = described(
        True,
        "Train a turn of a chat where it follows all of the generation prompt, in a row of its own where the "
        "whole chat lacks a part of it (<think>, in Qwen 3.6). False: in the whole chat, with a warning.",
    )
    end_last_turn: bool = described(
        False,
        "Where the chat template writes no end of turn (GLM), end the last turn with the token of the next "
        "role, at which generation stops.",
    )
    truncation_mode: str = described(
        "keep_start",
        "What becomes of a row that is too long: which end is kept, or drop it, or stop (error), or split it "
        "into rows that fit.",
        choices=["keep_start", "keep_end", "drop", "error", "split"],
    )
    dataset_text_field: str | None = described(
        None,
        "The column of plain text, trained whatever other columns there are. Unset: `text`, where they make "
        "no other format.",
    )
    packing: bool = described(
        False,
        "Make the batch size count packs: as many rows as fit into max_length, chosen over the whole set. "
        "Steps then have equally many tokens; rows never see each other either way.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.packing and self.max_length is None:
            raise UserError("needs a max_length: packs are filled up to it", where="packing")


class LanguageEngine(Engine):
    """`formatting_func` turns a row into text."""

    read_row = LANGUAGE
    predicts_tokens = True

    def __init__(
        self,
        model: Any = None,
        args: Any = None,
        *rest: Any,
        formatting_func: Callable[[Any], str] | None = None,
        **given: Unpack[TrainerArguments],
    ) -> None:
        self._formatting_func = formatting_func
        super().__init__(model, args, *rest, **given)

    @classmethod
    def preparation(cls, args: Any) -> dict[str, Any]:
        names = (
            "completion_only_loss",
            "last_turn_only_loss",
            "match_generation_prompt",
            "end_last_turn",
            "dataset_text_field",
        )
        return {name: getattr(args, name) for name in names}

    def reader(self) -> Any:
        return (
            super().reader() if self._formatting_func is None else partial(formatted, self._formatting_func)
        )

    def get_ready(self) -> Plan:
        self.train_dataset: Any
        fresh, plan = self.plan is None, super().get_ready()
        if fresh and self.args.packing and self.train_dataset is not None:
            self.train_dataset = packs = PackedRows(self.train_dataset, self.args.max_length)
            padded = packs.padded_fullness(self.args.per_device_train_batch_size)
            plan.say(
                "packing",
                f"{len(packs.lengths):,} rows in {len(packs):,} packs, {units.share(packs.fullness)} full",
                f"up to {packs.capacity:,} tokens; padded batches would be {units.share(padded, 0)} full",
            )
        return plan

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        return (example.trained_tokens,)

    def wants_details(self, model: nn.Module) -> bool:
        """Whether metrics of tokens are to be logged."""
        return self.args.token_metrics or not model.training

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """The most likely tokens and the right ones, side by side: int[rows, longest], padded with -100."""
        details = score(model, forest, details=True).details
        assert details is not None
        return rows_of(forest, details.top), rows_of(forest, forest.tokens[forest.target])


def formatted(write: Callable[[Any], str], row: Mapping[str, Any]) -> Example:
    """A row as the text that a function of one's own makes of it. Raises `UserError`."""
    try:
        text = write(row)
    except Exception as error:  # a person's own function raises anything
        raise UserError(
            f"formatting_func raised {type(error).__name__}: {error}",
            fix="mend the function, or the row",
            reason=f"formatting_func raised {type(error).__name__}",
        ) from error
    return plain_text({"text": text})


def token_metrics(forest: Forest, details: Details | None) -> dict[str, Metric]:
    """Entropy in nats and top-1 accuracy of the trained tokens, where they were asked for."""
    if details is None:
        return {}
    hits = details.top == forest.tokens[forest.target]
    return {
        "entropy": Mean.of(details.entropy),
        "mean_token_accuracy": Mean.of(hits.to(details.entropy.dtype)),
    }


def rows_of(forest: Forest, values: Tensor) -> Tensor:  # int[N] -> int[B, longest]
    """Per-token values as one row per branch, filled up with -100."""
    counts = forest.trained_per_branch.tolist()
    return torch.nn.utils.rnn.pad_sequence(list(values.split(counts)), batch_first=True, padding_value=-100)
