"""Callbacks and models of TRL's scripts."""

import json
import types

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, GenerationConfig

import burnish
from burnish.errors import UserError


def test_the_average_of_the_weights(tmp_path):
    model = torch.nn.Linear(1, 1, bias=False)
    callback = burnish.BEMACallback(update_freq=2, update_after=1, lag=4, multiplier=0.5)
    args = types.SimpleNamespace(output_dir=str(tmp_path), fsdp=None, deepspeed=None)
    state = types.SimpleNamespace(global_step=0, is_world_process_zero=True)
    callback.on_train_begin(args, state, None, model=model)
    for step, weight in enumerate((1.0, 7.0, 3.0, 9.0, 2.0), 1):  # read at 1 (where it begins), 3 and 5
        model.weight.data.fill_(weight)
        state.global_step = step
        callback.on_step_end(args, state, None, model=model)
    at_3 = 1.0 + (3.0 - 1.0) * 5.5**-0.5
    at_5 = at_3 + (2.0 - at_3) * 6.5**-0.5
    averaged = callback.averaged_model(model)
    assert averaged.weight.item() == pytest.approx(at_5 + 6.5**-0.2 * (2.0 - 1.0), rel=1e-6)
    assert model.weight.item() == 2.0


def trainer(model, folder, rows, **options):
    args = burnish.SFTConfig(
        output_dir=str(folder),
        max_steps=2,
        eval_steps=1,
        per_device_train_batch_size=2,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        **options,
    )
    return burnish.SFTTrainer(model=str(model), args=args, train_dataset=rows, eval_dataset=rows)


def test_answers_are_logged_and_averages_saved(tiny_model_dir, tmp_path):
    rows = Dataset.from_list([{"prompt": f"{n} plus 1 is", "completion": f" {n + 1}."} for n in range(4)])
    made = trainer(tiny_model_dir, tmp_path, rows)
    short = GenerationConfig(max_new_tokens=3)
    made.add_callback(burnish.LogCompletionsCallback(made, short, num_prompts=2, freq=1))
    made.add_callback(burnish.BEMACallback(update_freq=1))
    made.add_callback(burnish.RichProgressCallback())
    made.train()
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert [(each["step"], each["prompt"]) for each in samples] == [
        (step, f"{n} plus 1 is") for step in (0, 1, 2) for n in (0, 1)
    ]
    averaged = AutoModelForCausalLM.from_pretrained(tmp_path / "bema")
    trained = made.model.model.embed_tokens.weight
    assert not torch.equal(averaged.model.embed_tokens.weight, trained)
    with pytest.raises(UserError, match="sample_prompts: the trainer samples answers already"):
        burnish.LogCompletionsCallback(trainer(tiny_model_dir, tmp_path, rows, sample_prompts=["Hi"]))


def test_rows_without_a_prompt_give_none(tiny_model_dir, tmp_path):
    made = trainer(tiny_model_dir, tmp_path, Dataset.from_list([{"text": "a b c"}]))
    with pytest.raises(UserError, match="eval_dataset: these rows have no prompt"):
        burnish.LogCompletionsCallback(made)


def test_a_frozen_copy(tiny_model_dir):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir).train()
    copied = burnish.create_reference_model(model)
    assert not copied.training and not any(weight.requires_grad for weight in copied.parameters())
    assert model.training and all(weight.requires_grad for weight in model.parameters())
    assert copied.lm_head.weight.data_ptr() != model.lm_head.weight.data_ptr()
    with pytest.raises(UserError, match="layers are not shared"):
        burnish.create_reference_model(model, num_shared_layers=1)
