"""A reference that follows the policy: what its weights are, and that a resumed run has them."""

from __future__ import annotations

import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import TrainerCallback

from burnish import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, UserError
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import judged, llama, pairs

SHARE, EVERY = 0.3, 2
QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "logging_steps": 1, "learning_rate": 1e-2}
MOVING = {"sync_ref_model": True, "ref_model_mixup_alpha": SHARE, "ref_model_sync_steps": EVERY}


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()


def lora(model):
    targets = ["q_proj", "v_proj", "down_proj"]
    return get_peft_model(
        model, LoraConfig(target_modules=targets, init_lora_weights=False, lora_dropout=0.0)
    )


def dpo(model, folder, tokenizer, ref_model=None, **options):
    args = DPOConfig(output_dir=str(folder), **{**QUIET, **MOVING, "save_strategy": "no", **options})
    return DPOTrainer(model, ref_model, args, train_dataset=pairs(), processing_class=tokenizer)


def losses(trainer):
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


class Record(TrainerCallback):
    """The trained weights after every step."""

    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **rest):
        self.weights.append({n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad})


@pytest.mark.parametrize("kind", ["copy", "adapter", "given"])
def test_a_reference_is_the_mixture_of_policies_written_out(kind, tokenizer, tmp_path):
    model = lora(llama()) if kind == "adapter" else llama()
    given = llama() if kind == "given" else None
    start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    if given is not None:
        with torch.no_grad():
            for weight in given.parameters():
                weight.mul_(0.9)
        start = {name: 0.9 * weight for name, weight in start.items()}
    trainer = dpo(model, tmp_path, tokenizer, given, max_steps=5)
    record = Record()
    trainer.callback_handler.callbacks.insert(0, record)
    trainer.train()
    assert any("every 2 steps 30 % of the way to the policy" in row[2] for row in trainer.plan.rows)
    expected = start
    for policy in (record.weights[1], record.weights[3]):
        expected = {n: SHARE * policy[n] + (1 - SHARE) * w for n, w in expected.items()}
    assert trainer.reference.weights.keys() == expected.keys()
    for name, weight in trainer.reference.weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-8)  # mixed in float32
        assert not torch.allclose(weight, start[name])


def test_what_is_scored_is_the_reference_that_moved(tokenizer, tmp_path):
    """With a share of 1 after every step the policy is its own reference: no margin, the loss is ln 2."""
    model = lora(llama(dtype=torch.float32))
    trainer = dpo(model, tmp_path, tokenizer, max_steps=4, ref_model_mixup_alpha=1.0, ref_model_sync_steps=1)
    trainer.train()
    assert losses(trainer) == pytest.approx([0.6931472] * 4, rel=1e-5)
    trainer = dpo(lora(llama(dtype=torch.float32)), tmp_path, tokenizer, max_steps=4, ref_model_sync_steps=9)
    trainer.train()
    assert abs(losses(trainer)[-1] - 0.6931472) > 0.01


def test_a_fresh_adapter_starts_from_a_margin_of_zero(tokenizer, tmp_path):
    args = DPOConfig(output_dir=str(tmp_path), **QUIET, **MOVING, max_steps=2, save_strategy="no")
    adapter = LoraConfig(target_modules=["q_proj", "v_proj"])
    trainer = DPOTrainer(
        llama(), args=args, train_dataset=pairs(), processing_class=tokenizer, peft_config=adapter
    )
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(0.6931472, rel=1e-6)
    assert trainer.reference.kind == "frozen adapter"


@pytest.mark.parametrize("kind", ["copy", "adapter"])
def test_resuming_gives_the_run_that_was_not_interrupted(kind, tokenizer, tmp_path):
    def trainer():
        torch.manual_seed(1)
        model = lora(llama()) if kind == "adapter" else llama()
        options = {
            "max_steps": 6,
            "save_strategy": "steps",
            "save_steps": 3,
            "per_device_train_batch_size": 2,
        }
        return dpo(model, tmp_path, tokenizer, **options)

    whole = trainer()
    whole.train()
    shutil.rmtree(tmp_path / "checkpoint-6")
    resumed = trainer()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for name, weight in whole.reference.weights.items():
        assert torch.equal(weight, resumed.reference.weights[name])
    assert losses(resumed)[-3:] == losses(whole)[-3:]

    (tmp_path / "checkpoint-3" / "reference.safetensors").unlink()
    with pytest.raises(UserError, match="the checkpoint has no reference that moved"):
        trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_a_reference_of_another_model_cannot_follow(tokenizer, tmp_path):
    message = "ref_model: the policy has no weight like the reference's"
    with pytest.raises(UserError, match=message):
        dpo(lora(llama()), tmp_path, tokenizer, llama())


def test_other_methods_with_a_reference_have_it_too(tokenizer, tmp_path):
    args = KTOConfig(
        output_dir=str(tmp_path),
        **QUIET,
        **MOVING,
        max_steps=3,
        save_strategy="no",
        loss_type="apo_zero_unpaired",
    )
    trainer = KTOTrainer(llama(), args=args, train_dataset=judged(), processing_class=tokenizer)
    start = llama().lm_head.weight
    trainer.train()
    moved = trainer.reference.weights["lm_head.weight"]
    assert not torch.equal(moved, start) and not torch.equal(moved, trainer.model.lm_head.weight)
