"""The checks, as a table: adding one is one entry.

A check is made anew for every inspection, sees each row once, and says at the end which rows have it. Rows
that cannot be read or trained need no check: the code that trains says so, in its own words (`UNREADABLE`,
`DROPPED`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from burnish import units
from burnish.data.inspection import blemishes
from burnish.data.inspection.duplicates import Contradictions, Copies, Found, NearDuplicates, SameExamples
from burnish.data.inspection.inspection import Finding, Severity
from burnish.data.inspection.overlap import Evaluation, InEvaluation, SharedRuns
from burnish.data.inspection.roles import role_order
from burnish.data.inspection.seen import Piece, Seen
from burnish.data.inspection.stops import StopTokens
from burnish.data.inspection.unread import ContentNotRead, keys_not_read, placeholders, plain_text
from burnish.data.preparation.truncate import EMPTY, EMPTY_TEXT
from burnish.errors import shorten

Cure = Literal["quarantine", "mend", "keep"]
"""What `--fix` does with such rows: leaves them out of the copy, mends them, or keeps them as they are."""


@dataclass(frozen=True)
class Setting:
    """What checks may know of the whole inspection."""

    tokenizer: Any = None
    used: tuple[str, ...] = ()  # the columns that are read; empty: not known
    evaluation: Evaluation | None = None


class Collector(Protocol):
    """Sees every row once; says at the end what was found in which."""

    def add(self, seen: Seen) -> None: ...

    def found(self) -> Found: ...


@dataclass(frozen=True)
class Check:
    name: str
    severity: Severity
    meaning: str
    fix: str
    make: Callable[[Setting], Collector | None]  # None: it has nothing to go by
    cure: Cure = "quarantine"


class Each:
    """A check that looks at one row at a time: what was found in it, or nothing."""

    def __init__(self, look: Callable[[Seen], str]) -> None:
        self._look = look
        self._found: Found = {}

    def add(self, seen: Seen) -> None:
        what = self._look(seen)
        if what:
            self._found[seen.number] = what

    def found(self) -> Found:
        return self._found


def each(look: Callable[[Seen], str]) -> Callable[[Setting], Collector]:
    return lambda setting: Each(look)


def in_texts(look: Callable[[Piece], Iterable[str]]) -> Callable[[Setting], Collector]:
    """A check of every text of a row, but of rows that are dropped because they say nothing."""

    def of_row(seen: Seen) -> str:
        if seen.dropped in (EMPTY, EMPTY_TEXT):
            return ""
        found = {piece.place: ", ".join(dict.fromkeys(look(piece))) for piece in seen.pieces}
        return "; ".join(f"{place}: {what}" for place, what in found.items() if what)

    return each(of_row)


# Texts


def empty(piece: Piece) -> list[str]:
    return [] if piece.text else ["empty"]


def blank(piece: Piece) -> list[str]:
    shown = blemishes.INVISIBLE.sub("", piece.text)
    return [f"only {shorten(piece.text, 30)}"] if piece.text and not shown.strip() else []


MARKERS = re.compile(
    r"<\|[\w./ -]{1,40}\|>|<\uff5c[^\uff5c>]{1,40}\uff5c>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>"
)
"""Control tokens of the common chat templates; those of the model come on top."""


def control_markers(setting: Setting) -> Collector:
    special = _special_tokens(setting.tokenizer)
    pattern = re.compile("|".join([*map(re.escape, sorted(special, key=len, reverse=True)), MARKERS.pattern]))
    return in_texts(lambda piece: pattern.findall(piece.text))(setting)


REASONING = ("<think>", "</think>", "[THINK]", "[/THINK]")
"""Marks that a model's answer may well have."""


def _special_tokens(tokenizer: Any) -> list[str]:
    known = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return [t.content for t in known if t.special and t.content.strip() and t.content not in REASONING]


# Columns and lengths


class StrayColumns:
    """Rows with a column that few rows have, and that is not read."""

    def __init__(self, setting: Setting) -> None:
        self._used = setting.used
        self._rows: dict[str, list[int]] = {}
        self._read = 0

    def add(self, seen: Seen) -> None:
        self._read += 1
        for name, value in seen.row.items():
            if name not in self._used and has_value(value):
                self._rows.setdefault(name, []).append(seen.number)

    def found(self) -> Found:
        found: Found = {}
        shares = {name: len(rows) / self._read for name, rows in self._rows.items()}
        for name in stray_columns(shares, self._used):
            rows = self._rows[name]
            found |= {row: f"{found[row]}, {name}" if row in found else f"column {name}" for row in rows}
        return found


FEW_ROWS = 0.05


def stray_columns(shares: Mapping[str, float], used: Iterable[str]) -> list[str]:
    """Columns that few rows have, and that are not read, by the share of rows that have each."""
    used = set(used)
    return [name for name, share in shares.items() if name not in used and 0 < share <= FEW_ROWS]


def has_value(cell: Any) -> bool:
    """Whether a row has something in a column; an empty cell of a CSV file is nothing."""
    return cell is not None and cell != ""


class Outliers:
    """Rows with a text many times as long as nearly all of its kind.

    Robust: it takes more than one row in twenty to move the measure.
    """

    def __init__(self, times: int = 10, quantile: float = 0.95, at_least: int = 20) -> None:
        self._times, self._quantile, self._at_least = times, quantile, at_least
        self._lengths: dict[str, list[tuple[int, int]]] = {}

    def add(self, seen: Seen) -> None:
        longest: Counter[str] = Counter()
        for piece in seen.pieces:
            kind = "prompt" if piece.place.startswith("prompt") else "completion"
            longest[kind] = max(longest[kind], len(piece.text))
        for kind, length in longest.items():
            self._lengths.setdefault(kind, []).append((length, seen.number))

    def found(self) -> Found:
        found: Found = {}
        for kind, lengths in self._lengths.items():
            if len(lengths) < self._at_least:
                continue
            usual = float(np.quantile([length for length, _ in lengths], self._quantile, method="lower"))
            most = f"{units.share(self._quantile, 0)} have {usual:,.0f} at most"
            for length, row in lengths:
                if length > self._times * max(usual, 1):
                    found[row] = f"{kind} of {length:,} characters; {most}"
        return found


def cut(seen: Seen) -> str:
    if not seen.cut:
        return ""
    before = sum(example.length for example in seen.tokenized)
    after = sum(example.length for example in seen.kept)
    return f"{before - after:,} of {before:,} tokens" if after < before else f"in {len(seen.kept)} pieces"


def with_evaluation(make: Callable[[Evaluation], Collector]) -> Callable[[Setting], Collector | None]:
    return lambda setting: make(setting.evaluation) if setting.evaluation is not None else None


CHECKS = (
    Check(
        "empty turn",
        "warning",
        "A prompt, an answer or a turn has no text; an empty answer teaches the model to say nothing.",
        "fill it in, or drop the row",
        in_texts(empty),
    ),
    Check(
        "blank turn",
        "warning",
        "A prompt, an answer or a turn is white space only.",
        "fill it in, or drop the row",
        in_texts(blank),
    ),
    Check(
        "role order",
        "warning",
        "The turns do not go user, assistant, user, assistant, so some of them answer nothing.",
        "merge turns of one role that follow each other, and end with the assistant's",
        each(role_order),
    ),
    Check(
        "contradiction",
        "warning",
        "The same two answers are ranked the other way round in as many rows or more (or one answer is "
        "called both good and bad): their gradients cancel.",
        "keep the ranking you trust",
        lambda setting: Contradictions(),
    ),
    Check(
        "duplicate",
        "warning",
        "The row equals an earlier one in every column, so it counts twice.",
        "keep the first",
        lambda setting: Copies(),
    ),
    Check(
        "in the evaluation",
        "warning",
        "The evaluation has the same example, so it measures memory.",
        "drop it from the training rows",
        with_evaluation(InEvaluation),
    ),
    Check(
        "13-gram of the evaluation",
        "warning",
        "Thirteen words in a row are in the evaluation too, and are no phrase that many rows have.",
        "look at some; drop the rows if they give answers away",
        with_evaluation(SharedRuns),
    ),
    Check(
        "control markers",
        "warning",
        "The text has control tokens of a chat template, left over, or put there to take the chat over.",
        "cut them out, or drop the row",
        control_markers,
    ),
    Check(
        "very long",
        "warning",
        "A text is more than ten times as long as 95 % of its kind: usually a loop or a whole file.",
        "look at it, and shorten or drop it",
        lambda setting: Outliers(),
    ),
    Check(
        "stop token not trained",
        "warning",
        "The end of the answer is not trained, so the model does not learn to stop.",
        "use a chat template that ends the assistant's turn with a special token, or set eos_token",
        lambda setting: Each(StopTokens(setting.tokenizer)) if setting.tokenizer is not None else None,
        cure="keep",
    ),
    Check(
        "plain text for a chat model",
        "warning",
        "Prompt and completion are trained one after the other, without the model's chat template, which "
        "chatting and serving write around them.",
        "make turns of them with --as_chats, or name the columns question and answer",
        lambda setting: Each(plain_text(setting.tokenizer)) if setting.tokenizer is not None else None,
        cure="keep",
    ),
    Check(
        "content not read",
        "warning",
        "A column holds text that is nowhere in what is trained.",
        "name it for what it is (--columns), build the rows with row_function, or remove it",
        lambda setting: ContentNotRead(setting.used, FEW_ROWS) if setting.used else None,
        cure="keep",
    ),
    Check(
        "message key not read",
        "warning",
        "A message has a key with content that neither training nor the chat template reads.",
        "write it into the content, or remove it",
        lambda setting: Each(keys_not_read(setting.tokenizer)),
        cure="keep",
    ),
    Check(
        "picture placeholder",
        "warning",
        "A mark that stands for a picture or a sound is trained as text, without what it stands for.",
        "drop the row: images, sound and video cannot be trained on yet",
        in_texts(placeholders),
    ),
    Check(
        "HTML entities",
        "warning",
        "Entities such as &amp; are trained as they stand, and the model will write them.",
        "decode them (html.unescape)",
        in_texts(lambda piece: blemishes.entities(piece.text)),
        cure="mend",
    ),
    Check(
        "carriage returns or padding",
        "warning",
        "Windows line ends, or blanks around the text, are tokens of their own that are trained.",
        "strip the text, and write line ends as \\n",
        in_texts(lambda piece: blemishes.padding(piece.text, piece.first, piece.last)),
        cure="mend",
    ),
    Check(
        "invisible characters",
        "warning",
        "Zero-width and no-break characters look like nothing or like spaces, and are other tokens.",
        "remove them, or write spaces",
        in_texts(lambda piece: blemishes.invisible(piece.text)),
        cure="mend",
    ),
    Check(
        "stray column",
        "warning",
        "Few rows have this column, and it is not read: a note, or a name that was spelled in another way.",
        "rename it if it is meant for training, else remove it",
        StrayColumns,
        cure="mend",
    ),
    Check(
        "same example again",
        "note",
        "Prompt and completions are those of an earlier row; other columns differ.",
        "nothing, if each is a judgement of its own; else keep the first",
        lambda setting: SameExamples(),
        cure="keep",
    ),
    Check(
        "near duplicate",
        "note",
        "Every text shares at least 80 % of its runs of three words with an earlier row's.",
        "nothing, if they are few; else keep one of each kind",
        lambda setting: NearDuplicates(),
        cure="keep",
    ),
    Check(
        "cut by max_length",
        "note",
        "Tokens beyond max_length are not seen in training.",
        "raise max_length, or drop such rows (--truncation_mode drop)",
        each(cut),
        cure="keep",
    ),
)

UNREADABLE = "The row cannot be read, which stops a run."
DROPPED = ("The row is counted and left out of training.", "mend the row, or let it go")
WARNED = (
    "The report of a run counts these rows too.",
    "use another chat template, or chat_template_kwargs; docs/data.md says more",
)
TOO_LONG = ("Within max_length there is nothing of it to train.", "raise max_length, or let the row go")


def cure_of(finding: Finding) -> Cure:
    """What `--fix` does with the rows of a finding."""
    known = {check.name: check.cure for check in CHECKS}
    return known.get(finding.check, "keep" if finding.severity == "warning" else "quarantine")
