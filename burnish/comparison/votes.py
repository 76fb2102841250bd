"""Votes of a person: blind, in random order, kept at once, and a preference file at the end of each.

    votes.jsonl           prompt, chosen, rejected: rows that `burnish dpo` reads, anew after every vote
    votes.jsonl.log       every vote, ties and skips too, with what was shown: by it voting goes on later

A vote is found again by the prompt and the two texts, so that answers which changed are asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.comparison.answering import Progress
from burnish.comparison.result import Answered, Measure, by_verdicts
from burnish.data.example import Text
from burnish.errors import UserError

ONE, TWO, TIE, SKIP = "1", "2", "tie", "skip"
WORTH = {ONE: 1.0, TWO: 0.0, TIE: 0.5, SKIP: None}


@dataclass(frozen=True)
class Ballot:
    """Two answers to one prompt, in the order in which they are shown."""

    key: str
    row: int
    pair: int
    prompt: Text
    texts: tuple[str, str]  # as they are shown: 1 and 2
    models: tuple[int, int]


def ballots(answered: Answered) -> list[Ballot]:
    """Everything that can be voted on, shuffled by the seed; equal answers are left out."""
    found = []
    for row, asked in enumerate(answered.rows):
        for pair, models in enumerate(answered.pairs):
            texts = answered.answer(row, models[0]), answered.answer(row, models[1])
            if texts[0].strip() == texts[1].strip():
                continue
            key = _key(asked.prompt, texts)
            order = random.Random(f"{answered.seed} {key}").sample((0, 1), 2)
            shown, of = (texts[order[0]], texts[order[1]]), (models[order[0]], models[order[1]])
            found.append(Ballot(key, row, pair, asked.prompt, shown, of))
    random.Random(answered.seed).shuffle(found)
    return found


def _key(prompt: Text, texts: tuple[str, str]) -> str:
    """Of a prompt and two texts, in whatever order."""
    plain = prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
    told = json.dumps([plain, sorted(texts)], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


class Box:
    """The votes that were cast, on disk after each."""

    def __init__(self, path: str | Path) -> None:
        """Raises `UserError` where earlier votes cannot be read, or the file is none of votes."""
        self.path = Path(path)
        self.log = self.path.with_name(self.path.name + ".log")
        if self.path.exists() and not self.log.exists():
            raise UserError(
                "there is a file that no vote wrote, and it is not overwritten",
                where=str(self.path),
                fix="give another file to --vote",
            )
        self.entries: list[dict[str, Any]] = self._read()

    def _read(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        entries = []
        for number, line in enumerate(self.log.read_text("utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
                assert {"key", "vote", "row"} <= entry.keys()
            except (ValueError, AssertionError, AttributeError) as error:
                where = f"{self.log}:{number}"
                raise UserError("it is no vote", where=where, fix="remove the line") from error
            entries.append(entry)
        return entries

    def cast(self, ballot: Ballot, vote: str, names: Sequence[str]) -> None:
        """Keep a vote: `1`, `2`, `tie` or `skip`."""
        row = _preference(ballot, vote, names)
        self.entries.append({"key": ballot.key, "vote": vote, "texts": list(ballot.texts), "row": row})
        self._write()

    def undo(self) -> str | None:
        """Take the last vote back; the key of its ballot."""
        if not self.entries:
            return None
        entry = self.entries.pop()
        self._write()
        return entry["key"]

    def of(self, key: str) -> dict[str, Any] | None:
        """The last vote on a ballot."""
        return next((entry for entry in reversed(self.entries) if entry["key"] == key), None)

    def _write(self) -> None:
        rows = [entry["row"] for entry in self.entries if entry["row"] is not None]
        for path, lines in ((self.log, self.entries), (self.path, rows)):
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            partial = path.with_name(path.name + ".part")
            try:
                partial.parent.mkdir(parents=True, exist_ok=True)
                partial.write_text(text, encoding="utf-8")
                os.replace(partial, path)
            except OSError as error:
                raise UserError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _preference(ballot: Ballot, vote: str, names: Sequence[str]) -> dict[str, Any] | None:
    """The row to train on; None where nothing was preferred."""
    if vote not in (ONE, TWO):
        return None
    best = 0 if vote == ONE else 1
    prompt: Any = ballot.prompt
    chosen: Any = ballot.texts[best]
    rejected: Any = ballot.texts[1 - best]
    if not isinstance(prompt, str):
        prompt = [dict(message) for message in prompt]
        chosen, rejected = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    models = {"chosen_model": names[ballot.models[best]], "rejected_model": names[ballot.models[1 - best]]}
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **models}


@dataclass(frozen=True)
class Votes:
    """The votes in a file, as a measure. Equal answers are ties; a skipped pair counts for nobody."""

    path: str | Path
    name: str = "person"

    def check(self) -> None:
        Box(self.path)

    def __call__(self, answered: Answered, progress: Progress) -> Measure:
        return counted(answered, Box(self.path), self.name)


def counted(answered: Answered, box: Box, name: str = "person") -> Measure:
    """What the votes say of the models. Raises `UserError` where there is none yet."""
    verdicts: list[list[float | None]] = [[None] * len(answered.pairs) for _ in answered.rows]
    counts = {"voted": 0, "ties": 0, "skipped": 0, "equal answers": 0}
    open_ballots = {(ballot.row, ballot.pair): ballot for ballot in ballots(answered)}
    for row in range(len(answered.rows)):
        for pair, (later, _) in enumerate(answered.pairs):
            ballot = open_ballots.get((row, pair))
            if ballot is None:
                verdicts[row][pair] = 0.5
                counts["equal answers"] += 1
                continue
            entry = box.of(ballot.key)
            if entry is None:
                continue
            first_wins = WORTH[entry["vote"]]
            counts["skipped"] += first_wins is None
            counts["ties"] += first_wins == 0.5
            counts["voted"] += first_wins is not None
            if first_wins is not None:
                shown_first = entry["texts"][0] == answered.answer(row, later)
                verdicts[row][pair] = first_wins if shown_first else 1 - first_wins
    if not counts["voted"]:
        raise UserError("there is no vote on these answers yet", where=str(box.path), fix="vote: --vote FILE")
    return by_verdicts(answered, name, verdicts, counts=counts)
