"""The examples of one optimizer step, cut into micro-batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from burnish.data.example import TokenizedExample


@dataclass(frozen=True)
class Step:
    """What `training_step` gets: a whole step, or nothing where another one stands for it."""

    micro_batches: list[list[TokenizedExample]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.micro_batches))

    def __contains__(self, name: str) -> bool:
        return False  # the base asks for the names of tensors it could count

    @property
    def examples(self) -> Iterator[TokenizedExample]:
        return itertools.chain.from_iterable(self.micro_batches)

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
        return shortened_origins([example.origin or f"row {example.row}" for example in self.examples])


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
