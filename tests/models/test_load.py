"""Which dtype weights are stored in, by what is trained of them and what the machine is fast at."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM

from burnish import SFTConfig
from burnish.engine import assembly
from burnish.engine.assembly import build_model, compute_dtype
from burnish.methods.sft import SFTTrainer
from burnish.models.load import ModelConfig, load_model
from burnish.planning.subject import Subject
from tests.conftest import save_tiny_model


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A checkpoint in bfloat16."""
    folder = save_tiny_model(tmp_path_factory.mktemp("half") / "model")
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("fast", "options", "adapter", "stored", "computed"),
    [
        (True, {}, True, torch.bfloat16, torch.bfloat16),
        (False, {}, True, torch.float32, None),  # None: as it is stored
        (False, {"bf16": True}, True, torch.bfloat16, torch.bfloat16),
        (False, {"model_init_kwargs": {"dtype": "bfloat16"}}, True, torch.bfloat16, torch.bfloat16),
        (True, {}, False, torch.float32, torch.bfloat16),
        (False, {}, False, torch.float32, None),
    ],
)
def test_a_base_is_stored_and_planned_alike(
    half, tmp_path, monkeypatch, fast, options, adapter, stored, computed
):
    monkeypatch.setattr(assembly, "fast_bfloat16", lambda device: fast)
    args = SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, **options)
    peft = LoraConfig(r=4, target_modules="all-linear") if adapter else None
    model = build_model(half, "causal", args, peft, None).model
    base = [weight for name, weight in model.named_parameters() if "lora_" not in name]
    assert {weight.dtype for weight in base} == {stored}
    assert compute_dtype(model, args) == computed
    planned = Subject(SFTTrainer, args, ModelConfig(), half, peft)
    assert {weight.dtype for weight in planned.whole.parameters()} == {stored, torch.float32}
    assert planned.computes_in == computed


@pytest.mark.parametrize("fast", [True, False])
def test_other_dtypes_are_read_as_they_are(half, tmp_path, fast):
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.float64).save_pretrained(tmp_path)
    model = load_model(str(tmp_path), "causal", trained=False, fast=fast)
    assert next(model.parameters()).dtype == torch.float64
