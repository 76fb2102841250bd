"""Trackers get what is logged: the real packages, in local folders."""

import importlib.util
import math

import pytest

from burnish import SFTConfig, SFTTrainer
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer

ROWS = [{"text": f"text number {n} of them"} for n in range(24)]


def trained(model, folder, tracker):
    options = {"max_steps": 4, "logging_steps": 1, "save_strategy": "no", "bf16": False, "disable_tqdm": True}
    trainer = SFTTrainer(
        str(model),
        SFTConfig(
            output_dir=str(folder),
            report_to=tracker,
            run_name="a run",
            eval_strategy="steps",
            eval_steps=2,
            **options,
        ),
        train_dataset=ROWS[:16],
        eval_dataset=ROWS[16:],
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    history = trainer.state.log_history
    return {entry["step"]: entry for entry in history if "loss" in entry}, {
        entry["step"]: entry for entry in history if "eval_loss" in entry
    }


def test_nothing_is_reported_unless_asked():
    assert SFTConfig().report_to == []


def test_tensorboard(tiny_model_dir, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train, evaluations = trained(tiny_model_dir, tmp_path, "tensorboard")
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    for tag, name, logged in (
        ("train/loss", "loss", train),
        ("train/grad_norm", "grad_norm", train),
        ("train/learning_rate", "learning_rate", train),
        ("eval/loss", "eval_loss", evaluations),
    ):
        written = {event.step: event.value for event in events.Scalars(tag)}
        assert written == pytest.approx({step: entry[name] for step, entry in logged.items()}, rel=1e-6)
        assert len(written) == (4 if logged is train else 2)


TRACKIO = """
import json, sys
import trackio, trackio.sqlite_storage as storage
from tests.engine.test_trackers import trained
train, evaluations = trained(sys.argv[1], sys.argv[2], "trackio")
logs = storage.SQLiteStorage.get_logs("huggingface", "a run")
print("RESULT" + json.dumps([list(train.values()), list(evaluations.values()), logs], default=str))
"""


def test_trackio(tiny_model_dir, tmp_path):
    """In a process of its own, which takes its folder from the environment and cannot reach a network."""
    pytest.importorskip("trackio")
    import json
    import os
    import subprocess
    import sys

    environment = os.environ | {
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
    }
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        environment.pop(name, None)
    code = [sys.executable, "-c", TRACKIO, str(tiny_model_dir), str(tmp_path / "out")]
    result = subprocess.run(code, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    train, evaluations, logs = json.loads(result.stdout.split("RESULT")[1])
    for tag, name, logged in (("train/loss", "loss", train), ("eval/loss", "eval_loss", evaluations)):
        written = [log[tag] for log in logs if tag in log]
        assert written == pytest.approx([entry[name] for entry in logged]) and all(
            map(math.isfinite, written)
        )
        assert len(written) == len(logged) > 1
    assert any((tmp_path / "trackio").rglob("*.db"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", "there is no tracker 'tensorbord'. Did you mean 'tensorboard'?"),
        ("wandb", "report_to: wandb needs a package that is not installed\n  fix: pip install wandb"),
        ("comet_ml", "pip install comet-ml"),
    ],
)
def test_what_cannot_report_is_refused_at_once(name, message, monkeypatch):
    monkeypatch.setattr("burnish.engine.trackers.find_spec", lambda module: None)
    with pytest.raises(UserError) as error:
        SFTConfig(report_to=[name])
    assert message in str(error.value)


def test_every_name_of_transformers_is_known():
    from transformers.integrations import integration_utils

    from burnish.engine.trackers import TRACKERS, WITHOUT_PACKAGE

    assert set(integration_utils.INTEGRATION_TO_CALLBACK) <= {*TRACKERS, *WITHOUT_PACKAGE}
    assert importlib.util.find_spec("tensorboard") or True
