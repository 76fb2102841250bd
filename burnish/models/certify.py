"""`certify`: how this very model runs a forest exactly, found out before the first step.

A small forest (one prompt with two completions, and one document more) is compared with separate
runs of its branches through the model's own forward: logits, and the gradient of a random
combination of log-probabilities. The first tier that agrees is taken. Nothing is assumed about the
model's family, and a model that fails every tier is refused rather than run wrong.

How much is agreement? Both sides round. Padding is the same computation in other shapes, by the
model's own attention, so its distance from the separate runs measures rounding on this model, in
its dtype, through its depth. A tier is exact if it is about as near as that. A wrong attention
pattern lies orders of magnitude further away.

Errors are norms: `|a - b| / |b|` over all logits (centred, since softmax ignores a constant), and
over the gradients of all probed parameters together. Not parameter by parameter: some have no
gradient but rounding (the router of a top-1 mixture), and their relative error means nothing. Probed
are the trainable parameters from the smallest on, up to `PROBED` numbers: the norms of every layer
feel any fault of an attention backward, and a large model needs no second copy of its gradient.

A model that is stored in 16 bits rounds too coarsely to tell some wrong patterns from right ones (slopes of
ALiBi, decays of a state). So its structure is checked first, on a few layers of its config in float32, and no
tier is taken that these refuse. A model that computes in another dtype than it is stored in is run in that
one too.

`conditions.py` makes the two comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.models.classification import classification_head
from burnish.models.conditions import coarsest_dtype, comparable, counted, probed
from burnish.models.distance import gradients, logit_error, relative
from burnish.models.forward import Hidden, attach, detach, inner_model
from burnish.models.head import language_head
from burnish.models.noise import attention_dropout
from burnish.models.precision import HALF
from burnish.models.tiers import TIERS, Tier, attention_layers, no_cache
from burnish.models.twin import float32_twin

PROMPT, COMPLETIONS, DOCUMENT = 9, (7, 5), 8
"""Tokens of the forest that is checked."""

ROUNDING = {torch.bfloat16: 2**-6, torch.float16: 2**-9, torch.float32: 2**-19, torch.float64: 2**-19}
"""Error that is always allowed: 2 units in the last place for 16-bit dtypes, whose sums are taken in
float32; 16 for float32, and for float64 too, since most models take norms and angles in float32."""

WORST = {torch.bfloat16: 2**-3, torch.float16: 2**-6, torch.float32: 2**-13, torch.float64: 2**-13}
"""What padding may be off and still count as rounding; beyond it padding is wrong, and no measure."""

MARGIN = 4.0
"""How many times the measured rounding a tier may be away."""


CANNOT_RUN = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
"""What a modeling file raises when it cannot run something."""


@dataclass(frozen=True)
class Certificate:
    """How the model runs a forest, and how exactly. Errors are relative (see the module docstring)."""

    tier: Tier
    reason: str
    forward_error: float
    gradient_error: float  # nan if nothing is trainable
    tried: dict[str, str]  # tier -> what it gave
    notes: tuple[str, ...] = ()
    fails_in: str = ""  # how a run in `computes_in` failed; empty if it did not

    def line(self) -> str:
        """One line to print."""
        return "; ".join([f"attention: {self.tier} ({self.reason})", *self.notes])


def certify(
    model: nn.Module,
    *,
    tiers: Sequence[Tier] | None = None,
    max_length: int | None = None,
    max_tokens: int | None = None,
    computes_in: torch.dtype | None = None,
) -> Certificate:
    """Find the first exact tier (of `tiers`, in order) and leave the model attached in it.

    `max_length` is the longest sequence that will be run and `max_tokens` the largest forest, both in
    tokens; None is no limit. `computes_in` is what training computes in (None: what is stored): whether the
    model runs in it stands in the certificate. Weights, gradients, training mode, random state and config
    stay as they
    are. Raises `UserError` if no tier is exact.
    """
    inner: Any = inner_model(model)
    _require_scorable(model, inner)
    notes = _notes(inner, max_length)
    limits = (max_length or math.inf, max_tokens or math.inf)
    check = _Check(inner, *limits, dtype=_float32_of_training(inner, computes_in))
    tried, told = ({}, ()) if check.dtype not in HALF else _refused_in_float32(inner, tiers or TIERS, limits)
    notes += told
    for tier in [tier for tier in tiers or TIERS if tier not in tried]:
        errors = check.errors(tier)
        tried[tier] = errors.text
        if errors.exact:
            known = computes_in is None or computes_in == check.cast_to
            fails = "" if known else check.fails_in(computes_in, tier)  # type: ignore[arg-type]
            if tier == "registered":
                notes += _without_attention_dropout(inner)
            attach(model, tier)
            reason = _reason(tier, errors, tried)
            return Certificate(tier, reason, errors.forward, errors.gradient, tried, notes, fails)
    detach(model)
    raise UserError(
        f"no way to run a batch gives what separate runs of a '{inner.config.model_type}' model give ("
        + "; ".join(f"{tier}: {text}" for tier, text in tried.items())
        + ")",
        where="model",
        fix=_way_out(model, inner),
    )


def _way_out(model: Any, inner: Any) -> str:
    """What to change where no tier is exact: an adapter that does not fit, or the model."""
    kinds = ", ".join(
        sorted(str(each.peft_type.value) for each in getattr(model, "peft_config", {}).values())
    )
    head = inner.get_output_embeddings()
    if kinds and hasattr(head, "get_base_layer"):
        return f"leave the output head out of the modules that the adapter ({kinds}) is put on"
    if kinds:
        return f"use LoRA in place of {kinds}, or train without an adapter"
    return "use another model; training this one would be wrong without a sign of it"


def _float32_of_training(inner: Any, computes_in: torch.dtype | None) -> torch.dtype | None:
    """Float32, where training computes in it on weights of 16 bits: then the check does so as well.

    Not on quantized weights, whose products have a dtype of their own.
    """
    stored_in_half = coarsest_dtype(inner) in HALF and not getattr(inner, "is_quantized", False)
    return computes_in if stored_in_half and computes_in == torch.float32 else None


def _refused_in_float32(
    inner: Any, tiers: Sequence[Tier], limits: tuple[float, float]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The tiers that the structure of a 16-bit model refuses, with what they gave; a note, if unknown."""
    try:
        check = _Check(float32_twin(inner), *limits)
    except (*CANNOT_RUN, UserError) as error:
        return {}, (f"checked in 16 bits only: no layers of it run in float32 ({_short(error)})",)
    refused: dict[str, str] = {}
    for tier in tiers:
        errors = check.errors(tier)
        if errors.exact:
            break
        refused[tier] = f"{errors.text} in float32"
    return refused, ()


@dataclass(frozen=True)
class _Errors:
    text: str
    exact: bool = False
    forward: float = math.nan
    gradient: float = math.nan


@dataclass(frozen=True)
class _Result:
    logits: Tensor  # float[N, V], or float[B, K] of a reward model
    gradients: list[Tensor | None]
    calls: int  # attention layers that were called


class _Check:
    """The separate runs of one small forest, and how far other ways of running it are from them."""

    def __init__(
        self,
        inner: Any,
        max_length: float = math.inf,
        max_tokens: float = math.inf,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.inner, self.max_length, self.max_tokens = inner, max_length, max_tokens
        self.parameters = probed(inner)
        self.cast_to = dtype  # None: as stored
        self.dtype = dtype or coarsest_dtype(inner)
        self.attempts = 3 if self.dtype in (torch.bfloat16, torch.float16) else 1
        self._take(seed=0)

    def _take(self, seed: int) -> None:
        self.seed = seed
        self.floor = [0.0, 0.0]  # of logits and gradient
        self.forest = check_forest(self.inner, seed)
        with self._comparable():
            try:
                self.truth = self._separately()
            except UserError:
                raise
            except CANNOT_RUN as error:
                raise UserError(
                    f"the model's own forward fails on a few tokens with {_short(error)}", where="model"
                ) from error
        floor = self._distance("padded")
        worst = WORST[self.dtype]
        self.floor = [e if e < worst else 0.0 for e in (floor.forward, floor.gradient)]

    def _comparable(self, dtype: torch.dtype | None = None) -> AbstractContextManager[None]:
        limits = (self.max_length, self.max_tokens)
        return comparable(self.inner, self.parameters, *limits, dtype or self.cast_to)

    def errors(self, tier: Tier) -> _Errors:
        """How far a tier is from separate runs.

        In 16 bits a router or a top-k selection may fall the other way by rounding alone, so an
        inexact tier gets other tokens. A wrong pattern is wrong on all of them.
        """
        for _ in range(self.attempts - 1):
            errors = self._distance(tier)
            if errors.exact:
                return errors
            self._take(self.seed + 1)
        return self._distance(tier)

    def _distance(self, tier: Tier) -> _Errors:
        try:
            with self._comparable():
                result = self._in_tier(tier)
        except CANNOT_RUN as error:
            return _Errors(f"failed with {_short(error)}")
        forward = logit_error(result.logits, self.truth.logits)
        gradient = relative(result.gradients, self.truth.gradients) if self.parameters else math.nan
        text = f"forward {forward:.0e}, gradient {gradient:.0e}"
        if tier == "registered":
            # Some layers attend twice. Fewer calls than layers: somewhere it was not our attention.
            text += f"; {min(result.calls, self.truth.calls)} of {self.truth.calls} layers"
            if result.calls < self.truth.calls or not result.calls:
                return _Errors(text, False, forward, gradient)
        limits = [MARGIN * max(floor, ROUNDING[self.dtype]) for floor in self.floor]
        exact = forward <= limits[0] and not gradient > limits[1]
        return _Errors(text, exact, forward, gradient)

    def fails_in(self, dtype: torch.dtype, tier: Tier) -> str:
        """How a forward and backward fail that compute in `dtype`; empty if they do not."""
        try:
            with self._comparable(dtype):
                result = self._in_tier(tier)
        except CANNOT_RUN as error:
            return _short(error)
        found = [result.logits, *(g for g in result.gradients if g is not None)]
        finite = all(bool(values.isfinite().all()) for values in found)
        return "" if finite else "numbers that are not finite"

    def _separately(self) -> _Result:
        """Each branch alone, by the model's own forward with the model's own attention."""
        forest = self.forest.unshared()
        documents = [forest.tokens[None, segment.start : segment.stop] for segment in forest.segments]
        with counted(attention_layers(self.inner)) as calls:
            rows = [self.inner(document, **no_cache(self.inner)).logits[0] for document in documents]
        if _is_reward_model(self.inner):
            last = [row if row.ndim == 1 else row[-1] for row in rows]  # of one label a token, the last one's
            return self._withgradients(torch.stack(last), len(calls) // len(rows))
        _require_causal(
            self.inner, rows, forest.segments[0].length - COMPLETIONS[0], min(0.1, 16 * WORST[self.dtype])
        )
        return self._withgradients(torch.cat(rows)[forest.parent[forest.target]], len(calls) // len(rows))

    def _in_tier(self, tier: Tier) -> _Result:
        attach(self.inner, tier)
        forest = self.forest.to(self.forest.tokens.device)  # a fresh count of attention calls
        try:
            logits = self.inner(forest=forest, read=_read)
            return self._withgradients(logits, forest.attention_calls)
        finally:
            detach(self.inner)

    def _withgradients(self, logits: Tensor, calls: int) -> _Result:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if not self.parameters:
            return _Result(logits.detach(), [], calls)
        weights = torch.randn(len(logits), generator=torch.Generator().manual_seed(0)).to(logits)
        chosen = logits if _is_reward_model(self.inner) else self._logprobs(logits)
        return _Result(logits.detach(), gradients((weights @ chosen).sum(), self.parameters), calls)

    def _logprobs(self, logits: Tensor) -> Tensor:  # float[N, V] -> float[N]
        tokens = self.forest.tokens[self.forest.target]
        return logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def check_forest(model: Any, seed: int = 0) -> Forest:
    """One prompt with two completions and a document of random ordinary tokens, on the model's device."""
    config = model.config.get_text_config()
    special = {i for c in (model.config, config) for i in _special_tokens(c)}
    ordinary = torch.tensor([i for i in range(min(config.vocab_size, 4096)) if i not in special])
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int) -> list[int]:
        return ordinary[torch.randint(len(ordinary), (length,), generator=generator)].tolist()

    # GPT-Neo builds its window into a buffer: not to be shrunk, but short enough to reach.
    prompt = draw(PROMPT + min(getattr(config, "window_size", None) or 0, 1024))
    completions = [draw(length) for length in COMPLETIONS]
    pair = TokenizedExample(prompt, completions, [[True] * len(c) for c in completions])
    document = TokenizedExample([], [draw(DOCUMENT)], [[True] * DOCUMENT])
    return Forest.pack([pair, document]).to(model.get_input_embeddings().weight.device)


def _special_tokens(config: Any) -> list[int]:
    values = [value for name, value in vars(config).items() if name.endswith(("token_id", "token_index"))]
    return [
        i for value in values for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)
    ]


def _read(model: nn.Module, hidden: Hidden) -> Tensor:
    """float[N, V] logits that predict the trained tokens, or float[B, K] rewards."""
    forest = hidden.forest
    if _is_reward_model(model):
        return classification_head(model)(hidden.states[forest.leaf])  # type: ignore[misc]
    return language_head(model).logits(hidden.states[forest.parent[forest.target]])


# What can be scored at all


def _is_reward_model(model: Any) -> bool:
    return model.get_output_embeddings() is None


def _require_scorable(model: Any, inner: Any) -> None:
    adapters = getattr(model, "peft_config", {}).values()
    if any(adapter.is_prompt_learning for adapter in adapters):
        raise UserError(
            "adapters that add virtual tokens (prompt or prefix tuning) cannot run on a forest",
            where="peft_config",
            fix="use LoRA",
        )
    if not _is_reward_model(inner):
        language_head(inner)  # says what it cannot read
    elif classification_head(inner) is None:
        raise UserError(
            f"{type(inner).__name__} has no language head and no reward head",
            where="model",
            fix="load it with AutoModelForCausalLM or AutoModelForSequenceClassification",
        )


def _require_causal(model: Any, rows: list[Tensor], prompt: int, limit: float) -> None:
    """Two completions of one prompt must give the prompt the same logits."""
    one, other = (row[:prompt].detach() for row in rows[:2])
    if logit_error(one, other) > limit:
        raise UserError(
            f"in this '{model.config.model_type}' model a token sees the tokens after it: it is no causal LM",
            where="model",
            fix="set is_decoder in its config, or use a causal language model",
        )


# What is said


def _short(error: Exception) -> str:
    return " ".join([f"{type(error).__name__}:", *str(error).split()])[:150]


def _reason(tier: Tier, errors: _Errors, tried: dict[str, str]) -> str:
    exact = f"forest equals separate runs: {errors.text}"
    failed = [f"{name} gave {text}" for name, text in tried.items() if name != tier]
    return "; ".join([exact, *failed])


def _notes(inner: Any, max_length: int | None) -> tuple[str, ...]:
    """What the config asks for and a forest does not do as the model's own training forward would."""
    config = inner.config.get_text_config()
    notes: list[str] = []
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in ("longrope", "dynamic"):
        limit = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        if max_length is None or max_length > limit:
            notes.append(
                f"beyond {limit} tokens {rope['rope_type']} positions follow the longest sequence of a batch"
            )
    return tuple(notes)


def _without_attention_dropout(inner: nn.Module) -> tuple[str, ...]:
    """Attention dropout is off while the model is attached: branches would share the mask of their prompt."""
    rates = [rate for _, _, rate in attention_dropout(inner)]
    return (f"attention dropout {max(rates):g} set to 0",) if rates else ()
