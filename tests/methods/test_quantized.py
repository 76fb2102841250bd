"""Adapters on a base in 4 bit, from the command line, where bitsandbytes is installed."""

from __future__ import annotations

import pytest

from burnish.cli import main
from burnish.models.adapter_chain import chain_of

pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize(
    ("verb", "rows"), [("sft", "chats_file"), ("reward", "pairs_file"), ("dpo", "pairs_file")]
)
def test_a_quantized_base_trains_an_adapter(verb, rows, tiny_model_dir, tmp_path, request):
    arguments = [
        verb,
        "--model_name_or_path",
        str(tiny_model_dir),
        "--dataset_name",
        str(request.getfixturevalue(rows)),
    ]
    arguments += ["--load_in_4bit", "--use_peft", "--lora_target_modules", "all-linear", "--max_steps", "2"]
    assert main([*arguments, "--output_dir", str(tmp_path)]) == 0
    assert (tmp_path / "adapter_model.safetensors").is_file()
    quantization = chain_of(tmp_path).quantization
    assert quantization is not None and quantization["load_in_4bit"] and quantization["quant_method"]
