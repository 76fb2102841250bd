"""Twenty steps of DPO in TRL and here, on the same rows in the same order: how far the losses part.

    python -m benchmarks.trl_trajectories [--steps 20]

A tiny model, all weights, float32, no dropout, AdamW. Shown for every loss: the largest difference of the
logged loss of a step, which must stay under 1e-4, and the mean of the differences with their signs, under
1e-6: what is left is rounding, and it has no direction. Exits with 1 where it is more.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

LOSSES: dict[str, dict[str, Any]] = {
    "sigmoid": {"loss_type": ["sigmoid"]},
    "ipo": {"loss_type": ["ipo"]},
    "robust": {"loss_type": ["robust"], "label_smoothing": 0.1},
    "apo_zero": {"loss_type": ["apo_zero"]},
    "aot": {"loss_type": ["aot"]},
    "sigmoid + bco_pair + sft": {
        "loss_type": ["sigmoid", "bco_pair", "sft"],
        "loss_weights": [0.8, 0.2, 1.0],
    },
    "LD-DPO": {"loss_type": ["sigmoid"], "ld_alpha": 0.5},
    "WPO": {"loss_type": ["sigmoid"], "use_weighting": True},
    "Jensen-Shannon": {"loss_type": ["sigmoid"], "f_divergence_type": "js_divergence"},
}
BATCH = 8
LEARNING_RATE = 3e-4
"""Losses move by some percent; a larger one makes two roundings part faster, in either library."""

LARGEST, MEAN = 1e-4, 1e-6

console = Console(highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trl_trajectories")
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    columns = ("", "first loss", "last loss", "largest difference", "mean difference")
    table = Table(*columns)
    good = True
    with tempfile.TemporaryDirectory(prefix="burnish-trajectories-") as name:
        rows = prepare(Path(name), steps)
        for title, options in LOSSES.items():
            ours, theirs = (
                losses(library, Path(name), rows, steps, options) for library in ("burnish", "trl")
            )
            apart = [a - b for a, b in zip(ours, theirs, strict=True)]
            largest, mean = max(map(abs, apart)), sum(apart) / steps
            good &= largest < LARGEST and abs(mean) < MEAN
            table.add_row(title, f"{ours[0]:.4f}", f"{ours[-1]:.4f}", f"{largest:.1e}", f"{mean:+.1e}")
    console.print(table)
    sys.exit(not good)


def prepare(folder: Path, steps: int) -> list[dict[str, Any]]:
    """Save the tiny model in `folder`; the rows to train on."""
    from burnish.demo.task import make_rows
    from burnish.demo.tiny import tiny_model

    rows = make_rows(0, lessons=64, preferences=steps * BATCH, held_out=0)
    tiny_model(folder / "model", rows, seed=0)
    return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows.preferences]


def losses(
    library: str, folder: Path, rows: list[dict[str, Any]], steps: int, options: dict[str, Any]
) -> list[float]:
    """The loss of every step of a training in `library` (burnish or trl)."""
    import torch
    from datasets import Dataset

    names = importlib.import_module(library)
    args = names.DPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        beta=0.3,
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
        **options,
    )
    trainer = names.DPOTrainer(model=str(folder / "model"), args=args, train_dataset=Dataset.from_list(rows))
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


if __name__ == "__main__":
    main()
