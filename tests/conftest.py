"""What several test folders share: a tiny random chat model on disk, and rows to train it with."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, open_page  # noqa: F401

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["BURNISH_CACHE"] = tempfile.mkdtemp(prefix="burnish-cache-")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tiny_tokenizer(chat_template: str | None = CHAT_TEMPLATE):
    """One token per byte and three special ones: 259 tokens, which any text round-trips through."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *letters))}
    core = Tokenizer(models.BPE(vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=512
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def save_tiny_model(
    folder: Path,
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    model_class: str = "LlamaForCausalLM",
    **options: Any,
) -> Path:
    """A random two-layer Llama with its tokenizer, as `save_pretrained` writes it."""
    import torch
    import transformers

    tokenizer = tiny_tokenizer(chat_template)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **options,
    )
    getattr(transformers, model_class)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-llama")


@pytest.fixture(scope="session")
def chats_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen chats in `messages`."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Count to {n}."},
                {"role": "assistant", "content": "1 " * n},
            ]
        }
        for n in range(1, 17)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", rows)


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen rows with `prompt`, `chosen` and `rejected`, as plain text."""
    rows = [
        {"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}, I think."} for n in range(16)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "pairs.jsonl", rows)


@pytest.fixture(scope="session")
def triples_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen rows with `prompt`, `chosen`, `rejected` and `reference`, as plain text."""
    rows = [
        {"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}.", "reference": f" {n + 1}!"}
        for n in range(16)
    ]
    return write_rows(tmp_path_factory.mktemp("data") / "triples.jsonl", rows)


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
