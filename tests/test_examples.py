"""The examples run as they stand, on a tiny model."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_plain_loop_learns(tiny_model_dir, pairs_file, capsys):
    spec = importlib.util.spec_from_file_location("plain_loop", EXAMPLES / "plain_loop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    losses = module.main(str(tiny_model_dir), str(pairs_file), steps=6, tokens=200)
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < losses[0]
    assert "attention: registered" in capsys.readouterr().out


def test_plain_loop_takes_the_steps_of_the_trainer(tiny_model_dir, pairs_file, tmp_path):
    """The engine adds nothing to the mathematics: the same rows give the same losses."""
    from datasets import load_dataset

    from burnish import DPOConfig, DPOTrainer

    spec = importlib.util.spec_from_file_location("plain_loop", EXAMPLES / "plain_loop.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plain = module.main(str(tiny_model_dir), str(pairs_file), steps=4)
    args = DPOConfig(
        output_dir=str(tmp_path),
        bf16=False,
        max_steps=4,
        logging_steps=1,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        weight_decay=0.01,
        train_sampling_strategy="sequential",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    rows = load_dataset("json", data_files=str(pairs_file), split="train")
    trainer = DPOTrainer(str(tiny_model_dir), args=args, train_dataset=rows)
    trainer.train()
    logged = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert logged == pytest.approx(plain, abs=2e-6)


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("sft", "chats_file"),
        ("tpo", "triples_file"),
        *((name, "pairs_file") for name in ("reward", "dpo", "kto", "bco", "orpo", "cpo")),
    ],
)
def test_basic_script(script, rows, tiny_model_dir, tmp_path, request):
    file = request.getfixturevalue(rows)
    command = [sys.executable, str(EXAMPLES / f"{script}_basic.py"), str(tiny_model_dir), str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs" / script).glob("*.safetensors"))


def test_distillation_script(tiny_model_dir, chats_file, tmp_path):
    models = [str(tiny_model_dir)] * 2
    command = [sys.executable, str(EXAMPLES / "gkd_basic.py"), *models, str(chats_file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs" / "gkd").glob("*.safetensors"))
