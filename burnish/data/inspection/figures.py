"""The figures of an inspection: lengths, what is trained, what max_length keeps, shares."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from burnish.data.inspection.checks import has_value
from burnish.data.inspection.inspection import Fit, Inspection, Lengths
from burnish.data.inspection.lengths import lengths_of
from burnish.data.inspection.seen import PAIR, Seen, completion_names, plain
from burnish.data.inspection.stops import StopTokens
from burnish.data.reading.family import Recognition

TYPICAL = 200
"""Rows whose last tokens say what the stop token is called."""


class Figures:
    """Sums over rows. Lengths are tokens where there is a tokenizer, else characters."""

    def __init__(self, tokenizer: Any, max_length: int | None) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._stops = StopTokens(tokenizer) if tokenizer is not None else None
        self._lengths: dict[str, list[int]] = {"whole": [], "prompt": []}
        self._trained: list[int] = []
        self._last: Counter[int] = Counter()
        self._true: Counter[str] = Counter()
        self._of: Counter[str] = Counter()
        self._columns: Counter[str] = Counter()
        self._inspection = Inspection("", "", "", 0, 0)
        self._fit = Fit(max_length, 0, 0, 0)

    def add(self, seen: Seen) -> None:
        self._inspection.read += 1
        self._columns.update(name for name, value in seen.row.items() if has_value(value))
        if seen.fault is not None:
            return
        if self._tokenizer is not None:
            self._add_tokens(seen)
        elif seen.example is not None:
            self._add_characters(seen)
        self._inspection.kept += not seen.dropped
        self._add_labels(seen)

    def _add_characters(self, seen: Seen) -> None:
        assert seen.example is not None
        prompt = len(plain(seen.example.prompt))
        completions = [len(plain(completion)) for completion in seen.example.completions]
        self._add_lengths(completion_names(seen.example), prompt, completions)

    def _add_tokens(self, seen: Seen) -> None:
        for before in seen.tokenized:
            names = (
                PAIR if len(before.completions) == len(PAIR) else ("completion",) * len(before.completions)
            )
            names = completion_names(seen.example) if seen.example is not None else names
            self._add_lengths(names, len(before.prompt), [len(tokens) for tokens in before.completions])
        fit, found = self._fit, self._inspection
        fit.whole += bool(seen.kept) and not seen.cut
        fit.cut += seen.cut
        fit.dropped += bool(seen.tokenized) and not seen.kept
        if not seen.kept:
            return
        length, trained = (
            sum(example.length for example in seen.kept),
            sum(example.trained_tokens for example in seen.kept),
        )
        found.tokens += length
        found.trained_tokens += trained
        self._trained.append(trained)
        assert self._stops is not None
        found.stop_trained += all(not self._stops.instead(example) for example in seen.kept[-1:])
        if len(self._trained) <= TYPICAL:
            tokens = seen.kept[-1].completions[0] if seen.kept[-1].completions else []
            last = self._stops.last(tokens)
            self._last.update([] if last is None else [tokens[last]])

    def _add_lengths(self, names: tuple[str, ...], prompt: int, completions: list[int]) -> None:
        self._lengths["whole"].append(prompt + max(completions, default=0))
        self._lengths["prompt"].append(prompt)
        for name, length in zip(names, completions, strict=True):
            self._lengths.setdefault(name, []).append(length)
        if len(completions) == len(PAIR):
            self._of["chosen longer"] += 1
            self._true["chosen longer"] += completions[0] > completions[1]
            self._of["equally long"] += 1
            self._true["equally long"] += completions[0] == completions[1]

    def _add_labels(self, seen: Seen) -> None:
        if seen.example is None:
            return
        columns = seen.example.columns
        if "label" in columns:
            self._of["label true"] += 1
            self._true["label true"] += columns["label"] > 0
        for label in columns.get("labels", ()):
            self._of["steps right"] += 1
            self._true["steps right"] += label > 0

    def inspection(self, source: str, family: str, recognition: Recognition | None) -> Inspection:
        """The inspection, without findings."""
        unit: Literal["tokens", "characters"] = "characters" if self._tokenizer is None else "tokens"
        found = self._inspection
        found.source, found.family, found.format = source, family, str(recognition or "")
        lengths: dict[str, Lengths | None] = {
            name: lengths_of(values, unit) for name, values in self._lengths.items() if any(values)
        }
        if len([name for name in lengths if name != "whole"]) == 1:  # it is the whole
            lengths = {"whole": lengths["whole"]}
        found.lengths = {name: each for name, each in lengths.items() if each is not None}
        found.shares = {name: self._true[name] / count for name, count in self._of.items() if count}
        found.columns = {name: count / found.read for name, count in self._columns.items()}
        if self._tokenizer is not None:
            found.tokenizer = getattr(self._tokenizer, "name_or_path", "") or type(self._tokenizer).__name__
            found.fit = self._fit
            found.trained_per_row = lengths_of(self._trained, unit)
            found.stop_token = self._stop_token()
        return found

    def _stop_token(self) -> str:
        """The special token that most rows end with, or the tokenizer's."""
        assert self._stops is not None
        special = [token for token, _ in self._last.most_common() if self._stops.is_special(token)]
        return self._tokenizer.decode(special[:1]) if special else str(self._tokenizer.eos_token or "")
