"""Weights that are not finite are named, and neither trained nor saved."""

import math

import pytest
import torch
from transformers import TrainerCallback

from burnish import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, UserError
from burnish.models.finite import not_finite
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, llama, pairs

WEIGHT = "model.layers.1.mlp.up_proj.weight"
QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "use_cpu": True, "max_steps": 4}


def spoil(model, value):
    with torch.no_grad():
        model.get_parameter(WEIGHT)[3, 4] = value


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_in_any_dtype_is_found(value, dtype):
    tensors = {"whole": torch.ones(3, 2, dtype=dtype), "hurt": torch.ones(3, 2, dtype=dtype)}
    tensors["hurt"][1, 1] = value
    tensors |= {"codes": torch.zeros(2, dtype=torch.uint8), "empty": torch.empty(0, dtype=dtype)}
    assert not_finite(tensors.items()) == ["hurt"]


def test_a_model_is_refused_before_step_1_with_the_name_of_the_tensor(tmp_path):
    model = llama()
    spoil(model, math.nan)
    trainer = SFTTrainer(
        model,
        SFTConfig(output_dir=str(tmp_path), **QUIET),
        train_dataset=documents(4),
        processing_class=tiny_tokenizer(),
    )
    with pytest.raises(UserError, match=f"model: the weights are not finite: NaN or infinity in {WEIGHT}"):
        trainer.train()


def test_so_is_a_reference(tmp_path):
    reference = llama()
    spoil(reference, math.inf)
    with pytest.raises(UserError, match=f"ref_model: .*{WEIGHT}"):
        DPOTrainer(
            llama(),
            reference,
            args=DPOConfig(output_dir=str(tmp_path), **QUIET),
            train_dataset=pairs(4),
            processing_class=tiny_tokenizer(),
        )


def test_neither_a_checkpoint_nor_a_model_is_saved(tmp_path):
    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **rest):
            if state.global_step == 2:
                spoil(model, math.nan)

    args = {**QUIET, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    trainer = SFTTrainer(
        llama(),
        SFTConfig(output_dir=str(tmp_path), **args),
        train_dataset=documents(4),
        processing_class=tiny_tokenizer(),
        callbacks=[Spoil()],
    )
    with pytest.raises(UserError, match=f"checkpoint-2: nothing is saved.*{WEIGHT}"):
        trainer.train()
    assert [folder.name for folder in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]
    with pytest.raises(UserError, match="nothing is saved"):
        trainer.save_model()
    assert not (tmp_path / "model.safetensors").exists()
