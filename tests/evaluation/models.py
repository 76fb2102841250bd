"""Tiny reward models on disk."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import CHAT_TEMPLATE, save_tiny_model, tiny_tokenizer


def save_reward_model(folder: Path, labels: int = 1, chat_template: str | None = CHAT_TEMPLATE) -> Path:
    """A random two-layer Llama with a reward head, whose rewards differ by about one."""
    return save_tiny_model(
        folder,
        chat_template=chat_template,
        model_class="LlamaForSequenceClassification",
        num_labels=labels,
        initializer_range=0.2,
    )


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
