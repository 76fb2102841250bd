"""A pipeline for rows that were looked at: methods, sizes and rates, each with the reason in a comment.

Rules of thumb for a first run, from the rows alone; every one of them stands in the file, to be changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from burnish import units
from burnish.data.reading.formats import SCORED

STEPS_WANTED = 100
"""A run of fewer optimizer steps learns little, so batches are smaller and epochs more where rows are few."""

FEWEST_TO_HOLD_OUT = 20
MOST_TO_HOLD_OUT = 500
"""Rows to evaluate on: more make an evaluation slower, and its interval hardly narrower."""

SEED = 42

LARGE = 1_000_000_000
"""Parameters of a model from which on an adapter is trained: all weights with Adam take 16 bytes each."""


@dataclass(frozen=True)
class Facts:
    """What was found in one source. Lengths are those of a prompt with its longest completion."""

    path: str
    family: str
    format: str
    rows: int  # that can be trained
    prompts: int  # different ones
    longest: int
    most: int  # 99 % of the rows are no longer than this
    unit: str  # tokens or characters
    faults: int = 0  # rows that cannot be read
    fault: str = ""  # what is wrong with them
    columns: Mapping[str, str] = field(default_factory=dict)
    chats: bool = False  # messages, of which the assistant's turns are trained alone
    plain: bool = False  # plain text for a model with a chat template


@dataclass(frozen=True)
class Line:
    """A key with its value, and why it has it."""

    key: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Recipe:
    """How a method is trained for the first time. Rates are peak learning rates."""

    rate: float
    adapter_rate: float
    epochs: tuple[int, int, int]  # of fewer than 300 rows, fewer than 3,000, more
    overfits: str


RECIPES = {
    "sft": Recipe(2e-5, 2e-4, (5, 3, 2), "a second look at a chat still helps, a tenth makes it a quotation"),
    "reward": Recipe(1e-5, 1e-4, (3, 2, 1), "reward models overfit soon: watch eval_accuracy"),
    "dpo": Recipe(1e-6, 1e-5, (3, 2, 1), "margins grow for ever: more is seldom better"),
    "kto": Recipe(1e-6, 1e-5, (3, 2, 1), "rewards grow for ever: more is seldom better"),
    "tpo": Recipe(1e-6, 1e-5, (3, 2, 1), "margins grow for ever: more is seldom better"),
    "prm": Recipe(1e-5, 1e-4, (3, 2, 1), "watch the accuracy of steps that were held out"),
}

METHODS_OF = {
    "language": ("sft",),
    "preference": ("reward", "dpo"),
    "unpaired": ("kto",),
    "triple": ("tpo",),
    "stepwise": ("prm",),
    "ranked": ("reward",),
    SCORED.name: ("reward",),
}
"""Which methods a family of rows is for."""

READS = {
    "sft": "learns to write the answers as they are in the rows",
    "reward": "learns which of two answers is the better one; for measuring, and to choose among answers",
    "dpo": "moves the model towards the better answer of each pair",
    "kto": "moves the model towards answers that are labelled good, and away from the others",
    "tpo": "moves the model towards the better answer, and imitates the gold one",
    "prm": "learns which steps of a solution are right",
}

LOSSES = {
    "ranked": ("plackett_luce", "rows have several answers in an order"),
    SCORED.name: ("regression", "rows have a score for every answer"),
}


def draft(
    sources: Sequence[Facts], model: str, parameters: int | None, context: int | None, output: str, head: str
) -> str:
    """The text of a pipeline file. `context` is the longest input of the model, None if it is not known."""
    adapter = parameters is not None and parameters >= LARGE
    starts_from = "sft" if any(METHODS_OF[facts.family] == ("sft",) for facts in sources) else None
    stages = [
        (method, facts)
        for facts in sorted(sources, key=lambda facts: METHODS_OF[facts.family] != ("sft",))
        for method in METHODS_OF[facts.family]
    ]
    parts = [head, rendered(_top(output), "")]
    parts.append("defaults:\n" + rendered(_defaults(model, parameters, adapter), "  "))
    named = zip(stages, _names(stages), strict=True)
    made = [_stage(*stage, name, starts_from, adapter, context) for stage, name in named]
    parts.append("stages:\n" + "\n\n".join(made))
    return "\n\n".join(parts) + "\n"


def _names(stages: Sequence[tuple[str, Facts]]) -> list[str]:
    """A name for every stage: its method, with a number where there are several of it."""
    seen: dict[str, int] = {}
    names = []
    for method, _ in stages:
        seen[method] = seen.get(method, 0) + 1
        names.append(method if seen[method] == 1 else f"{method}{seen[method]}")
    return names


def _top(output: str) -> list[Line]:
    return [Line("output_dir", output, "a folder for each stage goes into it; results before are kept")]


def _defaults(model: str, parameters: int | None, adapter: bool) -> list[Line]:
    size = f"{parameters / 1e6:,.1f} million parameters; " if parameters else ""
    lines = [Line("model", model, f"{size}a folder or a hub id; stages below may name an earlier stage")]
    if adapter:
        why = f"all weights with Adam would take {units.size(16 * (parameters or 0))}; an adapter a few GB"
        lines.append(Line("use_peft", True, why))
    elif parameters:
        lines.append(Line("use_peft", False, "all weights are trained; true: a LoRA adapter, less memory"))
    lines += [
        Line("seed", SEED, "of new weights and of the order of rows: the same file gives the same model"),
        Line("save_total_limit", 1, "one checkpoint is kept, so that an interrupted run resumes"),
        Line("report_to", "none", "or trackio, wandb, tensorboard, mlflow"),
    ]
    return lines


def _stage(
    method: str, facts: Facts, name: str, starts_from: str | None, adapter: bool, context: int | None
) -> str:
    lines = [Line("name", name, "its folder, and what other stages call it")]
    lines.append(Line("method", method, READS[method]))
    if starts_from and method != "sft":
        lines.append(Line("model", starts_from, "what that stage saved: it writes such answers already"))
    lines.append(Line("dataset", facts.path, f"{facts.rows:,} rows: {facts.format}"))
    lines += [*_data(facts), *_lengths(facts, context), *_training(method, facts, adapter)]
    first, *rest = rendered(lines, "").splitlines()
    return "\n".join([f"  - {first}", *(f"    {line}" for line in rest)])


def _data(facts: Facts) -> Iterable[Line]:
    if facts.columns:
        said = ", ".join(f"{own} for {name}" for name, own in facts.columns.items())
        yield Line("columns", dict(facts.columns), f"your columns were taken by their names: {said}")
    if facts.plain:
        why = "texts become the turns of a chat, as the model is used; false: they stay plain text"
        yield Line("as_chats", True, why)
    if facts.faults:
        yield Line("on_bad_row", "skip", f"{facts.faults:,} rows cannot be read ({facts.fault})")
        yield Line("bad_row_budget", facts.faults, "so many may be skipped; burnish inspect --fix shows them")
    held = held_out(facts)
    if held is not None:
        why = "held out to evaluate on, by prompt; a share below 1, or a number of rows"
        yield Line("test_split_size", held, why)


def held_out(facts: Facts) -> float | None:
    if facts.rows < FEWEST_TO_HOLD_OUT or facts.prompts < 4:
        return None
    return 0.1 if facts.rows <= 10 * MOST_TO_HOLD_OUT else MOST_TO_HOLD_OUT


def _lengths(facts: Facts, context: int | None) -> Iterable[Line]:
    limit, why = max_length(facts, context)
    yield Line("max_length", limit, why)
    if facts.chats:
        yield Line("assistant_only_loss", True, "false: it learns to write the user's turns too")


def max_length(facts: Facts, context: int | None) -> tuple[int, str]:
    """The most tokens of a row, and why: what holds nearly all rows, within what the model can read."""
    if facts.unit == "characters":
        limit = max(64, 2 ** math.ceil(math.log2(max(1, facts.most / 3))))
        return limit, f"99 % of rows have at most {facts.most:,} characters; about 3 of them make a token"
    within = facts.longest if facts.longest <= 1.25 * facts.most else facts.most
    limit = max(64, 64 * math.ceil(within / 64))
    if context is not None and limit > context:
        return context, f"what the model can read; the longest row has {facts.longest:,} tokens, and is cut"
    if limit >= facts.longest:
        return limit, f"tokens; the longest row has {facts.longest:,}, none is cut"
    return limit, f"tokens; holds 99 % of the rows, the longest has {facts.longest:,} and is cut"


def _training(method: str, facts: Facts, adapter: bool) -> Iterable[Line]:
    recipe = RECIPES[method]
    if facts.family in LOSSES:
        yield Line("loss_type", *LOSSES[facts.family])
    epochs = epochs_for(method, facts.rows)
    batch = batch_for(facts.rows, epochs)
    trained = facts.rows - _rows_held_out(facts)
    steps = max(1, math.ceil(trained / batch) * epochs)
    yield Line("num_train_epochs", epochs, f"of {trained:,} rows; {recipe.overfits}")
    why = f"rows of a step: {steps:,} steps in all; memory does not depend on it"
    yield Line("per_device_train_batch_size", batch, why)
    rate = recipe.adapter_rate if adapter else recipe.rate
    other = "an adapter" if adapter else "all weights"
    yield Line("learning_rate", rate, f"usual for {other}; ten times more breaks most models")
    yield Line("warmup_steps", math.ceil(steps / 20), "the rate rises for so many steps, then falls to 0")
    if method in ("dpo", "kto"):
        yield Line("beta", 0.1, "how tightly the model is held to what it was: 0.05 is loose, 0.5 tight")
    yield Line("logging_steps", max(1, steps // 20), "about twenty points of the curves")
    yield Line("save_steps", max(1, math.ceil(steps / 4)), "a broken run loses a quarter at most")


def _rows_held_out(facts: Facts) -> int:
    held = held_out(facts) or 0
    return round(held * facts.rows) if held < 1 else int(held)


def epochs_for(method: str, rows: int) -> int:
    few, some, many = RECIPES[method].epochs
    return few if rows < 300 else some if rows < 3000 else many


def batch_for(rows: int, epochs: int) -> int:
    """A power of two from 4 to 32: the largest that leaves `STEPS_WANTED` steps."""
    batch = 32
    while batch > 4 and rows * epochs / batch < STEPS_WANTED:
        batch //= 2
    return batch


# YAML


def rendered(lines: Iterable[Line], indent: str) -> str:
    """`key: value`, with the comments in one column."""
    made = [(f"{line.key}: {scalar(line.value)}", line.why) for line in lines]
    width = min(44, max(len(text) for text, _ in made))
    return "\n".join(indent + (f"{text:<{width}}  # {why}" if why else text) for text, why in made)


def scalar(value: Any) -> str:
    """A value on one line, as YAML reads it back."""
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
