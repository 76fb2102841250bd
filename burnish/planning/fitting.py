"""The most that fits: tokens of a forward, and the longest row.

Of a step only one micro-batch is in memory, so a batch may have any number of rows: what memory bounds is
`tokens_per_forward`, and a row that is longer than that, which is a micro-batch of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.data.example import TokenizedExample
from burnish.planning.devices import Device
from burnish.planning.memory import Memory, Rehearsed, memory, rehearsed
from burnish.planning.subject import Subject

LIMIT = 0.9
"""Share of a device's memory that is planned with; the rest is for what no plan sees."""

LONG = (512, 1024)
"""Tokens of the two single rows whose memory says what a token more takes."""


@dataclass(frozen=True)
class Fitting:
    """Tokens. 0: not even the weights fit."""

    limit_bytes: int
    fits: bool  # as it is configured
    tokens_per_forward: int
    rows_per_forward: int  # of the mean length
    max_length: int  # of a prompt with one completion
    model_limit: int | None  # most positions the model has


def usable_bytes(device: Device) -> int:
    return int((device.memory_bytes - device.reserved_bytes) * LIMIT)


def fitting(
    subject: Subject,
    device: Device,
    example: TokenizedExample,
    peak: Memory,
    *,
    steps: int,
    checkpoint: bool,
    mean_length: float,
) -> Fitting:
    """The most that fits into the device, by a line through two rehearsals."""
    limit = usable_bytes(device)

    def taken(rehearsal: Rehearsed) -> int:
        return memory(subject, rehearsal.later, max(2, steps), device.kind, peak.parts.base).peak

    rows = [rehearsed(subject, [_row(length, example)], checkpoint) for length in LONG]
    tokens = _crossing(limit, *((row.tokens, taken(row)) for row in rows))
    longest = tokens // len(example.completions)
    positions = getattr(subject.config.get_text_config(), "max_position_embeddings", None)
    return Fitting(
        limit_bytes=limit,
        fits=peak.peak <= limit,
        tokens_per_forward=tokens,
        rows_per_forward=int(tokens // mean_length) if mean_length else 0,
        max_length=min(longest, positions or longest),
        model_limit=positions,
    )


def _crossing(limit: int, one: tuple[int, int], other: tuple[int, int]) -> int:
    """Where the line through two (tokens, bytes) meets the limit, in whole tokens, rounded to two digits."""
    slope = (other[1] - one[1]) / (other[0] - one[0])
    if slope <= 0:
        return 0
    tokens = one[0] + (limit - one[1]) / slope
    if tokens < 1:
        return 0
    unit = 10 ** max(0, math.floor(math.log10(tokens)) - 1)
    return int(tokens // unit * unit)


def _row(length: int, like: TokenizedExample) -> TokenizedExample:
    """A row of `length` tokens with as many completions as another, and no prompt that they could share."""
    completions = len(like.completions)
    each = length // completions
    tokens = [[1 + index % 7 for index in range(each)] for _ in range(completions)]
    columns = like.columns
    return TokenizedExample([1], tokens, [[True] * each for _ in range(completions)], columns)
