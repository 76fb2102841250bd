"""Do the methods learn? Each from the same model, on the same pairs, measured on held-out ones, over seeds.

    python -m benchmarks.learning --data TRAIN.jsonl TEST.jsonl [--model FOLDER] [--lora] [--seeds 3]
        [--methods reward dpo kto orpo simpo] [--rates 3e-4 1e-3] [--write docs/results.md]

The measure is a method's own, the share of held-out pairs whose chosen answer has the higher value; pairs
of equal values count half. The value is

    reward        the reward model's reward
    dpo, kto      the implicit reward, beta * (log policy - log reference): before training 0 but for rounding
    orpo, simpo   the log-probability per token

Of the training rows, a part is held out by prompt to choose the learning rate by, with seed 0: the rate with
the highest accuracy there, the lowest of equal ones. The test rows are looked at when that is settled. A
seed draws the order of rows, the head of a reward model, the adapter, and the completions of KTO's KL.

The standard error is that of the mean over seeds; the interval is Wilson's, of 95 %, of the mean accuracy
over as many pairs as there are, since all seeds are measured on the same ones. A model without a chat
template gets a plain one. `--write` puts the section of this model into the file, in place of an older one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import math
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from datasets import Dataset
from rich.console import Console

from benchmarks.data import machine
from burnish.data.reading.formats import PREFERENCE
from burnish.data.sources.holdout import hold_out
from burnish.data.sources.jsonl import rows_of
from burnish.data.sources.rows import Origins, Source
from burnish.evaluation.statistics import Estimate, share
from burnish.pipeline.methods import METHODS

TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""For a model that has no chat template."""


@dataclass(frozen=True)
class Recipe:
    """A method under its name here: the verb that trains it, its options, and what is compared."""

    verb: str
    compared: str
    options: dict[str, Any] = field(default_factory=dict)
    rows_of_a_pair: int = 1


RECIPES = {
    "reward": Recipe("reward", "reward"),
    "dpo": Recipe("dpo", "implicit reward", {"beta": 0.1}),
    "kto": Recipe("kto", "implicit reward", {"beta": 0.1}, rows_of_a_pair=2),
    "orpo": Recipe("orpo", "log-probability per token", {"beta": 0.1}),
    "simpo": Recipe(
        "cpo",
        "log-probability per token",
        {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 1.0},
    ),
}
"""Options are those that the papers begin with, the same for every model."""

RATES = (3e-4, 1e-3)

console = Console(highlight=False)


@dataclass(frozen=True)
class Setting:
    """What all runs share."""

    model: str
    lora: bool
    epochs: float
    steps: int  # at most; -1: what the epochs take
    batch: int


@dataclass(frozen=True)
class Rows:
    train: Dataset
    validation: Dataset  # a part of the file of training rows
    test: Dataset


@dataclass(frozen=True)
class Run:
    """One training: accuracy on the given pairs before and after it."""

    before: float
    after: float
    steps: int
    seconds: float  # of the training alone
    dtype: str


@dataclass(frozen=True)
class Learned:
    """A method with its learning rate, and a run for every seed."""

    method: str
    rate: float
    validation: dict[float, float]  # accuracy by learning rate; none where there was no choice
    runs: list[Run]
    pairs: int  # held out

    @property
    def accuracy(self) -> Estimate:
        """The mean over seeds with Wilson's interval over the held-out pairs."""
        return share(self.pairs * fmean(run.after for run in self.runs), self.pairs)

    @property
    def standard_error(self) -> float:
        """Of the mean over seeds; not a number for a single one."""
        after = [run.after for run in self.runs]
        return stdev(after) / math.sqrt(len(after)) if len(after) > 1 else math.nan


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    train_file, test_file = options.data
    rows = read_rows(train_file, test_file, options.validation, options.rows)
    setting = Setting(
        options.model or demo_model(), options.lora, options.epochs, options.steps, options.batch
    )
    command = shlex.join(["python", "-m", "benchmarks.learning", *(sys.argv[1:] if words is None else words)])
    learned: list[Learned] = []
    for method in options.methods:
        learned.append(learn(method, setting, rows, options.rates, options.seeds))
        text = section(learned, setting, rows, options, command)
        if options.write:  # after every method, so that what was measured is there if it ends early
            write_section(Path(options.write), text)
    console.print(text, markup=False, soft_wrap=True)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--data", nargs=2, required=True, metavar=("TRAIN", "TEST"), help="files of pairs")
    parser.add_argument("--model", help="a model folder; default: the demo's SmolLM2-135M-Instruct")
    parser.add_argument("--lora", action="store_true", help="train an adapter of rank 16, not all weights")
    parser.add_argument("--methods", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each method, from seed 0 on")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES), help="one: nothing is chosen")
    parser.add_argument("--rows", type=int, help="so many training rows at most, from the top")
    parser.add_argument("--validation", type=float, default=0.2, help="share of training rows to choose by")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--steps", type=int, default=-1, help="so many steps in place of the epochs")
    parser.add_argument("--batch", type=int, default=16, help="pairs of a step")
    parser.add_argument("--write", metavar="FILE", help="put the results into this Markdown file")
    options = parser.parse_args(words)
    if options.seeds < 1:
        parser.error("--seeds must be 1 or more")
    return options


def demo_model() -> str:
    from burnish.demo.model import default_model

    return str(default_model())


def read_rows(train: str, test: str, validation: float, most: int | None = None) -> Rows:
    """Pairs of two files, with a share of the first held out by prompt."""
    columns = ("prompt", "chosen", "rejected")
    first, second = (
        [{name: row[name] for name in columns} for row in rows_of(Path(f))] for f in (train, test)
    )
    source = Source(Dataset.from_list(first[:most]), Origins(train))
    rest, held_out = hold_out([source], validation, PREFERENCE)
    return Rows(rest[0].dataset, held_out[0].dataset, Dataset.from_list(second))


# Training and measuring


def learn(method: str, setting: Setting, rows: Rows, rates: Sequence[float], seeds: int) -> Learned:
    """Choose the learning rate on the validation rows, then train with every seed."""
    found = {}
    if len(rates) > 1:
        for rate in sorted(rates):
            found[rate] = train(method, setting, rows.train, rows.validation, rate, seed=0).after
            console.print(f"{method}, learning rate {rate:g}: {percent(found[rate])} of validation pairs")
    rate = max(found, key=lambda each: found[each]) if found else rates[0]
    runs = []
    for seed in range(seeds):
        runs.append(train(method, setting, rows.train, rows.test, rate, seed))
        console.print(f"{method}, seed {seed}: {percent(runs[-1].after)}, {runs[-1].seconds:.0f} s")
    return Learned(method, rate, found, runs, len(rows.test))


def train(method: str, setting: Setting, rows: Dataset, held_out: Dataset, rate: float, seed: int) -> Run:
    """One training from the setting's model."""
    with tempfile.TemporaryDirectory(prefix="burnish-learning-") as folder, quiet():
        trainer = trainer_of(method, setting, rows, held_out, rate, seed, folder)
        before = trainer.evaluate()["eval_held_out"]
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        after = trainer.evaluate()["eval_held_out"]
    dtype = str(trainer.compute_dtype or trainer.model.dtype).removeprefix("torch.")  # None: as it is stored
    return Run(before, after, trainer.state.global_step, seconds, dtype)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without plans, logs and progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def trainer_of(
    method: str, setting: Setting, rows: Dataset, held_out: Dataset, rate: float, seed: int, folder: str
) -> Any:
    from peft import LoraConfig
    from transformers import AutoTokenizer, set_seed

    recipe = RECIPES[method]
    verb = METHODS[recipe.verb]
    tokenizer = AutoTokenizer.from_pretrained(setting.model)
    tokenizer.chat_template = tokenizer.chat_template or TEMPLATE
    args = verb.config_class()(
        output_dir=folder,
        seed=seed,
        learning_rate=rate,
        per_device_train_batch_size=setting.batch * recipe.rows_of_a_pair,
        per_device_eval_batch_size=4 * setting.batch,
        num_train_epochs=setting.epochs,
        max_steps=setting.steps,
        warmup_steps=0.1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **recipe.options,
    )
    set_seed(seed)  # the head of a reward model and an adapter are drawn before the trainer sets the seed
    return verb.trainer_class()(
        model=setting.model,
        args=args,
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=tokenizer,
        compute_metrics=lambda found: {"held_out": accuracy(found.predictions, len(held_out))},
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear") if setting.lora else None,
    )


def accuracy(values: Any, pairs: int) -> float:
    """The share of pairs whose chosen answer has the higher value; equal ones count half.

    `values` are what `Engine.predictions` gives: float[P, 2], or float[2P] where a pair is two rows (KTO), of
    chosen and rejected.
    """
    values = np.asarray(values, np.float64).reshape(-1, 2)
    if len(values) != pairs:
        raise RuntimeError(f"{pairs - len(values)} of {pairs} held-out pairs could not be prepared")
    return float(np.mean((np.sign(values[:, 0] - values[:, 1]) + 1) / 2))


# Writing


def section(
    learned: Sequence[Learned], setting: Setting, rows: Rows, options: argparse.Namespace, command: str
) -> str:
    """The results of one model as a section of Markdown."""
    head = [
        "",
        "compared",
        "before",
        "after, mean ± standard error",
        "95 %",
        "by seed",
        "learning rate",
        "time",
    ]
    lines = [
        f"## {Path(setting.model).name}{', LoRA' if setting.lora else ''}",
        "",
        f"Accuracy on {len(rows.test)} held-out pairs of `{Path(options.data[1]).name}`.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *map(line_of, learned))),
        "",
        *(f"- {note}" for note in notes(learned, setting, rows, options)),
        "",
        "```bash",
        command,
        "```",
    ]
    return "\n".join(lines) + "\n"


def line_of(learned: Learned) -> list[str]:
    """The cells of a method."""
    found, error = learned.accuracy, learned.standard_error
    before = sorted({percent(run.before) for run in learned.runs})
    return [
        learned.method,
        RECIPES[learned.method].compared,
        " to ".join(dict.fromkeys([before[0], before[-1]])),
        percent(found.value) + ("" if math.isnan(error) else f" ± {100 * error:.1f}"),
        f"{percent(found.low)} to {percent(found.high)}",
        ", ".join(percent(run.after) for run in learned.runs),
        f"{learned.rate:g}",
        f"{fmean(run.seconds for run in learned.runs):.0f} s",
    ]


def notes(learned: Sequence[Learned], setting: Setting, rows: Rows, options: argparse.Namespace) -> list[str]:
    """What else is to be known of the runs."""
    runs = [run for each in learned for run in each.runs]
    steps = ", ".join(sorted({str(run.steps) for run in runs}))
    of_rates = [
        f"{each.method} "
        + ", ".join(f"{rate:g}: {percent(value)}" for rate, value in each.validation.items())
        for each in learned
        if each.validation
    ]
    of_options = [
        f"{each.method} " + ", ".join(f"{key}={value}" for key, value in RECIPES[each.method].options.items())
        for each in learned
        if RECIPES[each.method].options
    ]
    on = machine()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "burnish")]
    weights = "LoRA of rank 16" if setting.lora else "all weights"
    dtypes = " and ".join(sorted({run.dtype for run in runs}))
    return [
        f"Rows: {len(rows.train)} of `{Path(options.data[0]).name}` to train on, {len(rows.validation)} to "
        "choose the learning rate by; no prompt is in both.",
        f"Training: {steps} steps of {setting.batch} pairs, {weights}, {dtypes}, AdamW, a tenth of the steps "
        f"as warm-up, linear decay; seeds {', '.join(map(str, range(options.seeds)))}.",
        *([f"Options: {'; '.join(of_options)}."] if of_options else []),
        *([f"Accuracy on the validation rows by learning rate: {'; '.join(of_rates)}."] if of_rates else []),
        f"Machine: {on['cpu']}, {on['cores']} cores, Python {on['python']}, {', '.join(versions)}.",
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


TITLE = "# Results\n\nWhat was measured, each section by the command under it.\n"


def write_section(file: Path, text: str) -> None:
    """Put a section in place of the one with its heading, or at the end of the file."""
    old = file.read_text(encoding="utf-8") if file.exists() else TITLE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(with_section(old, text), encoding="utf-8")


def with_section(document: str, text: str) -> str:
    first, *others = document.split("\n## ")
    own = text.removeprefix("## ").rstrip("\n")
    heading = own.partition("\n")[0]
    found = [own if other.partition("\n")[0] == heading else other.rstrip("\n") for other in others]
    return "\n\n## ".join([first.rstrip("\n"), *found, *([] if own in found else [own])]) + "\n"


if __name__ == "__main__":
    main()
