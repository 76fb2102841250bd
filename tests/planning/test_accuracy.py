"""Predicted beside measured, as `benchmarks.plan_accuracy` does it, on a model made here.

27 million weights: with gradients and the state of the optimizer about as much as the process itself.
"""

import json

import pytest

from benchmarks.plan_accuracy import CONFIGURATIONS, arguments, compared
from tests.conftest import save_tiny_model, tiny_tokenizer

SHAPE = {
    "vocab_size": 259,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = save_tiny_model(tmp_path_factory.mktemp("accuracy") / "model")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    LlamaForCausalLM(LlamaConfig(**SHAPE, **ids, bos_token_id=None)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    rows = []
    for number in range(24):
        messages = [
            {"role": "user", "content": f"Write the number {number} in words, and nothing else, please."},
            {"role": "assistant", "content": f"The number {number}, in words. " * (1 + number % 3)},
        ]
        other = [{"role": "assistant", "content": "I do not know that number. " * 2}]
        rows.append({"messages": messages, "prompt": messages[:1], "chosen": messages[1:], "rejected": other})
    file = folder.parent / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["sft", "sft-lora", "dpo", "dpo-lora", "reward"])
def test_the_peak_is_within_15_percent(name, folder, data, tmp_path):
    options = arguments(["--model", str(folder), "--data", str(data), "--steps", "3"])
    method, given = CONFIGURATIONS[name]
    outcome = compared(method, given, options, tmp_path)
    assert abs(outcome["error"]) < 0.15, json.dumps(outcome, indent=1)
