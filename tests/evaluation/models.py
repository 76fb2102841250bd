"""Tiny reward models on disk."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import CHAT_TEMPLATE, tiny_tokenizer


def save_reward_model(folder: Path, labels: int = 1, chat_template: str | None = CHAT_TEMPLATE) -> Path:
    """A random two-layer Llama with a reward head, whose rewards differ by about one."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = tiny_tokenizer(chat_template)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        num_labels=labels,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, task: str | None = "SEQ_CLS") -> Path:
    """A LoRA adapter with random weights, with its own head, on the model of `base`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(base)
    adapted = get_peft_model(
        model, LoraConfig(r=4, task_type=task, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    if task == "SEQ_CLS":
        with torch.no_grad():
            adapted.base_model.model.score.modules_to_save["default"].weight.normal_(std=0.5)
    adapted.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
