"""Sample answers over time: what a model said to the same prompts while it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.report.comparison import prompt_text
from burnish.report.curves import evenly
from burnish.report.folder import figure, word

SHOWN = 6  # answers of a prompt
PROMPTS = 8


@dataclass(frozen=True)
class Sampled:
    """An answer, with the steps at which it was given in a row."""

    when: str
    text: str


@dataclass(frozen=True)
class SampledPrompt:
    prompt: str
    answers: list[Sampled]
    left_out: int


def sampled_prompts(rows: Sequence[Mapping[str, Any]]) -> list[SampledPrompt]:
    """By prompt, in the order of their first answer; of a step that was sampled twice, the later answer."""
    found: dict[tuple[Any, str], dict[float, str]] = {}
    for row in rows:
        step, answer = figure(row.get("step")), row.get("answer")
        if step is not None and isinstance(answer, str):
            key = (word(row.get("index")) or figure(row.get("index")), prompt_text(row.get("prompt")))
            found.setdefault(key, {})[step] = answer
    return [over_time(prompt, answers) for (_, prompt), answers in list(found.items())[:PROMPTS]]


def over_time(prompt: str, answers: Mapping[float, str]) -> SampledPrompt:
    runs: list[tuple[float, float, str]] = []
    for step, text in sorted(answers.items()):
        if runs and runs[-1][2] == text:
            runs[-1] = (runs[-1][0], step, text)
        else:
            runs.append((step, step, text))
    kept = [runs[int(index)] for index in evenly(range(len(runs)), SHOWN)]
    return SampledPrompt(prompt, [Sampled(when(*run[:2]), run[2]) for run in kept], len(runs) - len(kept))


def when(first: float, last: float) -> str:
    return f"step {first:,.0f}" if first == last else f"steps {first:,.0f} to {last:,.0f}"
