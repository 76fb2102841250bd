"""Answers of a model to prompts: greedy or sampled, in batches, or one as it is written.

Batches are padded on the left, by hand, so nothing of the tokenizer changes; the longest prompts come first.
What the model's own `generation_config` says of sampling is left aside, so that two models are asked in one
way; of it only the tokens that end an answer are taken.

Sampling is greedy search under noise: `argmax(logits / temperature + g)` with `g` from a Gumbel distribution
draws from the softmax exactly. Every prompt has a generator of its own, seeded by the seed and its tokens, so
an answer depends neither on the other prompts nor on the batch, but for the rounding of a padded forward
(which can turn a near tie). Two models of one vocabulary meet the same noise, so they differ by no more luck
than they must. The global generators are not touched.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TopPLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer

from burnish.models.asking import CONTEXT, Prompt, Question, Sampling, questions
from burnish.models.forward import inner_model
from burnish.models.states import evaluating

Progress = Callable[[int, int], object]
"""Hears how many of all steps are done. A step is a token of every answer of a batch."""


@dataclass(frozen=True)
class Answer:
    text: str
    tokens: int  # without the one that ended it
    finished: bool  # it ended with a stop token, not where `max_new_tokens` or the model's positions end


def answers(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[str]:
    """The answer to each prompt, as text without special tokens. Prompts are texts or lists of messages.

    The model may be in training: it is back in its mode afterwards. Raises `UserError` where a prompt is
    empty, leaves no room for an answer, or is a chat and the tokenizer has no chat template.
    """
    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    found = generate(model, tokenizer, prompts, sampling, batch_size=batch_size, progress=progress)
    return [each.text for each in found]


def generate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[Answer]:
    """The same as `answers`, with how long each answer is and whether it finished."""
    asked = questions(model, tokenizer, prompts, sampling)
    order = sorted(range(len(asked)), key=lambda index: -len(asked[index].tokens))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    steps = sampling.max_new_tokens
    found: dict[int, Answer] = {}
    for number, batch in enumerate(batches):

        def step(done: int, before: int = number * steps) -> None:
            if progress is not None:
                progress(before + done, len(batches) * steps)

        chosen = [asked[index] for index in batch]
        found |= dict(zip(batch, run(model, tokenizer, chosen, sampling, step), strict=True))
        step(steps)  # a batch may end early
    return [found[index] for index in range(len(asked))]


def stream(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[str]:
    """The answer to one prompt in pieces of whole characters, as they are generated.

    Generation runs in a thread; closing the iterator, or an exception where it is read (Ctrl-C), stops it
    at the next token. What `with torch.autocast` says does not reach that thread. Raises as `answers` does.
    """
    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    (asked,) = questions(model, tokenizer, [prompt], sampling)
    pieces: queue.Queue[int | BaseException | None] = queue.Queue()
    stopped = threading.Event()

    def work() -> None:
        try:
            run(model, tokenizer, [asked], sampling, streamer=_Listener(pieces, stopped))
            pieces.put(None)
        except _Stopped:
            pass
        except BaseException as error:
            pieces.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield from _texts(tokenizer, asked, iter(pieces.get, None))
    finally:
        stopped.set()
        thread.join()


# One batch


def run(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Question],
    sampling: Sampling,
    step: Callable[[int], object] = bool,
    streamer: BaseStreamer | None = None,
) -> list[Answer]:
    """Answer questions together."""
    inner = _callable(model)
    device = next(model.parameters()).device
    width = max(len(each.tokens) for each in asked)
    stops = sorted(set().union(*(each.stops for each in asked)))
    pad = _padding(tokenizer, stops)
    ids = torch.tensor([[pad] * (width - len(each.tokens)) + each.tokens for each in asked], device=device)
    mask = torch.tensor([[0] * (width - len(q.tokens)) + [1] * len(q.tokens) for q in asked], device=device)
    config = GenerationConfig(
        max_new_tokens=max(each.limit for each in asked),
        do_sample=False,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=stops or None,
    )
    noise = [Noise(sampling, [each.seed for each in asked])] if sampling.temperature else []
    with evaluating(model), _neutral(inner_model(model)):
        found = inner.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList(noise),
            stopping_criteria=StoppingCriteriaList([Limits([e.limit for e in asked], width, step)]),
            streamer=streamer,
        )
    rows = found[:, width:].tolist()
    return [_answer(tokenizer, each, row) for each, row in zip(asked, rows, strict=True)]


def _callable(model: Any) -> Any:
    """The model inside compilation and distributed wrappers, but with its adapters."""
    while not hasattr(type(model), "generate"):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    return model


@contextmanager
def _neutral(inner: Any) -> Iterator[None]:
    """Without the model's own settings of generation, which fill what a config leaves open."""
    own, inner.generation_config = inner.generation_config, GenerationConfig()
    try:
        yield
    finally:
        inner.generation_config = own


def _padding(tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]) -> int:
    """Any token will do: it is masked before a prompt, and cut off after an answer."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(stops), 0)


def _answer(tokenizer: PreTrainedTokenizerBase, asked: Question, row: list[int]) -> Answer:
    row = row[: asked.limit]
    end = next((place for place, token in enumerate(row) if token in asked.stops), None)
    tokens = row[:end]
    return Answer(_continued(tokenizer, asked.context, tokens), len(tokens), end is not None)


class Noise(LogitsProcessor):
    """Logits whose largest one is a draw from the softmax: a generator for every row."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self.temperature = sampling.temperature
        self.top_p = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # [rows, V]
        scores = scores.float() / self.temperature
        if self.top_p is not None:
            scores = self.top_p(input_ids, scores)
        waiting = torch.stack(
            [torch.empty(scores.shape[-1]).exponential_(generator=each) for each in self.generators]
        )
        return scores - waiting.log().to(scores.device)


class Limits(StoppingCriteria):
    """Ends every answer at its own length, and says how far the batch is."""

    def __init__(self, limits: Sequence[int], width: int, step: Callable[[int], object]) -> None:
        self.limits, self.width, self.step = torch.tensor(limits), width, step

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        done = input_ids.shape[1] - self.width
        self.step(done)
        return (self.limits <= done).to(input_ids.device)


# Text


def _continued(tokenizer: PreTrainedTokenizerBase, context: list[int], tokens: list[int]) -> str:
    """Tokens as text, as they read after the context: some decoders drop a space at the beginning."""
    before = tokenizer.decode(context, skip_special_tokens=True)
    whole = tokenizer.decode([*context, *tokens], skip_special_tokens=True)
    if whole.startswith(before):
        return whole[len(before) :]
    return tokenizer.decode(tokens, skip_special_tokens=True)


def _texts(
    tokenizer: PreTrainedTokenizerBase, asked: Question, tokens: Iterator[int | BaseException]
) -> Iterator[str]:
    """Pieces of text from tokens. What may be half a character waits for the next token."""
    context, waiting = asked.context, list[int]()
    for token in tokens:
        if isinstance(token, BaseException):
            raise token
        if token in asked.stops:
            break
        waiting.append(token)
        text = _continued(tokenizer, context, waiting)
        if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text
            context, waiting = [*context, *waiting][-CONTEXT:], []
    if waiting and (text := _continued(tokenizer, context, waiting)):
        yield text


class _Stopped(Exception):
    """Nobody reads on."""


class _Listener(BaseStreamer):
    """Hands tokens to the thread that reads them."""

    def __init__(self, pieces: queue.Queue[Any], stopped: threading.Event) -> None:
        self.pieces, self.stopped, self.is_prompt = pieces, stopped, True

    def put(self, value: Tensor) -> None:
        if self.stopped.is_set():
            raise _Stopped
        if not self.is_prompt:
            for token in value.flatten().tolist():
                self.pieces.put(token)
        self.is_prompt = False

    def end(self) -> None:
        pass
