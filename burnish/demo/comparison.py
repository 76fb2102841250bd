"""The demo itself: three stages, and what each of them changed on notes that no stage has seen.

    base -> SFT -> DPO        the chat model; measured after each step
             |
             +-> reward model   says which of two tickets is the better one

Every stage saves an ordinary Transformers folder, and every measurement loads it from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

from burnish.demo.answers import Score, answer, mean_reward, score_answers
from burnish.demo.task import Rows
from burnish.methods.dpo import DPOConfig, DPOTrainer
from burnish.methods.reward import RewardConfig, RewardTrainer
from burnish.methods.sft import SFTConfig, SFTTrainer
from burnish.models.precision import fast_bfloat16

BETA = 0.5
"""Of DPO. A margin of a few nats turns a ticket around, and what is asked for beyond that wears the format
down: with 0.1 the model is pushed to margins of 30."""

console = Console()


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
    sft_epochs: int = 1
    reward_epochs: int = 1
    dpo_epochs: int = 1


FULL = Sizes(
    lessons=256, preferences=256, held_out=96, batch=8, sft_rate=5e-5, reward_rate=3e-5, dpo_rate=1e-5
)
QUICK = Sizes(
    lessons=1536, preferences=256, held_out=32, batch=16, sft_rate=3e-3, reward_rate=3e-4, dpo_rate=2e-4
)


@dataclass(frozen=True)
class Measured:
    """One model on the held-out notes."""

    name: str
    score: Score
    eval_loss: float  # nats per trained token
    answers: list[str]
    reward: float = float("nan")  # mean score of its answers by the reward model


@dataclass(frozen=True)
class RewardModel:
    """Share of held-out pairs in which the chosen ticket gets the higher reward."""

    accuracy_before: float
    accuracy: float


@dataclass(frozen=True)
class Outcome:
    rows: Rows
    models: list[Measured]  # base, after SFT, after DPO
    reward_model: RewardModel
    seconds: float

    def save(self, file: Path) -> None:
        """All numbers and answers, as JSON."""
        content = {
            "models": [asdict(model) for model in self.models],
            "reward_model": asdict(self.reward_model),
            "held_out": self.rows.held_out,
            "seconds": self.seconds,
        }
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def run(base: Path, rows: Rows, sizes: Sizes, output: Path, seed: int) -> Outcome:
    """Train all stages into `output` and measure base, SFT and DPO."""
    start = time.monotonic()
    stages = Stages(rows, sizes, output, seed)
    measured = [measure("base", base, rows, seed)]
    sft = stages.sft(base)
    measured.append(measure("after SFT", sft, rows, seed))
    reward, reward_model = stages.reward(sft)
    dpo = stages.dpo(sft)
    measured.append(measure("after DPO", dpo, rows, seed))
    outcome = Outcome(rows, add_rewards(measured, reward, rows), reward_model, time.monotonic() - start)
    outcome.save(output / "demo.json")
    return outcome


@dataclass(frozen=True)
class Stages:
    """The three trainings. Each takes a model's folder and returns that of the result."""

    rows: Rows
    sizes: Sizes
    output: Path
    seed: int

    def sft(self, model: Path) -> Path:
        self._announce("1/3", "SFT", f"{self.sizes.lessons} plain notes with their tickets")
        trainer = SFTTrainer(
            model=str(model),
            args=SFTConfig(**self._options("sft", self.sizes.sft_rate, self.sizes.sft_epochs)),
            train_dataset=Dataset.from_list(self.rows.lessons),
        )
        return self._train(trainer, "sft")

    def reward(self, model: Path) -> tuple[Path, RewardModel]:
        self._announce(
            "2/3", "Reward model", f"{self.sizes.preferences} pairs of a better and a worse ticket"
        )
        trainer = RewardTrainer(
            model=str(model),
            args=RewardConfig(**self._options("reward", self.sizes.reward_rate, self.sizes.reward_epochs)),
            train_dataset=Dataset.from_list(self.rows.preferences),
            eval_dataset=Dataset.from_list(self.rows.held_out_preferences),
        )
        before = trainer.evaluate()["eval_accuracy"]
        folder = self._train(trainer, "reward")
        return folder, RewardModel(before, trainer.evaluate()["eval_accuracy"])

    def dpo(self, model: Path) -> Path:
        self._announce("3/3", "DPO", "the same pairs, to prefer the customer's last word")
        trainer = DPOTrainer(
            model=str(model),
            args=DPOConfig(beta=BETA, **self._options("dpo", self.sizes.dpo_rate, self.sizes.dpo_epochs)),
            train_dataset=Dataset.from_list(self.rows.preferences),
        )
        return self._train(trainer, "dpo")

    def _announce(self, number: str, name: str, what: str) -> None:
        set_seed(self.seed)  # a reward model's head is drawn before its trainer sets the seed
        console.rule(f"[bold]{number} {name}[/]: {what}")

    def _options(self, name: str, rate: float, epochs: int) -> dict[str, Any]:
        steps = -(-max(self.sizes.lessons, self.sizes.preferences) // self.sizes.batch)
        return {
            "output_dir": str(self.output / name),
            "per_device_train_batch_size": self.sizes.batch,
            "per_device_eval_batch_size": 4 * self.sizes.batch,
            "num_train_epochs": epochs,
            "learning_rate": rate,
            "logging_steps": max(1, steps // 8),
            "save_strategy": "no",
            "report_to": "none",
            "seed": self.seed,
        }

    def _train(self, trainer: Any, name: str) -> Path:
        trainer.train()
        folder = self.output / name
        trainer.save_model(str(folder))
        return folder


def measure(name: str, folder: Path, rows: Rows, seed: int) -> Measured:
    """Let the model in `folder` answer the held-out notes, and take its loss on the right tickets."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=fast_dtype()).eval()
    answers = answer(model, tokenizer, rows.held_out, f"{name}: answering")
    options: dict[str, Any] = {"per_device_eval_batch_size": 32, "report_to": "none", "seed": seed}
    trainer = SFTTrainer(
        model=str(folder),
        args=SFTConfig(output_dir=str(folder), **options),
        eval_dataset=Dataset.from_list(rows.held_out),
    )
    return Measured(name, score_answers(answers, rows.held_out), trainer.evaluate()["eval_loss"], answers)


def add_rewards(models: Sequence[Measured], folder: Path, rows: Rows) -> list[Measured]:
    """The reward model in `folder` scores the answers of each model."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    judge = AutoModelForSequenceClassification.from_pretrained(folder, dtype=fast_dtype()).eval()
    return [
        Measured(
            m.name,
            m.score,
            m.eval_loss,
            m.answers,
            mean_reward(judge, tokenizer, rows.held_out, m.answers, f"{m.name}: rewards"),
        )
        for m in models
    ]


def fast_dtype() -> torch.dtype:
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return torch.bfloat16 if fast_bfloat16(device) else torch.float32
