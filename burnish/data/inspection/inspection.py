"""What is in a dataset and what will be trained of it, as plain numbers and lists.

An `Inspection` is made once (`inspect.py`) and shown as text, as JSON or as a page; `to_dict` is what
`--json` prints.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["fault", "dropped", "warning", "note"]
"""fault: cannot be read, and stops a run. dropped: counted and left out. warning, note: trained as it is."""


@dataclass
class Finding:
    """One thing found, with every row that has it."""

    check: str  # a stable name: `chosen equals rejected`
    severity: Severity
    rows: list[int]  # numbers in the source, all of them
    ids: list[str]  # the person's own names of these rows, parallel to `rows`; empty if the rows have none
    meaning: str  # one sentence: why it matters for training
    fix: str  # one sentence: what to do
    found: list[str] = field(default_factory=list)  # for the first few rows: what was found there

    @property
    def count(self) -> int:
        return len(self.rows)


@dataclass
class Lengths:
    """The distribution of a length over rows."""

    unit: Literal["tokens", "characters"]
    quantiles: dict[str, int]  # "0", "0.1", "0.25", "0.5", "0.75", "0.9", "0.99", "1"
    bins: list[tuple[int, int, int]]  # from, up to (not included), rows


@dataclass
class Fit:
    """What `max_length` does to the rows."""

    max_length: int | None
    whole: int
    cut: int
    dropped: int


@dataclass
class ShownRow:
    """A row from the very code that trains: its text in runs, each trained or not."""

    row: int
    origin: str
    prompt: list[tuple[str, bool]]
    completions: list[list[tuple[str, bool]]]
    names: list[str]  # of the completions: chosen, rejected; or one


@dataclass
class Inspection:
    """Everything that `burnish inspect` knows. Counts are rows unless they say tokens."""

    source: str
    family: str
    format: str
    read: int
    kept: int  # rows that would be trained
    tokenizer: str = ""  # empty: no model was given, lengths are characters
    lengths: dict[str, Lengths] = field(default_factory=dict)  # whole, prompt, completion | chosen, rejected
    fit: Fit | None = None
    trained_tokens: int = 0
    tokens: int = 0
    trained_per_row: Lengths | None = None
    stop_token: str = ""
    stop_trained: int = 0  # rows whose last trained token is the stop token
    shares: dict[str, float] = field(default_factory=dict)  # chosen longer, label true, ...
    findings: list[Finding] = field(default_factory=list)
    shown: list[ShownRow] = field(default_factory=list)
    evaluation: str = ""  # the rows that these were compared with
    notes: list[str] = field(default_factory=list)  # what was done to the source, and what to know of it
    columns: dict[str, float] = field(default_factory=dict)  # each with the share of rows that have it
    used: list[str] = field(default_factory=list)  # those of them that are read

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
