"""AdaLoRA: the rank is cut to its target, and factors are held near orthogonal."""

import copy

import pytest
import torch
from peft import AdaLoraConfig, get_peft_model

from burnish import SFTConfig, SFTTrainer, UserError
from burnish.engine.adalora import add_orthogonality, factors
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, llama


def adapter(**options):
    schedule = {"total_step": 6, "tinit": 1, "tfinal": 2, "deltaT": 1}
    return AdaLoraConfig(init_r=4, target_r=1, target_modules=["q_proj", "v_proj"], **schedule | options)


def sft(folder, config, **options):
    args = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "max_steps": 6, "use_cpu": True}
    args = SFTConfig(output_dir=str(folder), bf16=False, learning_rate=1e-2, **args | options)
    rows = documents(4)
    return SFTTrainer(
        llama(), args, train_dataset=rows, processing_class=tiny_tokenizer(), peft_config=config
    )


def test_the_rank_is_cut_to_its_target(tmp_path):
    trainer = sft(tmp_path, adapter())
    trainer.train()
    values = torch.cat([p.flatten() for n, p in trainer.model.named_parameters() if "lora_E" in n])
    assert int((values != 0).sum()) == 4 * 1 and len(values) == 4 * 4  # of four layers


def test_a_schedule_that_does_not_end_is_refused(tmp_path):
    with pytest.raises(UserError, match="target rank at step 98, and training has 6"):
        sft(tmp_path, adapter(total_step=100)).train()


def test_resuming_is_refused(tmp_path):
    sft(tmp_path, adapter(), save_strategy="steps", save_steps=5).train()
    with pytest.raises(UserError, match="resume_from_checkpoint: a checkpoint of AdaLoRA"):
        sft(tmp_path, adapter()).train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_the_term_of_the_loss_is_pefts():
    model = get_peft_model(llama(), adapter(orth_reg_weight=0.3)).train()
    theirs, ids = copy.deepcopy(model), torch.arange(3, 12)[None]
    with_term = theirs.base_model(input_ids=ids, labels=ids).loss
    without = theirs.base_model.model(input_ids=ids, labels=ids).loss
    (with_term - without).backward()
    add_orthogonality(model)
    for ours, other in zip(factors(model.base_model), factors(theirs.base_model), strict=True):
        torch.testing.assert_close(ours.grad, other.grad)
