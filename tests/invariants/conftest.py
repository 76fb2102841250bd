"""Tiny float64 models and pre-tokenized rows, so that exactness is checked to rounding."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.conftest import tiny_tokenizer


def llama(reward: bool = False, dtype: torch.dtype = torch.float64):
    return llama_of(LlamaForSequenceClassification if reward else LlamaForCausalLM, dtype)


def llama_of(kind, dtype: torch.dtype = torch.float64, num_labels: int = 1):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        num_labels=num_labels,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
    )
    model = kind(config)
    for path, module in list(model.named_modules()):
        if isinstance(module, LlamaRMSNorm):  # which computes in float32, whatever the model is in
            model.set_submodule(path, torch.nn.RMSNorm(config.hidden_size, config.rms_norm_eps))
    return model.to(dtype)


def random_ids(generator: torch.Generator, longest: int) -> list[int]:
    length = int(torch.randint(1, longest + 1, (1,), generator=generator))
    return torch.randint(3, 259, (length,), generator=generator).tolist()


def trees(completions: int, count: int = 8, seed: int = 0) -> list[dict]:
    """Prepared rows of very unequal lengths, with as many completions each."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(count):
        found = [random_ids(generator, 9) for _ in range(completions)]
        rows.append(
            {
                "prompt_ids": random_ids(generator, 14),
                "completion_ids": found,
                "completion_mask": [[True] * len(c) for c in found],
                "row": row,
            }
        )
    return rows


def pairs(count: int = 8, seed: int = 0) -> Dataset:
    """Preference rows with a margin column."""
    return Dataset.from_list([{**row, "margin": row["row"] / 10} for row in trees(2, count, seed)])


def triples() -> Dataset:
    """Preference rows with a third completion."""
    return Dataset.from_list(trees(3))


def judged() -> Dataset:
    """Rows with one completion and a label, two good ones to one bad one."""
    return Dataset.from_list([{**row, "label": float(row["row"] % 3 > 0)} for row in trees(1)])


def documents(count: int = 8, seed: int = 0) -> Dataset:
    """Prepared SFT rows of which every third token is not trained."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(count):
        ids = [3, *random_ids(generator, 20)]
        mask = [index % 3 != 0 for index in range(len(ids))]
        rows.append({"prompt_ids": [], "completion_ids": [ids], "completion_mask": [mask], "row": row})
    return Dataset.from_list(rows)


@pytest.fixture
def tokenizer():
    return tiny_tokenizer()
