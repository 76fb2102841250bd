"""An adapter is found, read, and put on the model that it was trained on, by one function."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import AutoPeftModelForCausalLM, IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish import SFTConfig, SFTTrainer
from burnish.errors import UserError
from burnish.export.merge import merge_adapter
from burnish.export.stack import Stack
from burnish.models.adapter_chain import ADAPTER, RECORD, WEIGHTS, chain_of, quantization_of, write_record
from burnish.models.certify import certify
from burnish.models.load import load_model
from burnish.models.merged import merged
from tests.export.test_merge import IDS, add_adapter, logits


@pytest.fixture(scope="module")
def adapter(tiny_model_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters") / "first"
    return folder, logits(add_adapter(tiny_model_dir, folder))


def test_an_adapter_on_an_adapter_is_loaded_to_be_trained(tiny_model_dir, adapter, tmp_path):
    first, _ = adapter
    second = add_adapter(merge_adapter(first, tmp_path / "whole"), tmp_path / "second")
    config = json.loads((tmp_path / "second" / ADAPTER).read_text())
    (tmp_path / "second" / ADAPTER).write_text(json.dumps({**config, "base_model_name_or_path": str(first)}))
    chain = chain_of(tmp_path / "second")
    assert chain.base == str(tiny_model_dir) and [each.name for each in chain.adapters] == ["first", "second"]
    model = load_model(str(tmp_path / "second"), "causal").eval()
    torch.testing.assert_close(logits(model), logits(second), atol=1e-5, rtol=0)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained and all("lora_" in name for name in trained)


@pytest.mark.parametrize(
    "trained",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"trainable_token_indices": [259, 260]},
        {},  # peft saves the embeddings of a vocabulary that grew
    ],
    ids=["modules_to_save", "trainable_tokens", "resized"],
)
def test_an_adapter_with_added_tokens(tiny_model_dir, tmp_path, trained):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    tokenizer.add_tokens(["<tool>", "</tool>"])
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    torch.manual_seed(3)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    lora = LoraConfig(
        r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False, **trained
    )
    model = get_peft_model(model, lora).eval()
    model.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    loaded = {
        "peft": AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter"),
        "ours": load_model(str(tmp_path / "adapter"), "causal"),
        "merged": AutoModelForCausalLM.from_pretrained(
            merge_adapter(tmp_path / "adapter", tmp_path / "whole")
        ),
    }
    ids = torch.cat([IDS, torch.tensor([[259], [260]])], 1)
    with torch.no_grad():
        expected = model(ids).logits[..., :259]  # an untied head's new rows are in no file where it is frozen
        for name, found in loaded.items():
            torch.testing.assert_close(
                found.eval()(ids).logits[..., :259], expected, atol=1e-5, rtol=0, msg=name
            )


def test_an_adapter_by_its_name_in_the_hubs_cache(adapter, tmp_path):
    folder, expected = adapter
    commit = "0" * 40
    repository = tmp_path / "models--owner--adapter"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = load_model("owner/adapter", "causal", cache_dir=str(tmp_path), revision="main").eval()
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=0)
    assert chain_of("owner/other", cache_dir=str(tmp_path)).adapters == ()


def settings_with(**options):
    def change(folder):
        file = folder / ADAPTER
        file.write_text(json.dumps({**json.loads(file.read_text()), **options}))

    return change


def half(folder):
    tensors = load_file(folder / WEIGHTS)
    save_file(dict(list(tensors.items())[::2]), folder / WEIGHTS)


DAMAGES = {
    "empty config": (lambda folder: (folder / ADAPTER).write_text(""), "config cannot be read"),
    "bytes": (lambda folder: (folder / ADAPTER).write_bytes(b"\xff\xfe"), "config cannot be read"),
    "list": (lambda folder: (folder / ADAPTER).write_text("[]"), "no config of an adapter"),
    "no kind": (settings_with(peft_type=None), "no config of an adapter"),
    "other kind": (settings_with(peft_type="NONE_SUCH"), "does not fit"),
    "no base": (settings_with(base_model_name_or_path=None), "does not say which model"),
    "lost base": (settings_with(base_model_name_or_path="/nowhere"), "there is no such folder"),
    "other rank": (settings_with(r=8), "does not fit"),
    "rank as text": (settings_with(r="many"), "does not fit"),
    "other modules": (settings_with(target_modules=["none_such"]), "does not fit"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "weights are missing"),
    "empty weights": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "the file is empty"),
    "lfs": (lambda folder: (folder / WEIGHTS).write_bytes(b"version https://git-lfs"), "Git LFS"),
    "html": (lambda folder: (folder / WEIGHTS).write_text("<html>"), "a web page"),
    "cut": (
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-99]),
        "the file is cut off",
    ),
    "half": (half, "the adapter lacks weights"),
    "record": (lambda folder: (folder / RECORD).write_text("{}"), "quantized by cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_adapter_is_named_with_its_fault(adapter, tmp_path, damage):
    folder = shutil.copytree(adapter[0], tmp_path / "adapter")
    change, said = DAMAGES[damage]
    change(folder)
    with pytest.raises(UserError, match=said) as error:
        load_model(str(folder), "causal")
    assert "\n  fix: " in str(error.value)


def test_a_quantized_base_is_what_the_adapter_stands_on(adapter, tmp_path):
    """Loading and merging take the weights that training computed with, and not the checkpoint's own."""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    folder = shutil.copytree(adapter[0], tmp_path / "adapter")
    nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="float32")
    base = AutoModelForCausalLM.from_pretrained(chain_of(folder).base, quantization_config=nf4)
    plain = base.dequantize(dtype=torch.float32)
    write_record(folder, nf4.to_dict())
    expected = logits(load_on(plain, folder))
    assert (expected - adapter[1]).abs().max() > 0.01
    whole = AutoModelForCausalLM.from_pretrained(merge_adapter(folder, tmp_path / "whole"), dtype="float32")
    torch.testing.assert_close(logits(whole), expected, atol=1e-4, rtol=0)
    assert "quantized to 4 bit" in Stack.of(folder).base_in_words
    trained = load_model(str(folder), "causal")
    assert quantization_of(trained)["load_in_4bit"]
    write_record(folder, None)
    assert Stack.of(folder).base_in_words == "" and not (folder / RECORD).exists()


def load_on(model, folder):
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder).eval()


def test_a_module_to_save_that_is_not_there_is_named(tiny_model_dir, tmp_path):
    """PEFT passes over names that match nothing, so a head would stay untrained without a word."""
    args = SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    adapter = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_haed"])
    with pytest.raises(UserError, match=r"no module 'lm_haed'.*Did you mean 'lm_head'"):
        SFTTrainer(str(tiny_model_dir), args, train_dataset=[{"text": "one"}], peft_config=adapter)


def test_an_adapter_that_does_not_fit_is_what_the_advice_is_about(tiny_model_dir):
    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "lm_head"], feedforward_modules=[])
    model = get_peft_model(base, config)
    with torch.no_grad():
        model.get_base_model().lm_head.ia3_l["default"].fill_(2.0)
    with pytest.raises(UserError) as error:
        certify(model)
    assert "leave the output head out" in error.value.fix and "IA3" in error.value.fix


def test_an_adapter_that_peft_cannot_merge_is_an_error_with_a_way_out(tiny_model_dir):
    base = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], lora_bias=True))
    with pytest.raises(UserError, match="PEFT cannot merge this adapter"):
        merged(model)
