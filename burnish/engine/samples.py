"""Answers to fixed prompts while a model is trained: `samples.jsonl`, and a line each on the screen.

    {"step": 20, "index": 0, "prompt": "2 plus 1 is", "answer": " 3."}

Answers are greedy, so what changes between two steps is the model. They take nothing from the generators of
random numbers: a run with samples has the losses of one without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from burnish.data.example import Example, Message, Text, TokenizedExample
from burnish.data.sources.rows import RowReader
from burnish.data.sources.source import load_rows
from burnish.engine.config import EngineConfig
from burnish.engine.logs import Lines
from burnish.engine.pace import Pace
from burnish.engine.rows import first_example, preparation_options
from burnish.engine.screen import Screen
from burnish.errors import UserError, shorten
from burnish.models.generate import answers

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

SAMPLES = "samples.jsonl"

MOST_PROMPTS = 64
"""More are no samples but an evaluation, and take longer than the training."""


class Samples(TrainerCallback):
    """Asks the prompts at the start, every `steps` (unset: at evaluations), and at the end."""

    def __init__(self, engine: Engine, prompts: list[Text], screen: Screen, pace: Pace) -> None:
        self.engine, self.prompts, self.screen, self.pace = engine, prompts, screen, pace
        self.steps, self.max_new_tokens = engine.args.sample_steps, engine.args.sample_max_new_tokens
        self.lines = Lines(Path(engine.args.output_dir) / SAMPLES)
        self._last = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.is_world_process_zero:
            kept = self.lines.begin(state.global_step)
            self._last = kept[-1]["step"] if kept else -1
        if state.global_step == 0:
            self._ask(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self.steps is None and args.eval_strategy != "no":
            return
        if state.global_step % (self.steps or max(1, state.max_steps // 10)) == 0:
            self._ask(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if self.engine.is_in_train and self.steps is None:
            self._ask(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._ask(state)

    def _ask(self, state: Any) -> None:
        if state.global_step == self._last or not state.is_world_process_zero:
            return
        self._last, args = state.global_step, self.engine.args
        devices = [args.device] if args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            said = answers(
                self.engine.model,
                self.engine.processing_class,
                self.prompts,
                max_new_tokens=self.max_new_tokens,
                progress=lambda done, total: self.screen.aside("answering", done, total),
            )
        self.screen.aside_done()
        for index, (prompt, answer) in enumerate(zip(self.prompts, said, strict=True)):
            self.lines.write({"step": self._last, "index": index, "prompt": prompt, "answer": answer})
        self.screen.samples(self._last, [(last_words(p), a) for p, a in zip(self.prompts, said, strict=True)])
        self.pace.resumed()


def last_words(prompt: Text) -> str:
    """What is asked at the end of a prompt."""
    if isinstance(prompt, str):
        return prompt
    content = prompt[-1].get("content") if prompt else ""
    return content if isinstance(content, str) else str(content)


def check_samples(args: EngineConfig) -> None:
    """Refuse options of samples that make no sense. Raises `UserError`."""
    if args.sample_prompts is None:
        if args.sample_steps is not None:
            raise UserError("there is nothing to ask", where="sample_steps", fix="give sample_prompts")
        return
    if args.fsdp or args.deepspeed:
        raise UserError(
            "a model that lies in parts on several devices is not asked while it is trained",
            where="sample_prompts",
            fix="leave it out, and look at the result with `burnish chat`",
        )
    for name in ("sample_steps", "sample_max_new_tokens"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"must be at least 1, found {value}", where=name, fix="give a positive number")


def sample_prompts(engine: Engine) -> list[Text]:
    """The prompts that `sample_prompts` names. Raises `UserError`."""
    given = engine.args.sample_prompts
    if given is None:
        return []
    if engine.task != "causal":
        raise UserError("a reward model gives scores, no answers", where="sample_prompts", fix="leave it out")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str) and file_in(given[0]):
        given = given[0]  # as a flag gives it
    items = _of_file(given) if isinstance(given, str) else list(given)
    if not 0 < len(items) <= MOST_PROMPTS:
        raise UserError(
            f"found {len(items):,} prompts, and 1 to {MOST_PROMPTS} are asked while training",
            where="sample_prompts",
            fix="choose a few that tell something",
        )
    options = preparation_options(engine.args, engine.preparation(engine.args))
    reader = RowReader(engine.reader(), options)
    found = [prompt_of(item, reader) for item in items]
    if any(isinstance(prompt, str) for prompt in found) and trains_chats(engine):
        found = [[{"role": "user", "content": p}] if isinstance(p, str) else p for p in found]
    return found


def prompts_of_rows(engine: Engine, most: int) -> list[Text]:
    """The prompts of the first rows of the evaluation, as they are trained. Raises `UserError`."""
    rows = engine.eval_dataset
    rows = next(iter(rows.values())) if isinstance(rows, dict) else rows
    examples = [TokenizedExample.from_row(rows[index]) for index in range(min(most, len(rows)))]
    if not all(example.prompt for example in examples):
        raise UserError(
            "these rows have no prompt: nothing tells a question from its answer",
            where="eval_dataset",
            fix="give prompts and completions, or prompts of their own in the config's sample_prompts",
        )
    tokenizer: Any = engine.processing_class
    return [tokenizer.decode(example.prompt) for example in examples]


def _of_file(name: str) -> list[Any]:
    """The lines of a text file, or the rows of a file with rows."""
    path = file_in(name)
    if path is None:
        raise UserError(
            f"there is no file {shorten(name)}",
            where="sample_prompts",
            fix="give a file (prompts.jsonl#3: three of its rows), or a list of prompts",
        )
    if path.suffix == ".txt" and path == Path(name).expanduser():
        return [text for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    return list(load_rows(name).dataset)


def file_in(name: str) -> Path | None:
    """The file that a name is, or `name#3` is rows of."""
    paths = [Path(each).expanduser() for each in (name, name.rpartition("#")[0]) if each]
    return next((path for path in paths if path.is_file()), None)


def prompt_of(item: Any, reader: RowReader) -> Text:
    """The prompt of an item: a text, messages, or a row without its answers. Raises `UserError`."""
    if isinstance(item, str):
        return item
    if isinstance(item, list):
        return unanswered(item)
    if not isinstance(item, Mapping):
        raise UserError(f"expected a text, messages or a row, found {shorten(item)}", where="sample_prompts")
    if item.get("prompt"):
        return prompt if isinstance(prompt := item["prompt"], str) else unanswered(prompt)
    if isinstance(item.get("messages"), list):
        return unanswered(item["messages"])
    try:
        example = reader(item)
    except UserError as error:
        raise error.at("sample_prompts") from None
    if isinstance(example, Example) and (text := example.prompt or example.completions[0]):
        return text if isinstance(text, str) else unanswered(text)
    raise UserError(f"no prompt in {shorten(item)}", where="sample_prompts", fix="give texts or messages")


def unanswered(messages: list[Message]) -> list[Message]:
    """Messages up to the last one that is not the assistant's."""
    kept: list[Message] = [dict(message) for message in messages]
    while kept and kept[-1].get("role") == "assistant":
        kept.pop()
    if not kept:
        raise UserError("messages of the assistant alone ask nothing", where="sample_prompts")
    return kept


def trains_chats(engine: Engine) -> bool:
    """Whether the rows are chats in the tokenizer's template, so that a text is to be asked as one."""
    tokenizer: Any = engine.processing_class
    if not getattr(tokenizer, "chat_template", None) or engine.train_dataset is None:
        return False
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "\0"}], tokenize=False)
    opening = rendered.split("\0")[0].strip().rsplit("\n", 1)[-1]  # such as <|im_start|>user
    row = first_example(engine.train_dataset)
    return bool(opening) and opening in tokenizer.decode([*row.prompt, *row.completions[0]])
