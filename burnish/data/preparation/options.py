"""The options of preparation, from rows to token ids. Defaults are TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from burnish.data.example import Example, Text
from burnish.errors import UserError

TruncationMode = Literal["keep_start", "keep_end", "drop", "error", "split"]
TRUNCATION_MODES = get_args(TruncationMode)

POLICY = frozenset({"num_proc", "batch_size", "on_bad_row", "bad_row_budget"})
"""Options that do not change what is made of a row; the cache does not go by them."""


def has_turns_of_others(completion: Text) -> bool:
    """Whether a completion is a dialogue: turns of the assistant, and of somebody else."""
    roles = set() if isinstance(completion, str) else {message["role"] for message in completion}
    return "assistant" in roles and len(roles) > 1


@dataclass(frozen=True)
class PreparationOptions:
    max_length: int | None = 1024
    """Longest branch (prompt and completion) in tokens; None: no limit."""
    truncation_mode: TruncationMode = "keep_start"
    """What becomes of a longer one: one of its ends stays, the row is dropped, the run stops, or (one
    completion only) it is split into rows that fit."""
    completion_only_loss: bool | None = None
    """Train the completion only; None: where the row has a prompt."""
    assistant_only_loss: bool | None = None
    """Train the assistant's turns only; chats only. None: where a completion has turns of others too."""
    last_turn_only_loss: bool = False
    """Train the last turn of the assistant only; chats only."""
    match_generation_prompt: bool = True
    """Train a turn of a chat where it follows all of the generation prompt, in a row of its own if the whole
    chat lacks a part of it there (Qwen 3.5 and 3.6: `<think>`); False: in the whole chat, with a warning."""
    end_last_turn: bool = False
    """Where the chat template writes no end of turn (GLM), the last turn ends with the next role's token."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The dataset's own names of columns: {"prompt": "question"} reads `question` as the prompt, and
    {"context": ""} leaves `context` out."""
    as_chats: bool = False
    """Take plain texts for the turns of a chat: the prompt the user's, completions the assistant's."""
    struct_columns: tuple[str, ...] = ()
    """Columns of Arrow's structs, where a null inside of an object may be the place of a missing key."""
    row_function: str | None = None
    """A function `module:name` or `path/file.py:name` that makes of each row one of a known format."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What a row that cannot be read does: stop the run, or be dropped and counted."""
    bad_row_budget: float = 0.01
    """How many rows may be skipped: a share of all below 1, a number from 1 on."""
    dataset_text_field: str | None = None
    """The column of plain text, which is then read whatever else is there; None: `text`, of text rows."""
    eos_token: str | None = None
    """Ends plain texts; None: the tokenizer's."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Handed to the chat template; a row's own `chat_template_kwargs` come on top."""
    num_proc: int | None = None
    """Processes that prepare rows; None: this one."""
    batch_size: int = 250
    """Rows prepared at a time."""

    def __post_init__(self) -> None:
        for name, allowed in {"truncation_mode": TRUNCATION_MODES, "on_bad_row": ("stop", "skip")}.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"expected {' or '.join(allowed)}, found {getattr(self, name)!r}", where=name)
        if self.max_length is not None and self.max_length < 2:
            raise UserError(f"expected at least 2 tokens, found {self.max_length!r}", where="max_length")

    def with_columns(self, columns: Mapping[str, str]) -> PreparationOptions:
        """The same for a source that has its own names of columns."""
        return replace(self, columns={**self.columns, **columns}) if columns else self

    def for_completion(self, example: Example, completion: Text) -> PreparationOptions:
        """The same with `assistant_only_loss` settled for one completion of a row.

        What the user says after a pair parts, and what a tool answers, was not the model's choice.
        """
        several = example.splits and has_turns_of_others(completion)
        return (
            replace(self, assistant_only_loss=True) if several and self.assistant_only_loss is None else self
        )

    def trains_completion_only(self, example: Example) -> bool:
        """Whether the prompt of `example` stays untrained."""
        return example.splits if self.completion_only_loss is None else self.completion_only_loss
