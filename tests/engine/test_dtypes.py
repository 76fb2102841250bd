"""What `bf16` and `dtype` ask for is what is computed in and stored, and what the plan says."""

import pytest
import torch
from peft import LoraConfig

from burnish import SFTConfig, SFTTrainer, UserError
from burnish.engine.assembly import build_model, compute_dtype
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, llama

HALVES = (torch.bfloat16, torch.float16)
ADAPTER = LoraConfig(r=2, target_modules=["q_proj"])


def config(folder, **options):
    return SFTConfig(output_dir=str(folder), use_cpu=True, report_to="none", **options)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("bf16", [None, False, True])
@pytest.mark.parametrize("stored", [torch.float32, *HALVES])
def test_bf16_decides_what_is_computed_in_whatever_is_stored(stored, bf16, fast, tmp_path):
    args = config(tmp_path, bf16=bf16)
    model = build_model(llama(dtype=stored), "causal", args, ADAPTER, None).model
    computed = compute_dtype(model, args, fast) or stored
    asked = torch.float32 if bf16 is False else torch.bfloat16
    unset = torch.bfloat16 if fast or stored == torch.bfloat16 else torch.float32
    assert computed == (unset if bf16 is None else asked)


@pytest.mark.parametrize("stored", HALVES)
def test_forwards_on_a_16_bit_base_are_in_float32_where_bf16_is_off(stored, tmp_path):
    args = config(tmp_path, bf16=False, max_steps=1, save_strategy="no", disable_tqdm=True)
    model, seen = llama(dtype=stored), set()
    trainer = SFTTrainer(
        model, args, train_dataset=documents(4), processing_class=tiny_tokenizer(), peft_config=ADAPTER
    )
    trainer.get_ready()
    mlp = trainer.model.get_base_model().model.layers[0].mlp
    mlp.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    trainer.train()
    assert seen == {torch.float32} and mlp.up_proj.weight.dtype == stored
    said = next(choice for name, choice, _ in trainer.plan.rows if name == "dtype")
    assert said == f"computes in float32, float32 weights on a {str(stored).removeprefix('torch.')} base"


@pytest.mark.parametrize(
    ("given", "adapter", "stored"),
    [
        ({}, None, {torch.float32}),
        ({"dtype": "bfloat16"}, None, {torch.bfloat16}),
        ({"dtype": "float16"}, None, {torch.float32}),
        ({"dtype": "bfloat16"}, ADAPTER, {torch.float32}),
    ],
)
def test_trained_weights_are_float32_unless_full_fine_tuning_asks_for_bfloat16(
    given, adapter, stored, tiny_model_dir, tmp_path
):
    args = config(tmp_path, model_init_kwargs=given or None)
    model = build_model(str(tiny_model_dir), "causal", args, adapter, None).model
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == stored


def test_a_frozen_base_is_loaded_in_float32_where_bf16_is_off(tiny_model_dir, tmp_path):
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.bfloat16).save_pretrained(
        tmp_path / "half"
    )
    for bf16, stored in ((False, torch.float32), (True, torch.bfloat16)):
        args = config(tmp_path, bf16=bf16)
        model = build_model(str(tmp_path / "half"), "causal", args, ADAPTER, None).model
        assert next(model.parameters()).dtype == stored


@pytest.mark.parametrize(("launched", "bf16", "found"), [("bf16", None, True), ("bf16", False, False)])
def test_the_launcher_s_mixed_precision_is_a_wish_that_bf16_overrules(
    launched, bf16, found, tmp_path, monkeypatch
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    args = config(tmp_path, bf16=bf16)
    assert (args.bf16, args.mixed_precision) == (found, "no")


def test_float16_by_the_launcher_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(UserError, match="fp16 is not supported"):
        config(tmp_path)
