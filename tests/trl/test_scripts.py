"""Scripts in the shape of TRL's documentation run after changing nothing but the import."""

import math
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))

LOGS = {
    "sft": {"loss", "grad_norm", "learning_rate", "num_tokens"},
    "reward": {"loss", "accuracy", "margin", "min_reward", "mean_reward", "max_reward"},
    "dpo": {
        "loss",
        "rewards/chosen",
        "rewards/rejected",
        "rewards/accuracies",
        "rewards/margins",
        "logps/chosen",
    },
    "kto": {"loss", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/rejected"},
    "orpo": {"loss", "nll_loss", "log_odds_ratio", "log_odds_chosen", "rewards/margins"},
    "cpo": {"loss", "nll_loss", "rewards/accuracies", "logps/chosen"},
    "gkd": {"loss", "grad_norm"},
}
"""Metrics that TRL logs in training, of each method."""


def test_there_are_thirteen():
    assert len(SCRIPTS) == 13


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_written_for_trl(path, tiny_model_dir, tmp_path, monkeypatch):
    text = path.read_text(encoding="utf-8")
    script = tmp_path / path.name
    script.write_text(text.replace("from trl", "from burnish"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(script), str(tiny_model_dir), str(tmp_path / "out")])
    logged = runpy.run_path(str(script), run_name="__main__")["logged"]
    steps = [entry for entry in logged if "loss" in entry]
    assert steps and all(math.isfinite(entry["loss"]) for entry in steps)
    assert LOGS[path.stem.partition("_")[0]] <= set().union(*logged)
    if "save_model()" in text:
        assert list((tmp_path / "out").glob("*model.safetensors"))
