"""The folder of the demo: rows in files and a pipeline over them, as a person would have them.

    chats.jsonl            plain notes with their tickets, for fine-tuning
    pairs.jsonl            a better and a worse ticket for notes in which the customer changes their mind
    held_out.jsonl         notes of both kinds, with the ticket that is expected
    held_out_pairs.jsonl   pairs of customers who appear nowhere in training
    pipeline.yaml          SFT -> reward model, SFT -> DPO, and the comparison of base, SFT and DPO

Everything after that is done by the verbs that anyone uses, so what is left can be changed and run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from burnish.demo.task import Rows, make_rows


@dataclass(frozen=True)
class Sizes:
    """How much is trained. Rates are peak learning rates of a linear schedule."""

    lessons: int
    preferences: int
    held_out: int
    batch: int
    sft_rate: float
    reward_rate: float
    dpo_rate: float
    max_length: int = 1024  # the model's own positions, at most


FULL = Sizes(
    lessons=224, preferences=160, held_out=64, batch=8, sft_rate=5e-5, reward_rate=3e-5, dpo_rate=9e-6
)
SLOW = Sizes(
    lessons=48, preferences=40, held_out=16, batch=8, sft_rate=1e-4, reward_rate=5e-5, dpo_rate=1.2e-5
)
"""For a machine that is slow at bfloat16: float32 takes two and a half times as long."""

QUICK = Sizes(
    lessons=1024,
    preferences=192,
    held_out=24,
    batch=16,
    sft_rate=3e-3,
    reward_rate=3e-4,
    dpo_rate=9e-6,
    max_length=512,
)
"""For a tiny random model, which has everything to learn."""

PIPELINE = Template("""\
# What `burnish demo` runs: customers' notes become tickets, one line of JSON. Change it and run it again:
# `burnish run $folder/pipeline.yaml` does anew what depends on the change, and skips the rest.

output_dir: $folder/runs

defaults:
  model: $model
  num_train_epochs: 1
  max_length: $max_length
  per_device_train_batch_size: $batch
  logging_steps: 2
  save_strategy: 'no'         # stages of a minute need no checkpoints
  seed: $seed

stages:
  - name: sft                 # the form of a ticket
    method: sft
    dataset: $folder/chats.jsonl
    eval_dataset_name: $folder/held_out.jsonl
    learning_rate: $sft_rate
    sample_prompts: $folder/held_out.jsonl#2
    sample_max_new_tokens: 40
    sample_steps: $sample_steps

  - name: reward              # which of two tickets is the better one
    method: reward
    model: sft
    dataset: $folder/pairs.jsonl
    eval_dataset_name: $folder/held_out_pairs.jsonl
    learning_rate: $reward_rate

  - name: dpo                 # the customer's last word counts
    method: dpo
    model: sft
    dataset: $folder/pairs.jsonl
    learning_rate: $dpo_rate
    beta: 0.5                 # a few nats turn a ticket around; with 0.1 the form wears down

compare:
  prompts: $folder/held_out.jsonl
  models: [base, sft, dpo]
  score: [burnish.demo.task:right, burnish.demo.task:fields]
  reward: reward
  max_new_tokens: 40
""")


@dataclass(frozen=True)
class DemoFolder:
    """A furnished folder."""

    path: Path
    model: str

    @property
    def pipeline(self) -> Path:
        return self.path / "pipeline.yaml"

    @property
    def pairs(self) -> Path:
        return self.path / "pairs.jsonl"


def rows_of(sizes: Sizes, seed: int) -> Rows:
    return make_rows(seed, sizes.lessons, sizes.preferences, sizes.held_out)


def furnish(folder: Path, model: str, sizes: Sizes, seed: int) -> DemoFolder:
    """Write rows and pipeline into `folder`; the same arguments write the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(sizes, seed)
    write_rows(folder / "chats.jsonl", rows.lessons)
    write_rows(folder / "pairs.jsonl", rows.preferences)
    write_rows(folder / "held_out.jsonl", rows.held_out)
    write_rows(folder / "held_out_pairs.jsonl", rows.held_out_preferences)
    sample_steps = max(1, sizes.lessons // sizes.batch // 2)
    values = {**vars(sizes), "sample_steps": sample_steps, "folder": folder, "model": model, "seed": seed}
    found = DemoFolder(folder, model)
    found.pipeline.write_text(PIPELINE.substitute(values), encoding="utf-8")
    return found


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """JSON lines, one after the other, so that rows may be more than fit into memory. Returns `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    return file
