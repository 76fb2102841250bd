"""An artefact is loaded again and compared with the model that was trained, before it is called done.

    trained    base with its adapters, in float32
    merged     the adapters added to the weights, in float32      must say what `trained` says
    rounded    the same in the artefact's dtype                   how far this is from `trained` is the price
    artefact   read from disk                                     must be `rounded`, bit for bit

All of them compute in float32, so that only the weights can differ. One is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from burnish.errors import UserError
from burnish.export.merge import settle_generation
from burnish.export.probe import Reading, read, weight_hashes
from burnish.export.stack import Stack
from burnish.models.forward import inner_model
from burnish.models.load import load_model, load_tokenizer
from burnish.models.merged import cast, merged

REPORT = "verify.json"
LIMIT = 1e-3
"""How far log-probabilities (nats) or scores of two float32 models may differ that should be the same."""


@dataclass(frozen=True)
class Check:
    """One comparison. `what` says what was found, in a sentence. `ok` is None for what is only reported."""

    name: str
    ok: bool | None
    what: str


@dataclass(frozen=True)
class Difference:
    """How far one reading is from another. `largest` is of log-probabilities in nats, or of scores.

    `kl` is the mean over tokens of KL(first || second), `kl_largest` its largest; None where there is no
    distribution.
    """

    largest: float
    kl: float | None = None
    kl_largest: float | None = None
    tokens: int = 0


@dataclass
class Verification:
    """What came of comparing an artefact with what was trained."""

    trained: str
    artefact: str
    dtype: str
    compared_by: str
    checks: list[Check] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)
    answers: list[dict[str, str]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.ok is not False for check in self.checks)

    def add(self, name: str, ok: bool | None, what: str) -> None:
        self.checks.append(Check(name, ok, what))

    def to_dict(self) -> dict[str, Any]:
        return {"format": 1, "passed": self.passed, **asdict(self)}

    def write(self, folder: Path) -> Path:
        """Write `verify.json` beside the artefact."""
        path = folder / REPORT
        path.write_text(json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return path


def difference(first: Reading, second: Reading, *, causal: bool) -> Difference:
    """Of two readings of the same probes."""
    largest, divergences = 0.0, []
    for a, b in zip(first.outputs, second.outputs, strict=True):
        if a.shape != b.shape:
            return Difference(float("inf"))
        largest = max(largest, _largest(a - b))
        if causal:  # in float64: these are sums of differences near zero
            exact, other = a.double().log_softmax(-1), b.double().log_softmax(-1)
            divergences.append((exact.exp() * (exact - other)).nan_to_num(0.0).sum(-1))
    if not causal:
        return Difference(largest, tokens=sum(map(len, first.ids)))
    kl = torch.cat(divergences)
    return Difference(largest, float(kl.mean()), float(kl.max()), len(kl))


def verify(stack: Stack, artefact: Path) -> Verification:
    """Compare a folder of safetensors with the model it was made of. Nothing is changed or removed."""
    causal, tokenizer = stack.task == "causal", stack.tokenizer()
    found = _load_artefact(stack, artefact)
    if isinstance(found, UserError):
        outcome = Verification(stack.folder, str(artefact), "", "not at all")
        outcome.add("loads", False, str(found))
        return outcome
    model, its_tokenizer = found
    dtype, hashes, rows = model.dtype, weight_hashes(model), _rows(model)
    generation = getattr(model, "generation_config", None)
    reading = read(cast(model, torch.float32), its_tokenizer, stack.task)
    del model, found
    name = str(dtype).removeprefix("torch.")
    outcome = Verification(stack.folder, str(artefact), name, f"{'logits' if causal else 'scores'}, float32")

    whole = stack.load()
    settle_generation(inner_model(whole), tokenizer)
    trained = read(whole, tokenizer, stack.task)
    whole = merged(whole)
    exact = read(whole, tokenizer, stack.task) if stack.adapters else trained
    if stack.base_in_words:
        outcome.add("base", None, stack.base_in_words)
    _compare_tokenizers(outcome, (tokenizer, trained), (its_tokenizer, reading))
    _compare_rows(outcome, _rows(whole), rows, len(its_tokenizer))
    if stack.adapters:
        _within(
            outcome, "merging", difference(trained, exact, causal=causal), "base with adapter, and merged"
        )
    cast(whole, dtype)
    _compare_weights(outcome, weight_hashes(whole), hashes, name)
    rounded = read(cast(whole, torch.float32), tokenizer, stack.task)
    if reading.ids == trained.ids:
        _within(
            outcome, "reading back", difference(rounded, reading, causal=causal), "saved, and loaded again"
        )
        _in_all(outcome, difference(trained, reading, causal=causal), name)
    if causal:
        _compare_answers(outcome, trained, rounded, reading)
        check_generation(outcome, generation, its_tokenizer)
    return outcome


def _load_artefact(
    stack: Stack, artefact: Path
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase] | UserError:
    """The artefact in the dtype it is stored in, or what is wrong with it."""
    try:
        model = load_model(str(artefact), stack.task, trained=False)
        return model.eval(), load_tokenizer(str(artefact))
    except UserError as error:
        return error
    except Exception as error:  # a damaged file may raise anything
        return UserError(f"it cannot be loaded ({type(error).__name__}: {error})", where=str(artefact))


def _rows(model: PreTrainedModel) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _compare_tokenizers(
    outcome: Verification,
    trained: tuple[PreTrainedTokenizerBase, Reading],
    artefact: tuple[PreTrainedTokenizerBase, Reading],
) -> None:
    (tokenizer, expected), (its_tokenizer, found) = trained, artefact
    same = tokenizer.get_vocab() == its_tokenizer.get_vocab() and expected.ids == found.ids
    what = "the probes are the same tokens" if same else "the tokenizer splits the probes into other tokens"
    outcome.add("tokenizer", same, f"{len(its_tokenizer):,} tokens; {what}")
    if expected.rendered or found.rendered:
        compare_rendered(outcome, expected.rendered, found.rendered)
    else:
        outcome.add("chat template", None, "there is none")


def compare_rendered(
    outcome: Verification, expected: Sequence[str | None], found: Sequence[str | None]
) -> None:
    """Chats by the template of the trained model, and by that of the artefact."""
    for a, b in zip(expected, found, strict=False):
        if a != b:
            outcome.add("chat template", False, f"a chat renders as {b!r}, and was trained as {a!r}")
            return
    same = len(expected) == len(found)
    outcome.add("chat template", same, f"{len(found)} chats render the same" if same else "it is missing")


def _compare_rows(outcome: Verification, expected: int, found: int, tokens: int) -> None:
    ok = expected == found and tokens <= found
    outcome.add("vocabulary", ok, f"{found:,} rows for {tokens:,} tokens; the trained model has {expected:,}")


def _compare_weights(
    outcome: Verification, expected: dict[str, str], found: dict[str, str], dtype: str
) -> None:
    others = [name for name in expected if found.get(name) != expected[name]]
    more = [name for name in found if name not in expected]
    if others or more:
        first = (others or more)[0]
        what = f"{len(others) + len(more)} of {len(expected)} tensors differ, the first is {first}"
        outcome.add("weights", False, what)
    else:
        outcome.add("weights", True, f"{len(found)} tensors, bit for bit what was trained, in {dtype}")


def _within(outcome: Verification, name: str, found: Difference, what: str) -> None:
    outcome.differences[name] = found
    outcome.add(name, found.largest <= LIMIT, f"{what}: {in_words(found)}")


def _in_all(outcome: Verification, found: Difference, dtype: str) -> None:
    outcome.differences["in all"] = found
    outcome.add("in all", None, f"what was trained, and the artefact in {dtype}: {in_words(found)}")


def in_words(found: Difference) -> str:
    if found.kl is None or found.kl_largest is None:
        return f"largest difference of a score {found.largest:.2g}"
    return (
        f"largest difference of a log-probability {found.largest:.2g}, "
        f"KL {found.kl:.2g} a token (largest {found.kl_largest:.2g})"
    )


def _compare_answers(outcome: Verification, trained: Reading, rounded: Reading, artefact: Reading) -> None:
    outcome.answers = [
        {"trained": a, "artefact": b} for a, b in zip(trained.answers, artefact.answers, strict=False)
    ]
    same = rounded.answers == artefact.answers
    kept = sum(pair["trained"] == pair["artefact"] for pair in outcome.answers)
    of = f"{kept} of {len(outcome.answers)} greedy answers are those of the trained model"
    outcome.add("greedy text", same, of if same else f"{of}; rounding alone does not explain it")
    if any(text.strip() for text in artefact.answers):
        outcome.add("it speaks", True, f"{artefact.answers[-1]!r}")
    else:
        silent = not any(text.strip() for text in trained.answers)
        what = "every greedy answer is empty"
        outcome.add("it speaks", None if silent else False, what + (", as of the trained model" * silent))


def check_generation(
    outcome: Verification, config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Whether generation can end, and pads with something that exists."""
    ends = getattr(config, "eos_token_id", None)
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    pad, own = getattr(config, "pad_token_id", None), tokenizer.eos_token_id
    named = ", ".join(str(tokenizer.convert_ids_to_tokens(token)) for token in ends) or "nothing"
    if not ends or (own is not None and own not in ends):
        outcome.add("generation ends", False, f"it ends at {named}, and not at {tokenizer.eos_token}")
        return
    what = f"at {named}"
    if pad is None:
        what += "; no padding token is named"
    elif pad in ends and pad != own:
        what += f"; the padding token {tokenizer.convert_ids_to_tokens(pad)} is among them"
    outcome.add("generation ends", True, what)


def _largest(difference: torch.Tensor) -> float:
    """Of absolute values; infinity where one side is infinite or not a number alone."""
    return float(difference.abs().nan_to_num(float("inf")).max()) if difference.numel() else 0.0
