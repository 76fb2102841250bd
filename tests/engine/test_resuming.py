"""Going on from a checkpoint: the one that was asked for, whole, and of this very run."""

from __future__ import annotations

import shutil

import pytest
import torch

from burnish import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, UserError
from burnish.engine.checkpoints import asked_for
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, llama, pairs

QUIET = {
    "report_to": "none",
    "disable_tqdm": True,
    "bf16": False,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 2,
    "max_steps": 2,
    "save_steps": 1,
    "logging_steps": 1,
}


def dpo(folder, model=None, seed=0, **options):
    args = DPOConfig(output_dir=str(folder), **{**QUIET, **options})
    model = model or llama(dtype=torch.float32)
    return DPOTrainer(model, args=args, train_dataset=pairs(4, seed), processing_class=tiny_tokenizer())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run of DPO with checkpoints 1 and 2."""
    folder = tmp_path_factory.mktemp("run")
    dpo(folder).train()
    return folder


@pytest.fixture
def folder(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_what_is_asked_for(folder, tmp_path):
    (folder / "checkpoint-2" / "optimizer.pt").unlink()
    for yes in (True, "true", "True"):
        assert asked_for(yes, folder) == folder / "checkpoint-1"
    for no in (None, False, "false", "False"):
        assert asked_for(no, folder) is None
    assert asked_for(str(folder / "checkpoint-1"), tmp_path) == folder / "checkpoint-1"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            True,
            r"(?s)has no checkpoint to go on from \(checkpoint-2 has no optimizer.pt; .*start anew",
        ),
        ("{}/checkpoint-2", "training cannot go on from .*checkpoint-2: it has no optimizer.pt"),
        ("{}/checkpoint-3", "there is no folder .*checkpoint-3"),
    ],
)
def test_what_cannot_be_gone_on_from_is_refused(given, message, folder):
    for step in (1, 2):
        (folder / f"checkpoint-{step}" / "optimizer.pt").unlink()
    given = given if given is True else given.format(folder)
    with pytest.raises(UserError, match=message):
        dpo(folder).train(resume_from_checkpoint=given)


def test_the_same_run_goes_on(folder):
    trainer = dpo(folder)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-1"))
    assert trainer.state.global_step == 2


def test_a_checkpoint_of_another_run_is_refused(folder):
    checkpoint = str(folder / "checkpoint-1")
    trained = type(llama()).from_pretrained(checkpoint, dtype=torch.float32)
    with pytest.raises(UserError, match=r"of another run: its reference was another model"):
        dpo(folder, trained).train(resume_from_checkpoint=checkpoint)
    with pytest.raises(UserError, match=r"of another run: it was trained on other rows"):
        dpo(folder, seed=1).train(resume_from_checkpoint=checkpoint)
    args = SFTConfig(output_dir=str(folder), **QUIET)
    sft = SFTTrainer(
        llama(dtype=torch.float32), args, train_dataset=documents(4), processing_class=tiny_tokenizer()
    )
    with pytest.raises(UserError, match=r"of another run: its method is DPOTrainer, and this one SFTTrainer"):
        sft.train(resume_from_checkpoint=checkpoint)
