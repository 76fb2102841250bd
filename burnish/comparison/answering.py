"""What a candidate says to prompts, and its loss on their reference answers; both kept on disk.

They are kept by what they depend on: the files of the model, the tokens it is asked with, the sampling, the
dtype and the kind of machine. A second comparison by another measure finds them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from burnish.comparison.candidate import Candidate
from burnish.comparison.prompts import Asked, without_template
from burnish.data.example import Example, TokenizedExample
from burnish.data.forest import Forest
from burnish.data.packing import micro_batches
from burnish.data.preparation.options import PreparationOptions
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from burnish.evaluation.reward_model import TOKENS, TOKENS_OF_ACCELERATORS, WINDOW
from burnish.models.asking import Sampling, prompt_tokens
from burnish.models.certify import certify
from burnish.models.generate import Answer, generate
from burnish.models.score import score
from burnish.models.states import evaluating
from burnish.paths import cache_folder

FORMAT = 1
"""Of what is kept; another one is not read."""

Progress = Callable[[str, int, int], object]
"""Hears what is done, how much of it, and of how much."""


@dataclass(frozen=True)
class Loss:
    """Of one reference answer."""

    nats: float  # -log p of the whole answer
    tokens: int


@dataclass(frozen=True)
class Said:
    """All that a candidate says of the prompts, in their order."""

    answers: list[Answer]
    losses: list[Loss | None]  # None where there is no reference answer, or it is too long
    from_cache: bool


@dataclass(frozen=True)
class Asking:
    """How candidates are asked."""

    sampling: Sampling = field(default_factory=Sampling)
    batch_size: int = 32
    dtype: str = "auto"
    use_cache: bool = True
    device: str | None = None


def ask(candidate: Candidate, rows: Sequence[Asked], how: Asking, progress: Progress) -> Said:
    """Answers and losses of one model; it is loaded only where they are not kept already."""
    asked = [_for(candidate, row.example) for row in rows]
    tokens = prompt_tokens(candidate.tokenizer, asked)
    targets = reference_tokens(candidate, rows)
    kept = Kept.of(candidate, how, tokens, targets) if how.use_cache and candidate.content else None
    found = kept.read() if kept is not None else None
    if found is not None:
        progress(f"{candidate.name}: answers of an earlier comparison", 1, 1)
        return found
    with candidate.loaded(how.dtype, how.device) as model:
        options = {"batch_size": how.batch_size, "progress": _titled(progress, f"{candidate.name}: answers")}
        answers = generate(model, candidate.tokenizer, asked, how.sampling, **options)  # type: ignore[arg-type]
        losses = reference_losses(model, targets, _titled(progress, f"{candidate.name}: eval loss"))
    said = Said(answers, losses, from_cache=False)
    if kept is not None:
        kept.write(said)
    return said


def _titled(progress: Progress, title: str) -> Callable[[int, int], object]:
    return lambda done, total: progress(title, done, total)


def _for(candidate: Candidate, example: Example) -> Example:
    """A prompt in the form that the model knows."""
    return example if candidate.knows(example) else without_template(example)


def room(candidates: Sequence[Candidate], rows: Sequence[Asked], new_tokens: int) -> list[bool]:
    """Whether every model has positions for the prompt and a whole answer."""
    fits = [True] * len(rows)
    for each in candidates:
        if each.positions is not None:
            asked = prompt_tokens(each.tokenizer, [_for(each, row.example) for row in rows])
            for place, tokens in enumerate(asked):
                fits[place] &= len(tokens) + new_tokens <= each.positions
    return fits


# Loss on reference answers


def reference_tokens(candidate: Candidate, rows: Sequence[Asked]) -> list[list[TokenizedExample] | None]:
    """Prompts with their reference answers as token ids; None where there is none, or it is too long."""
    examples = {place: row.answered for place, row in enumerate(rows)}
    known = {place: _for(candidate, example) for place, example in examples.items() if example is not None}
    made = tokenize(list(known.values()), candidate.tokenizer, PreparationOptions(max_length=None))
    found: list[list[TokenizedExample] | None] = [None] * len(rows)
    for place, parts in zip(known, made, strict=True):
        if isinstance(parts, UserError):
            raise parts.at(rows[place].origin)
        longest = max(part.length for part in parts)
        if candidate.positions is None or longest <= candidate.positions:
            found[place] = parts
    return found


@torch.no_grad()
def reference_losses(
    model: nn.Module,
    targets: Sequence[list[TokenizedExample] | None],
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Loss | None]:
    """`-log p` of each reference answer after its prompt, by the scoring that training uses."""
    parts = [part for each in targets for part in each or ()]
    if not parts:
        return [None] * len(targets)
    certify(model)
    device = next(model.parameters()).device
    budget = TOKENS.get(device.type, TOKENS_OF_ACCELERATORS)
    nats: dict[int, float] = {}
    with evaluating(model):
        for start in range(0, len(parts), WINDOW):
            for batch in micro_batches(parts[start : start + WINDOW], budget):
                forest = Forest.pack(batch).to(device)
                sums = forest.per_branch(score(model, forest).logprob.double())
                nats |= dict(zip(map(id, batch), (-sums).tolist(), strict=True))
                progress(len(nats), len(parts))
    return [_total(each, nats) for each in targets]


def _total(parts: list[TokenizedExample] | None, nats: dict[int, float]) -> Loss | None:
    tokens = sum(part.trained_tokens for part in parts or ())
    return Loss(sum(nats[id(part)] for part in parts or ()), tokens) if tokens else None


# Kept on disk


@dataclass(frozen=True)
class Kept:
    """Answers and losses of an earlier comparison."""

    file: Path

    @staticmethod
    def of(candidate: Candidate, how: Asking, tokens: list[list[int]], targets: Any) -> Kept:
        scored = [
            parts and [[part.prompt, part.completions, part.trained] for part in parts] for parts in targets
        ]
        machine = how.device or str(torch.accelerator.current_accelerator() or "cpu")
        versions = [version("torch"), version("transformers")]
        told = [FORMAT, candidate.content, asdict(how.sampling), how.dtype, machine, versions, tokens, scored]
        key = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return Kept(cache_folder("answers") / f"{key}.json")

    def read(self) -> Said | None:
        """None where there is nothing, or it cannot be read."""
        try:
            found = json.loads(self.file.read_text("utf-8"))
            losses = [each and Loss(**each) for each in found["losses"]]
            return Said([Answer(**each) for each in found["answers"]], losses, from_cache=True)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, said: Said) -> None:
        """All at once: another process may read at the same time."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        losses = [each and asdict(each) for each in said.losses]
        content = {"answers": [asdict(each) for each in said.answers], "losses": losses}
        with tempfile.NamedTemporaryFile("w", dir=self.file.parent, delete=False, encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False)
        os.replace(file.name, self.file)
