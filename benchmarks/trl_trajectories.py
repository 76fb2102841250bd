"""Twenty steps of each method in TRL and here, on the same rows in one order: how far losses part.

    python -m benchmarks.trl_trajectories [--steps 20]

A tiny model, all weights, float32, no dropout, AdamW. Shown for every loss: the largest difference of the
logged loss of a step, which must stay under 1e-4, and the mean of the differences with their signs, under
1e-6 (of the loss, above 1): what is left is rounding, and it has no direction. Exits with 1 where it is more.

KTO pairs prompts with completions of others anew in every step, TRL once and for all: here it is given TRL's
pairs, all else being its own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.table import Table

from benchmarks._rows import AS_TEXT, as_text
from benchmarks.vs_trl import OFFLINE, with_reward_head
from burnish.data.example import TokenizedExample

LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "SFT": ("SFT", {}),
    "sigmoid": ("DPO", {"loss_type": ["sigmoid"]}),
    "ipo": ("DPO", {"loss_type": ["ipo"]}),
    "robust": ("DPO", {"loss_type": ["robust"], "label_smoothing": 0.1}),
    "apo_zero": ("DPO", {"loss_type": ["apo_zero"]}),
    "aot": ("DPO", {"loss_type": ["aot"]}),
    "sigmoid + bco_pair + sft": (
        "DPO",
        {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    ),
    "LD-DPO": ("DPO", {"loss_type": ["sigmoid"], "ld_alpha": 0.5}),
    "WPO": ("DPO", {"loss_type": ["sigmoid"], "use_weighting": True}),
    "Jensen-Shannon": ("DPO", {"loss_type": ["sigmoid"], "f_divergence_type": "js_divergence"}),
    "apo_zero_unpaired": ("KTO", {"loss_type": "apo_zero_unpaired"}),
    "KTO, the KL's pairs as in TRL": ("KTO", {"undesirable_weight": 1.2}),
    "ORPO": ("ORPO", {}),
    "CPO": ("CPO", {}),
    "SimPO": ("CPO", {"loss_type": "simpo", "cpo_alpha": 0.5}),
    "AlphaPO": ("CPO", {"loss_type": "alphapo", "alpha": 0.25}),
    "TPO": ("TPO", {}),
    "Bradley-Terry, with a margin": ("Reward", {}),
    "Bradley-Terry, centered": ("Reward", {"center_rewards_coefficient": 0.01}),
}
"""Title: the method by the prefix of its classes, and its options."""

EXPERIMENTAL = ("ORPO", "CPO", "TPO")

BATCH = 8
LEARNING_RATE = 3e-4
"""Losses move by some percent; a larger one makes two roundings part faster, in either library."""

LARGEST, MEAN = 1e-4, 1e-6

console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trl_trajectories")
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    os.environ |= OFFLINE
    columns = ("", "first loss", "last loss", "largest difference", "mean difference")
    table = Table(*columns)
    good = True
    with tempfile.TemporaryDirectory(prefix="burnish-trajectories-") as name:
        rows = prepare(Path(name), steps)
        for title, (prefix, options) in LOSSES.items():
            ours, theirs = (
                losses(library, prefix, Path(name), rows_for(prefix, rows), steps, options)
                for library in ("burnish", "trl")
            )
            apart = [a - b for a, b in zip(ours, theirs, strict=True)]
            largest, mean = max(map(abs, apart)), sum(apart) / steps
            good &= largest < LARGEST and abs(mean) < MEAN * max(1.0, ours[0])
            table.add_row(title, f"{ours[0]:.4f}", f"{ours[-1]:.4f}", f"{largest:.1e}", f"{mean:+.1e}")
    console.print(table)
    sys.exit(not good)


def prepare(folder: Path, steps: int) -> list[dict[str, Any]]:
    """Save the tiny model in `folder`; the rows to train on."""
    from burnish.demo.task import make_rows
    from burnish.demo.tiny import tiny_model

    rows = make_rows(0, lessons=64, preferences=steps * BATCH, held_out=0)
    tiny_model(folder / "model", rows, seed=0)
    with_reward_head(folder / "model", folder / "reward_model")
    return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows.preferences]


def rows_for(prefix: str, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pairs as a method reads them."""
    if prefix == "KTO":
        sides = ("rejected", "chosen")
        return [
            {"prompt": pair["prompt"], "completion": pair[sides[n % 2]], "label": n % 2 == 1}
            for n, pair in enumerate(pairs)
        ]
    if prefix.lower() in AS_TEXT:
        return [{side: as_text(chat[-1:]) for side, chat in pair.items()} for pair in pairs]
    if prefix == "SFT":
        return [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs]
    if prefix == "Reward":
        return [pair | {"margin": n % 3 / 10} for n, pair in enumerate(pairs)]
    if prefix == "TPO":  # the gold completion is that of the next row: any will do
        return [pair | {"reference": pairs[n - 1]["chosen"]} for n, pair in enumerate(pairs)]
    return pairs


def rotated(examples: Sequence[TokenizedExample], *_: Any) -> list[TokenizedExample]:
    """Every prompt with the completion of the example before it, as TRL pairs them."""
    donors = [examples[-1], *examples[:-1]]
    return [
        replace(e, completions=d.completions, trained=d.trained)
        for e, d in zip(examples, donors, strict=True)
    ]


def losses(
    library: str,
    prefix: str,
    folder: Path,
    rows: list[dict[str, Any]],
    steps: int,
    options: dict[str, Any],
) -> list[float]:
    """The loss of every step of a training in `library` (burnish or trl)."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer

    experimental = library == "trl" and prefix in EXPERIMENTAL
    names = importlib.import_module(f"trl.experimental.{prefix.lower()}" if experimental else library)
    args = getattr(names, f"{prefix}Config")(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        bf16=False,
        use_cpu=not torch.accelerator.is_available(),
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        max_length=512,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
        **({} if prefix in ("SFT", "Reward") else {"beta": 0.3}),
        **options,
    )
    make = getattr(names, f"{prefix}Trainer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")  # TRL's older trainers do not load it
    if prefix in ("ORPO", "CPO"):
        tokenizer.bos_token = None  # or TRL puts one before every text, whatever the tokenizer does
    data = Dataset.from_list(rows)
    model = folder / ("reward_model" if prefix == "Reward" else "model")
    trainer = make(model=str(model), args=args, train_dataset=data, processing_class=tokenizer)
    with contextlib.redirect_stdout(io.StringIO()), mock.patch("burnish.methods.kto.mismatched", rotated):
        trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


if __name__ == "__main__":
    main()
