"""The options of preparation, from rows to token ids. Defaults are TRL's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from burnish.data.example import Example
from burnish.errors import UserError


@dataclass(frozen=True)
class PreparationOptions:
    max_length: int | None = 1024
    """Longest branch (prompt and completion) in tokens; None: no limit."""
    overlong: Literal["truncate", "drop"] = "truncate"
    """What becomes of a longer one."""
    truncation_mode: Literal["keep_start", "keep_end"] = "keep_start"
    """Which end of a truncated branch stays."""
    completion_only_loss: bool | None = None
    """Train the completion only; None: where the row has a prompt."""
    assistant_only_loss: bool = False
    """Train the assistant's turns only; chats only."""
    dataset_text_field: str = "text"
    """The column of plain text rows."""
    eos_token: str | None = None
    """Ends plain texts; None: the tokenizer's."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Handed to the chat template; a row's own `chat_template_kwargs` come on top."""
    num_proc: int | None = None
    """Processes that prepare rows; None: this one."""
    batch_size: int = 1000
    """Rows prepared at a time."""

    def __post_init__(self) -> None:
        choices = {"overlong": ("truncate", "drop"), "truncation_mode": ("keep_start", "keep_end")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"expected {' or '.join(allowed)}, found {getattr(self, name)!r}", where=name)
        if self.max_length is not None and self.max_length < 2:
            raise UserError(f"expected at least 2 tokens, found {self.max_length!r}", where="max_length")

    def trains_completion_only(self, example: Example) -> bool:
        """Whether the prompt of `example` stays untrained."""
        return example.splits if self.completion_only_loss is None else self.completion_only_loss
