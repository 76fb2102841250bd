"""A saved model means to its standard loader what it meant in training: alone and padded, by any token."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import AutoPeftModelForSequenceClassification, AutoPeftModelForTokenClassification, LoraConfig
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaForSequenceClassification,
)

from burnish import PRMConfig, PRMTrainer, RewardConfig, RewardTrainer
from burnish.errors import UserError
from burnish.evaluation.reward_model import RewardModel
from burnish.export.merge import merge_adapter
from burnish.models.padding import check_standard_forward, settle_padding
from tests.conftest import save_tiny_model, tiny_tokenizer
from tests.invariants.conftest import llama_of

QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no", "max_steps": 2}
QUIET |= {"learning_rate": 3e-3}
LORA = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
PAIRS = [
    {"prompt": f"Is {n} even?", "chosen": f" {n} is" + " so" * (n % 3), "rejected": " no."} for n in range(6)
]


def saved_base(folder, pad: str, reward: bool = False):
    """A tiny model that pads by a token of its own, by its end token, or not at all."""
    kind = {"model_class": "LlamaForSequenceClassification", "num_labels": 1} if reward else {}
    save_tiny_model(folder, initializer_range=0.2, chat_template=None, **kind)
    tokenizer = tiny_tokenizer(chat_template=None)
    tokenizer.pad_token = {"own": "<|endoftext|>", "is eos": "<|im_end|>", "none": None}[pad]
    tokenizer.save_pretrained(folder)
    config = type(llama_of(LlamaForSequenceClassification).config).from_pretrained(folder)
    config.pad_token_id = tokenizer.pad_token_id
    config.save_pretrained(folder)
    return str(folder)


def outputs_alone_and_padded(model, tokenizer, texts):
    """What the standard forward says of each text: alone, and padded at either side in one batch."""
    model.eval()
    longest = max(map(len, texts))
    with torch.no_grad():
        yield [model(input_ids=torch.tensor([text])).logits[0] for text in texts]
        for left in (False, True):
            rows = [[tokenizer.pad_token_id] * (longest - len(text)) for text in texts]
            rows = [fill + text if left else text + fill for fill, text in zip(rows, texts, strict=True)]
            ids = torch.tensor(rows)
            masks = [[0] * (longest - len(text)) for text in texts]
            masks = [
                fill + [1] * len(text) if left else [1] * len(text) + fill
                for fill, text in zip(masks, texts, strict=True)
            ]
            yield list(model(input_ids=ids, attention_mask=torch.tensor(masks)).logits)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("pad", ["own", "is eos", "none"])
def test_a_reward_model_means_the_same_to_its_standard_loader(pad, adapter, tmp_path):
    base, out = saved_base(tmp_path / "base", pad), tmp_path / "out"
    args = RewardConfig(output_dir=str(out), **QUIET)
    rows = Dataset.from_list(PAIRS)
    trainer = RewardTrainer(base, args, train_dataset=rows, peft_config=LORA if adapter else None)
    trainer.train()
    trainer.save_model()
    prepared = trainer.train_dataset
    texts = [row["prompt_ids"] + ids for row in prepared for ids in row["completion_ids"]]
    trained = torch.tensor(trainer.predict(rows).predictions).flatten()
    assert trained.std() > 0.01 and len(set(map(len, texts))) > 2
    assert texts[0][-1] == trainer.processing_class.eos_token_id != trainer.processing_class.pad_token_id
    assert any("padding token is now <|pad|>" in note for note in args.compat_notes) == (pad != "own")

    tokenizer = AutoTokenizer.from_pretrained(out)
    models = {"own": RewardModel.load(str(out), dtype="float32").model}
    if adapter:
        models["peft"] = AutoPeftModelForSequenceClassification.from_pretrained(out, num_labels=1)
        models["peft"].config.pad_token_id = tokenizer.pad_token_id  # the base's config does not know it
        out = merge_adapter(out, tmp_path / "whole")
    models["transformers"] = AutoModelForSequenceClassification.from_pretrained(out)
    for name, model in models.items():
        for found in outputs_alone_and_padded(model, tokenizer, texts):
            torch.testing.assert_close(torch.cat(found).float(), trained, atol=1e-4, rtol=0, msg=name)


@pytest.mark.parametrize("adapter", [False, True])
def test_a_process_reward_model_means_the_same_to_its_standard_loader(adapter, tmp_path):
    base, out = saved_base(tmp_path / "base", "is eos"), tmp_path / "out"
    rows = Dataset.from_list(
        [
            {"prompt": f"{n} + 1?", "completions": [" add" * (1 + n), " so"], "labels": [1, 0]}
            for n in range(4)
        ]
    )
    args = PRMConfig(output_dir=str(out), **QUIET)
    trainer = PRMTrainer(base, args, train_dataset=rows, peft_config=LORA if adapter else None)
    trainer.train()
    trainer.save_model()
    loader = AutoPeftModelForTokenClassification if adapter else AutoModelForTokenClassification
    model, tokenizer = loader.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    texts = [row["prompt_ids"] + row["completion_ids"][0] for row in trainer.train_dataset]
    steps = [
        [len(row["prompt_ids"]) + place for place, judged in enumerate(row["completion_mask"][0]) if judged]
        for row in trainer.train_dataset
    ]
    trained = torch.tensor(trainer.predict(rows).predictions)
    alone, right, _ = outputs_alone_and_padded(model, tokenizer, texts)
    for found in (alone, right):
        judged = [logits[places].softmax(-1)[:, 1] for logits, places in zip(found, steps, strict=True)]
        torch.testing.assert_close(torch.stack(judged), trained, atol=1e-4, rtol=0)


def test_a_reward_model_is_asked_where_it_was_trained(tmp_path):
    """One that was trained elsewhere with padding as its end token: at the token before the last."""
    folder = saved_base(tmp_path / "reward", "is eos", reward=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    ids = tiny_tokenizer()("Is it? Yes.<|im_end|>", return_tensors="pt").input_ids
    asked = RewardModel.load(folder, dtype="float32")
    with torch.no_grad():
        assert asked(["Is it?"], [" Yes."])[0] == pytest.approx(float(model(ids).logits), abs=1e-5)


@pytest.mark.parametrize(
    ("special", "unknown", "expected"),
    [
        (["<|finetune_right_pad_id|>", "<|reserved_special_token_0|>"], None, "<|finetune_right_pad_id|>"),
        (["<|reserved_special_token_3|>"], None, "<|reserved_special_token_3|>"),
        (["<|vision_pad|>", "<tool>"], None, "<|vision_pad|>"),
        (["<unk>"], "<unk>", "<unk>"),
        (["<tool>"], None, "<|pad|>"),
    ],
)
def test_padding_is_by_a_token_that_texts_do_not_have(special, unknown, expected):
    tokenizer, model = tiny_tokenizer(), llama_of(LlamaForSequenceClassification)
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.unk_token, tokenizer.pad_token, tokenizer.padding_side = unknown, None, "left"
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    known = len(tokenizer)
    assert f"is now {expected} (it had none)" in settle_padding(model, tokenizer, "reward")
    assert (tokenizer.pad_token, tokenizer.padding_side) == (expected, "right")
    assert model.config.pad_token_id == tokenizer.pad_token_id == tokenizer.get_vocab()[expected]
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == known + (expected == "<|pad|>")
    assert settle_padding(model, tokenizer, "reward") == ""


def test_texts_that_end_in_the_padding_token_are_refused():
    tokenizer, model = tiny_tokenizer(), llama_of(LlamaForSequenceClassification)
    settle_padding(model, tokenizer, "reward")
    check_standard_forward(model, tokenizer, [5, 6, 7, 2])
    with pytest.raises(UserError, match=r"ends in '<\|endoftext\|>' is read at another token"):
        check_standard_forward(model, tokenizer, [5, 6, 7, 0])
