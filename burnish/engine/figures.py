"""Which figures of a log are shown, and how: their short names, their numbers, and what fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish import units

Logs = Mapping[str, Any]


def number(value: float) -> str:
    """About four digits that matter: `0.6931`, `12.50`, `1,204`, `8.4e-07`."""
    if not math.isfinite(value):
        return str(value)
    for least, form in ((1000, ",.0f"), (100, ".1f"), (10, ".2f"), (1, ".3f"), (0.001, ".4f")):
        if abs(value) >= least:
            return format(value, form)
    return "0" if value == 0 else format(value, ".1e")


def decimals(count: int) -> Callable[[float], str]:
    """Always so many decimals, so that a column is read at a glance."""

    def write(value: float) -> str:
        if abs(value) >= 1000 or not math.isfinite(value):
            return number(value)
        return format(round(value, count) + 0.0, f".{count}f")  # + 0.0: no minus before a zero

    return write


@dataclass(frozen=True)
class Column:
    """A figure: the title of its column, the metrics it may be called by, and how it is written."""

    title: str
    names: tuple[str, ...]
    write: Callable[[float], str] = number
    width: int = 8

    def of(self, logs: Logs, prefix: str = "") -> str:
        """Its number in a log, in whose names `prefix` stands first; empty where it has none."""
        name = next(
            (prefix + name for name in self.names if isinstance(logs.get(prefix + name), float | int)), ""
        )
        return self.write(logs[name]) if name else ""

    @property
    def room(self) -> int:
        return max(self.width, len(self.title))


COLUMNS: Sequence[Column] = (
    Column("loss", ("loss",), decimals(4)),
    Column("margin", ("rewards/margins", "margin"), decimals(4)),
    Column("accuracy", ("rewards/accuracies", "accuracy", "mean_token_accuracy"), decimals(3)),
    Column("kl", ("kl",), decimals(3), 7),
    Column("grad norm", ("grad_norm",)),
    Column("lr", ("learning_rate",)),
    Column("tokens/s", ("tokens_per_second",), lambda value: f"{value:,.0f}"),
    Column("chosen", ("rewards/chosen",), decimals(4)),
    Column("rejected", ("rewards/rejected",), decimals(4)),
    Column("logp chosen", ("logps/chosen",), decimals(2)),
    Column("logp rejected", ("logps/rejected",), decimals(2)),
    Column("reward", ("mean_reward",), decimals(3)),
    Column("entropy", ("entropy",), decimals(3)),
    Column("memory", ("peak_bytes",), units.size),
    Column("epoch", ("epoch",), decimals(2), 6),
)
"""In the order in which they are shown, and in which they give way where the terminal is narrow."""

GAP = 2
"""Blanks between columns."""


def chosen(logs: Logs, room: int) -> list[Column]:
    """The columns that a log has and that fit into `room` characters, a gap before each."""
    columns: list[Column] = []
    for column in COLUMNS:
        if column.of(logs) and (room := room - column.room - GAP) >= 0:
            columns.append(column)
    return columns


def evaluated(logs: Logs) -> str | None:
    """What the names of an evaluation's metrics begin with (`eval_`, `eval_code_`); None if it is none."""
    found = [name for name in logs if name.startswith("eval") and name.endswith("_loss")]
    return min(found, key=len).removesuffix("loss") if found else None


SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as little bars between the least and the most of them."""
    values = [value for value in values if math.isfinite(value)][-width:] if width > 0 else []
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[round((value - low) * scale)] for value in values)
