"""The examples of one optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from burnish.data.example import TokenizedExample


@dataclass(frozen=True)
class Step:
    """What `training_step` gets: a whole step, or nothing where another one stands for it.

    A whole step is without examples where other ranks have the rest of an epoch.
    """

    examples: list[TokenizedExample] = field(default_factory=list)
    is_whole: bool = True

    def __len__(self) -> int:
        return len(self.examples)

    def __contains__(self, name: str) -> bool:
        return False  # the base asks for the names of tensors it could count

    @property
    def tokens(self) -> int:
        """Tokens that are computed: a prompt once."""
        return sum(example.length for example in self.examples)

    @property
    def logical_tokens(self) -> int:
        """Tokens of all completions, each with its own copy of the prompt."""
        return sum(len(e.prompt) + len(completion) for e in self.examples for completion in e.completions)

    @property
    def origins(self) -> str:
        """Where its rows come from: `pairs.jsonl, rows 3, 17 (id 95); more.jsonl, row 0`."""
        return shortened_origins(self.origin_of_each)

    @property
    def origin_of_each(self) -> list[str]:
        """`pairs.jsonl, row 17 (id 95)` of every example; without a name of the source, its row."""
        return [example.origin or f"row {example.row}" for example in self.examples]


SHOWN_ORIGINS = 8
"""Rows that a message names."""


def shortened_origins(origins: Sequence[str]) -> str:
    """The first origins in a line, each file named once, and how many more there are."""
    rows: dict[str, list[str]] = {}
    for origin in origins[:SHOWN_ORIGINS]:
        file, _, row = origin.rpartition("row ")
        rows.setdefault(file, []).append(row)
    named = [f"{file}row{'s' if len(found) > 1 else ''} {', '.join(found)}" for file, found in rows.items()]
    more = len(origins) - SHOWN_ORIGINS
    return "; ".join(named) + (f" and {more} more" if more > 0 else "")
