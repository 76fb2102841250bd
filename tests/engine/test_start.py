"""What must hold when a run begins, and what is said where it does not."""

from __future__ import annotations

import peft
import pytest
import torch

from burnish import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer, UserError
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, judged, llama, pairs

QUIET = {
    "report_to": "none",
    "disable_tqdm": True,
    "bf16": False,
    "save_strategy": "no",
    "logging_steps": 1,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 2,
}


def dpo(folder, *, model=None, loss=None, peft_config=None, ref_model=None, **options):
    args = DPOConfig(output_dir=str(folder), **{**QUIET, "max_steps": 1, **options})
    return DPOTrainer(
        model or llama(dtype=torch.float32),
        ref_model,
        args,
        train_dataset=pairs(4),
        processing_class=tiny_tokenizer(),
        peft_config=peft_config,
        loss=loss,
    )


def sft(folder, model, **options):
    args = SFTConfig(output_dir=str(folder), **{**QUIET, "max_steps": 4, **options})
    return SFTTrainer(model, args, train_dataset=documents(4), processing_class=tiny_tokenizer())


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("adapter", [None, peft.LoraConfig(target_modules=["q_proj"])])
def test_a_reference_that_is_another_model_is_found_in_the_first_step(adapter, steps, tmp_path):
    """As when weights are changed behind the trainer's back."""
    trainer = dpo(tmp_path, peft_config=adapter, max_steps=steps)
    trainer.get_ready()
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    message = r"before the first update the policy is .* nats a token away from its reference"
    with pytest.raises(UserError, match=message):
        trainer.train()


def test_a_reference_of_ones_own_may_be_another_model(tmp_path):
    other = llama(dtype=torch.float32)
    with torch.no_grad():
        other.lm_head.weight.mul_(0.5)
    trainer = dpo(tmp_path, ref_model=other)
    assert trainer.ref_model is other
    trainer.train()


def test_dropout_of_the_policy_is_no_other_model(tmp_path):
    adapter = peft.LoraConfig(target_modules=["q_proj"], lora_dropout=0.5)
    trainer = dpo(tmp_path, peft_config=adapter, disable_dropout=False, max_steps=2)
    trainer.train()
    assert trainer.start.distance is None and not trainer.start.is_open
    assert trainer.ref_model is None


def test_unpaired_methods_compare_too(tmp_path):
    args = KTOConfig(output_dir=str(tmp_path), **QUIET, max_steps=1)
    trainer = KTOTrainer(
        llama(dtype=torch.float32), args=args, train_dataset=judged(), processing_class=tiny_tokenizer()
    )
    with torch.no_grad():
        trainer.model.lm_head.weight.add_(0.1 * torch.randn_like(trainer.model.lm_head.weight))
    with pytest.raises(UserError, match="though they are one model"):
        trainer.train()


def test_a_first_loss_that_is_not_ln_2_is_a_fault(tmp_path, monkeypatch):
    trainer = dpo(tmp_path)
    monkeypatch.setattr(trainer, "loss", lambda pair, own=trainer.loss: 1.1 * own(pair))
    with pytest.raises(UserError, match=r"the first loss is 0\.76.*, and without a margin it is 0.6931"):
        trainer.train()


@pytest.mark.parametrize("loss", [lambda pair: pair.margin.mean(), lambda pair: 0.5, lambda pair: pair.table])
def test_a_loss_that_is_not_one_number_per_pair_is_refused(loss, tmp_path):
    with pytest.raises(UserError, match=r"(?s)loss: the loss gives .* pairs.*return one number per pair"):
        dpo(tmp_path, loss=loss).train()


# What the first updates do not reach


def test_tensors_without_gradient_and_tensors_that_do_not_move_are_named(tmp_path):
    model = llama(dtype=torch.float32)
    model.extra = torch.nn.Linear(2, 2)  # no loss reaches it
    norms = [p for name, p in model.named_parameters() if "layernorm" in name]
    others = [p for name, p in model.named_parameters() if "layernorm" not in name]
    args = SFTConfig(output_dir=str(tmp_path), **{**QUIET, "max_steps": 4})
    optimizer = torch.optim.SGD(others, lr=1e-3)
    trainer = SFTTrainer(
        model,
        args,
        train_dataset=documents(4),
        processing_class=tiny_tokenizer(),
        optimizers=(optimizer, None),
    )
    trainer.train()
    said = (tmp_path / "notices.jsonl").read_text()
    assert "2 of " in said and "get no gradient in the first 3 updates" in said and "extra.weight" in said
    assert f"{len(norms)} of " in said and "do not move" in said and "input_layernorm.weight" in said


@pytest.mark.parametrize("warmup", [0, 2])
def test_an_adapter_is_not_taken_for_one_that_stays(warmup, tmp_path):
    """B is zero: its A factors have a gradient from the second update on."""
    adapter = peft.LoraConfig(target_modules=["q_proj"], r=2)
    model = peft.get_peft_model(llama(dtype=torch.float32), adapter)
    sft(tmp_path, model, max_steps=6, warmup_steps=warmup).train()
    notices = tmp_path / "notices.jsonl"
    assert not notices.exists() or "untrained_tensors" not in notices.read_text()


# Nothing to train


def test_an_adapter_as_peft_loads_it_is_refused_by_name(tmp_path):
    peft.get_peft_model(llama(), peft.LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    frozen = peft.PeftModel.from_pretrained(llama(), tmp_path)
    with pytest.raises(UserError, match=r"(?s)the adapter is frozen.*is_trainable=True"):
        sft(tmp_path, frozen)
    with pytest.raises(UserError, match=r"(?s)all weights of the model are frozen.*requires_grad_"):
        sft(tmp_path, llama().requires_grad_(False))
    sft(tmp_path, peft.PeftModel.from_pretrained(llama(), tmp_path, is_trainable=True))
