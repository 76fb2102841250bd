"""What became of the rows of a dataset in preparation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from burnish import units

SHOWN_ROWS = 5


@dataclass
class Tally:
    """How many rows, and the first of them."""

    count: int = 0
    first: int = -1  # index of the first in the dataset
    rows: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.rows))
        more = ", …" if self.count > len(self.rows) else ""
        return f"{self.count} (row{'s' if self.count > 1 else ''} {shown}{more})"


@dataclass
class PreparationReport:
    """Counts of rows and tokens. `kept + sum of dropped == read`, always."""

    name: str = "dataset"
    format: str = ""  # what the columns were taken for
    notes: list[str] = field(default_factory=list)  # what was done to the source, and what to know of it
    read: int = 0
    kept: int = 0
    examples: int = 0  # more than rows kept, where rows are split
    dropped: dict[str, Tally] = field(default_factory=dict)  # by reason
    faults: dict[str, Tally] = field(default_factory=dict)  # those of them that could not be read
    warnings: dict[str, Tally] = field(default_factory=dict)  # kept rows that look wrong
    truncated: int = 0
    tokens: int = 0  # in the forest: a prompt once
    trained_tokens: int = 0
    longest: int = 0  # tokens of the longest kept example

    @property
    def dropped_rows(self) -> int:
        return sum(tally.count for tally in self.dropped.values())

    def add(self, later: PreparationReport) -> None:
        """Count the rows that `later` reports, which come after these."""
        for name in ("read", "kept", "examples", "truncated", "tokens", "trained_tokens"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.longest = max(self.longest, later.longest)
        for own, others in (
            (self.dropped, later.dropped),
            (self.faults, later.faults),
            (self.warnings, later.warnings),
        ):
            for reason, tally in others.items():
                known = own.setdefault(reason, Tally(first=tally.first))
                known.count += tally.count
                known.rows += tally.rows[: SHOWN_ROWS - len(known.rows)]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        share = f" ({units.share(self.trained_tokens / self.tokens)})" if self.tokens else ""
        lines = [
            f"{self.name}: {self.kept:,} of {self.read:,} rows kept, {self.truncated:,} truncated; "
            f"{self.tokens:,} tokens, {self.trained_tokens:,} of them trained{share}; "
            f"largest row {self.longest:,} tokens"
        ]
        lines += [f"  dropped, {reason}: {tally}" for reason, tally in self.dropped.items()]
        lines += [f"  warning, {reason}: {tally}" for reason, tally in self.warnings.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)
