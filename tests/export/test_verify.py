"""What is taken away is compared with what was trained, and a broken artefact is found out."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from burnish.export.export import export_safetensors
from burnish.export.stack import Stack
from burnish.export.verify import verify
from tests.conftest import save_tiny_model
from tests.export.test_card import a_run
from tests.export.test_merge import add_adapter


def found(verification) -> dict:
    return {check.name: check.ok for check in verification.checks}


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    """An adapter, and what was exported of it in bfloat16."""
    folder = tmp_path_factory.mktemp("artefact")
    add_adapter(save_tiny_model(folder / "base"), folder / "adapter")
    made = export_safetensors(str(folder / "adapter"), None, "bfloat16")
    return folder, made


def test_an_adapter_in_bfloat16(artefact):
    folder, made = artefact
    assert made.folder == folder / "adapter-safetensors"
    outcome = json.loads((made.folder / "verify.json").read_text())
    assert outcome["passed"] and outcome["dtype"] == "bfloat16"
    assert outcome["differences"]["merging"]["largest"] < 1e-5
    assert outcome["differences"]["reading back"]["largest"] == 0
    assert 1e-5 < outcome["differences"]["in all"]["largest"] < 0.1
    assert 0 < outcome["differences"]["in all"]["kl"] < 1e-4
    assert len(outcome["answers"]) == 4


def test_the_card_tells_of_the_run(tmp_path):
    run = a_run(tmp_path / "sft", "sft", "sft", "owner/base")
    save_tiny_model(run)
    made = export_safetensors(str(run), None, "bfloat16")
    card = (made.folder / "README.md").read_text()
    for part in ("base_model: owner/base", "150 steps, seed 42", "| weights | ok |", "in bfloat16"):
        assert part in card


def test_a_full_model_as_it_is_and_at_half_its_size(tiny_model_dir, tmp_path):
    whole = export_safetensors(str(tiny_model_dir), str(tmp_path / "whole"), None)
    half = export_safetensors(str(tiny_model_dir), str(tmp_path / "half"), "bfloat16")
    assert whole.verification.passed and half.verification.passed
    assert whole.verification.differences["in all"].largest == 0
    sizes = [(folder.folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert 1.8 < sizes[0] / sizes[1] < 2


def test_reward_models(tmp_path):
    full = save_tiny_model(tmp_path / "full", model_class="LlamaForSequenceClassification", num_labels=1)
    save_tiny_model(tmp_path / "base")
    add_adapter(tmp_path / "base", tmp_path / "lora", "SEQ_CLS", loader=AutoModelForSequenceClassification)
    for name in (full, tmp_path / "lora"):
        made = export_safetensors(str(name), None, "bfloat16")
        assert made.verification.passed, made.verification.checks
        assert made.verification.compared_by == "scores, float32"
        assert made.verification.differences["in all"].kl is None
        assert AutoModelForSequenceClassification.from_pretrained(made.folder).config.num_labels == 1


BREAKS = {}


def breaks(*checks):
    def remember(function):
        BREAKS[function.__name__] = (function, set(checks))
        return function

    return remember


@breaks("weights", "reading back", "greedy text")
def a_tensor_is_flipped(folder):
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    save_file(
        tensors | {name: tensors[name].flip(0).contiguous()}, folder / "model.safetensors", {"format": "pt"}
    )


@breaks("weights")
def one_bit_of_a_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"].view(torch.int16)[0] ^= 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@breaks("chat template", "tokenizer")
def another_template(folder):
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text().replace("<|im_start|>", "### "))


@breaks("chat template", "tokenizer")
def no_template(folder):
    (folder / "chat_template.jinja").unlink()


@breaks("reading back", "greedy text")
def another_position_scale(folder):
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 10.0
    (folder / "config.json").write_text(json.dumps(config))


@breaks("generation ends")
def no_end(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": 0, "pad_token_id": 0}')


@breaks("loads")
def half_a_file(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_artefact_is_found_out(artefact, tmp_path, name):
    folder, made = artefact
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in made.files:
        (broken / file.name).write_bytes(file.read_bytes())
    break_it, checks = BREAKS[name]
    break_it(broken)
    outcome = verify(Stack.of(folder / "adapter"), broken)
    assert not outcome.passed
    assert checks <= {name for name, ok in found(outcome).items() if ok is False}, outcome.checks


def test_a_vocabulary_with_spare_rows_keeps_them(tmp_path):
    base = save_tiny_model(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(320, mean_resizing=False)
    model.save_pretrained(tmp_path / "padded")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "padded")
    add_adapter(tmp_path / "padded", tmp_path / "adapter")
    made = export_safetensors(str(tmp_path / "adapter"), None, None)
    assert made.verification.passed
    assert AutoModelForCausalLM.from_pretrained(made.folder).config.vocab_size == 320


def test_added_tokens_come_along(tmp_path):
    base = save_tiny_model(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<tool>"])
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(260, mean_resizing=False)
    model.save_pretrained(tmp_path / "resized")
    tokenizer.save_pretrained(tmp_path / "resized")
    targets = {"modules_to_save": ["embed_tokens", "lm_head"]}
    add_adapter(tmp_path / "resized", tmp_path / "adapter", **targets)
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace(str(tmp_path / "resized"), str(base)))
    made = export_safetensors(str(tmp_path / "adapter"), None, None)
    assert made.verification.passed, made.verification.checks
    assert AutoModelForCausalLM.from_pretrained(made.folder).config.vocab_size == 260
