"""A judge behind an OpenAI-compatible server: which of two answers is the better one.

Judges favour a place: of the same two answers many take the first. So every pair is asked twice, with the
places swapped, and a verdict counts only where both times the same answer wins; one that flips with the place
is a tie, and is counted. Replies that hold no verdict and requests that fail are counted too, and their
prompts left out.

The key comes from an environment variable that the person names; nothing else is sent but the request.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from burnish.comparison.answering import Progress
from burnish.comparison.prompts import as_text
from burnish.comparison.result import Answered, Measure, by_verdicts
from burnish.data.example import Text
from burnish.errors import UserError, shorten

KEY = "BURNISH_JUDGE_KEY"
SYSTEM = (
    "You compare two answers to the same request. Judge by how well each does what was asked: whether it is "
    "right, helpful, clear and harmless. A longer answer is not a better one for its length. The order in "
    "which the answers stand means nothing. Say in one or two sentences what decides it. Then end with one "
    "line of exactly this form: VERDICT: A, or VERDICT: B, or VERDICT: TIE."
)
REQUEST = "# Request\n\n{prompt}\n\n{reference}# Answer A\n\n{first}\n\n# Answer B\n\n{second}"
REFERENCE = "# An answer that is known to be good\n\n{reference}\n\n"
VERDICT = re.compile(r"VERDICT\W*(A|B|TIE)\b", re.IGNORECASE)
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Answers of a server after which a request is worth another try."""

FIRST, TIE, SECOND = 0.0, 0.5, 1.0
FLIPPED, MALFORMED, FAILED, ASKED = "flipped", "malformed", "failed", "asked"


@dataclass(frozen=True)
class Judge:
    url: str  # of the API, as http://localhost:8000/v1
    model: str | None
    key_variable: str = KEY
    show_reference: bool = True  # the judge sees the reference answer, where there is one
    timeout: float = 60.0  # seconds a request may take
    tries: int = 4
    at_once: int = 8  # requests under way
    pause: float = 1.0  # seconds before the second try; doubled for each that follows

    @property
    def name(self) -> str:
        return f"judge:{self.model}"

    def check(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError("it is no URL", where=f"--judge {self.url}", fix="write http://host:port/v1")
        if not self.model:
            raise UserError("the judge has no model", where="--judge", fix="name it: --judge_model NAME")

    def __call__(self, answered: Answered, progress: Progress) -> Measure:
        if len(answered.models) < 2:
            raise UserError(
                "a judge compares answers of two models", where="--judge", fix="give a second model"
            )
        jobs = [(row, pair) for row in range(len(answered.rows)) for pair in range(len(answered.pairs))]
        verdicts: list[list[float | None]] = [[None] * len(answered.pairs) for _ in answered.rows]
        counts: Counter[str] = Counter({ASKED: 0, FLIPPED: 0, MALFORMED: 0, FAILED: 0})
        faults: list[str] = []
        with self._client() as client, ThreadPoolExecutor(self.at_once) as pool:
            judged = pool.map(lambda job: self._pair(client, answered, *job), jobs)
            for done, ((row, pair), found) in enumerate(zip(jobs, judged, strict=True), start=1):
                verdicts[row][pair] = found.won
                counts.update(found.counts)
                faults += found.faults
                progress(self.name, done, len(jobs))
        if all(each is None for row in verdicts for each in row):
            raise UserError(
                f"no verdict came back: {faults[0] if faults else 'nothing was asked'}",
                where=f"--judge {self.url}",
                fix="check the URL, the model's name, and the key in the environment",
            )
        return by_verdicts(answered, self.name, verdicts, notes=_notes(counts, faults), counts=counts)

    def _client(self) -> httpx.Client:
        key = os.environ.get(self.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url.rstrip("/") + "/", headers=headers, timeout=self.timeout)

    def _pair(self, client: httpx.Client, answered: Answered, row: int, pair: int) -> _Judged:
        """Both orders of one pair. Equal answers are a tie without asking."""
        asked, (later, earlier) = answered.rows[row], answered.pairs[pair]
        one, other = answered.answer(row, later), answered.answer(row, earlier)
        if one == other:
            return _Judged(TIE)
        reference = asked.reference if self.show_reference else None
        faults: list[str] = []
        straight = self._ask(client, asked.prompt, one, other, reference, faults)
        swapped = self._ask(client, asked.prompt, other, one, reference, faults)
        counts = Counter({ASKED: 2, **Counter(fault.partition(":")[0] for fault in faults)})
        if straight is None or swapped is None:
            return _Judged(None, counts, faults)
        if straight != 1 - swapped:
            return _Judged(TIE, counts + Counter({FLIPPED: 1}), faults)
        return _Judged(1 - straight, counts, faults)

    def _ask(
        self, client: httpx.Client, prompt: Text, first: str, second: str, reference: Any, faults: list[str]
    ) -> float | None:
        """Which of the two is better: 0 the first, 1 the second, a half neither; None if not known."""
        known = REFERENCE.format(reference=as_text(reference)) if reference else ""
        request = REQUEST.format(prompt=_told(prompt), reference=known, first=first, second=second)
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": request}]
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": 512}
        try:
            content = self._posted(client, body)
        except _Failed as error:
            faults.append(f"{FAILED}: {error}")
            return None
        found = VERDICT.findall(content)
        if not found:
            faults.append(f"{MALFORMED}: {shorten(content)}")
            return None
        return {"A": FIRST, "B": SECOND, "TIE": TIE}[found[-1].upper()]

    def _posted(self, client: httpx.Client, body: dict[str, Any]) -> str:
        """The judge's text. A reply of another form counts as an empty one. Raises `_Failed`."""
        told = ""
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                reply = client.post("chat/completions", json=body)
            except httpx.HTTPError as error:
                told = f"{type(error).__name__}: {error}"
                continue
            if reply.is_success:
                return _content(reply)
            told = f"HTTP {reply.status_code}: {shorten(reply.text)}"
            if reply.status_code not in AGAIN:
                break
        raise _Failed(told)


@dataclass(frozen=True)
class _Judged:
    won: float | None  # 1: the later model's answer is better
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] | tuple[str, ...] = ()


class _Failed(Exception):
    """The server gave no answer."""


def _content(reply: httpx.Response) -> str:
    try:
        return str(reply.json()["choices"][0]["message"]["content"] or "")
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def _told(prompt: Text) -> str:
    """A chat with its roles; a single question, or a text, as it is."""
    if isinstance(prompt, str) or len(prompt) == 1:
        return as_text(prompt)
    return "\n\n".join(f"[{message['role']}]\n{message.get('content') or ''}" for message in prompt)


def _notes(counts: Counter[str], faults: list[str]) -> list[str]:
    notes = []
    if counts[FLIPPED]:
        notes.append(f"{counts[FLIPPED]:,} verdicts flipped with the place of the answers, and count as ties")
    for kind, told in ((MALFORMED, "replies held no verdict"), (FAILED, "requests failed")):
        if counts[kind]:
            example = next(fault.partition(": ")[2] for fault in faults if fault.startswith(kind))
            notes.append(f"{counts[kind]:,} {told}, and their prompts are left out: {example}")
    return notes
