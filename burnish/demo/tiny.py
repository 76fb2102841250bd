"""The model of `burnish demo --quick`: tiny, random, built on the spot, without download or network.

It has a byte-level tokenizer trained on the demo's own notes, a chat template, and a Llama of
about 0.4 million parameters. It takes the same path as the real model and learns the form of a ticket;
it is too small to read a note.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from burnish.demo.task import Rows
from burnish.paths import share_weights

VOCABULARY = 640
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_model(folder: Path, rows: Rows, seed: int) -> Path:
    """Save a random model and its tokenizer in `folder`, ready for `from_pretrained`."""
    tokenizer = tiny_tokenizer(rows)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    share_weights(folder)
    return folder


def tiny_tokenizer(rows: Rows) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the texts of the training rows."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    messages = [m for row in rows.lessons for m in (*row["prompt"], *row["completion"])]
    backend.train_from_iterator((m["content"] for m in messages), trainer)
    end_of_text, start, end = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=start,
        eos_token=end,
        pad_token=end_of_text,
        unk_token=end_of_text,
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )
