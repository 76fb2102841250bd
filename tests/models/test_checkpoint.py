"""Weights come from the checkpoint, all of them; a damaged folder is named with its fault."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.errors import UserError
from burnish.evaluation.reward_model import RewardModel
from burnish.models.load import load_model, load_tokenizer
from tests.conftest import save_tiny_model

FILE = "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A language model with a head of its own, and a reward model."""
    folder = tmp_path_factory.mktemp("models")
    reward = {"model_class": "LlamaForSequenceClassification", "num_labels": 1}
    return {
        "causal": save_tiny_model(folder / "causal"),
        "reward": save_tiny_model(folder / "reward", **reward),
    }


def changed(models, folder, name, change):
    """A copy of a model with its tensors changed."""
    shutil.copytree(models[name], folder)
    tensors = change(load_file(folder / FILE))
    save_file(tensors, folder / FILE, metadata={"format": "pt"})
    return str(folder)


def without(*names):
    return lambda tensors: {key: value for key, value in tensors.items() if key not in names}


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("start", "change", "task", "said", "fix"),
    [
        ("causal", without(UP), "causal", rf"lacks {UP} of the 21 tensors", "complete checkpoint"),
        ("causal", without(UP), "reward", rf"lacks {UP} of the", "complete checkpoint"),
        ("reward", without(), "causal", r"lacks lm_head\.weight", "language model that it was made from"),
        ("reward", without("score.weight"), "reward", r"lacks score\.weight", "the head is missing"),
        (
            "causal",
            lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
            "causal",
            r"lacks 21 tensors \(lm_head\.weight, ",
            r"take 'module\.' off the names",
        ),
        (
            "causal",
            lambda tensors: {**tensors, UP: tensors[UP][:60].clone()},
            "causal",
            r"RuntimeError|has the shape \[60, 32\], and \[64, 32\] is needed",
            "fits the weights|belong together",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(models, tmp_path, start, change, task, said, fix):
    name = changed(models, tmp_path / "changed", start, change)
    with pytest.raises(UserError, match=said) as error:
        load_model(name, task)
    assert error.match(fix) and str(error.value).startswith(name)


def test_more_layers_in_the_config_than_in_the_file_are_refused(models, tmp_path):
    folder = shutil.copytree(models["causal"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="lacks 9 tensors"):
        load_model(str(folder), "causal")


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "burnish"]


def test_only_a_new_head_may_be_missing(models, tmp_path, caplog):
    for task in ("reward", "steps"):
        load_model(str(models["causal"]), task)
    load_model(str(models["causal"]), "causal")
    load_model(str(models["reward"]), "reward")
    assert not said(caplog)
    name = changed(
        models,
        tmp_path / "more",
        "causal",
        lambda tensors: {**tensors, "value_head.weight": torch.ones(1, 32)},
    )
    load_model(name, "causal")
    assert said(caplog) == [f"{name}: not loaded, as the model has no place for it: value_head.weight"]


class Bomb:
    def __reduce__(self):
        return print, ("it ran",)


def shards(folder):
    (folder / FILE).unlink()
    index = {"metadata": {}, "weight_map": {UP: "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def bomb(folder):
    (folder / FILE).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Bomb()}))


def config_with(**options):
    def change(folder):
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **options}))

    return change


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
DAMAGES = {
    "no weights": (lambda folder: (folder / FILE).unlink(), "holds no model that can be read"),
    "empty": (lambda folder: (folder / FILE).write_bytes(b""), f"{FILE}: the file is empty"),
    "lfs": (lambda folder: (folder / FILE).write_bytes(LFS), "a pointer of Git LFS"),
    "html": (lambda folder: (folder / FILE).write_text("<!DOCTYPE html><html>"), "a web page in place"),
    "cut": (
        lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-1000]),
        "the file is cut off: [0-9,]+ bytes of weights, and [0-9,]+ were written",
    ),
    "cut in its header": (
        lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes()[:300]),
        "the file is damaged",
    ),
    "noise": (lambda folder: (folder / FILE).write_bytes(bytes(range(256)) * 9), "the file is damaged"),
    "lost shard": (shards, "1 of 1 files of weights are not there, the first is model-00001"),
    "pickle": (bomb, "a pickle with more in it than tensors"),
    "empty config": (lambda folder: (folder / "config.json").write_text(""), "config.json: this is not JSON"),
    "list": (lambda folder: (folder / "config.json").write_text("[]"), "config.json: this is no JSON object"),
    "bytes": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{"), "this is not JSON"),
    "type": (config_with(model_type="nothing"), "holds no model that can be read"),
    "type as number": (config_with(model_type=3), "holds no model that can be read"),
    "size as text": (
        config_with(hidden_size="many"),
        "holds no model that can be read|hidden_size is 'many'",
    ),
    "no layers": (config_with(num_hidden_layers=-1), "num_hidden_layers is -1"),
    "heads": (config_with(num_attention_heads=0), "holds no model that can be read"),
    "rope": (config_with(rope_scaling={"rope_type": "none such"}), "holds no model that can be read"),
    "activation": (config_with(hidden_act="none such"), "holds no model that can be read"),
    "dtype": (config_with(dtype="float17"), "holds no model that can be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_named_with_its_fault(models, tmp_path, damage, capsys):
    folder = shutil.copytree(models["causal"], tmp_path / "model")
    change, said = DAMAGES[damage]
    change(folder)
    with pytest.raises(UserError, match=said) as error:
        load_model(str(folder), "causal")
    assert str(error.value).startswith(str(folder)) and "\n  fix: " in str(error.value)
    assert "weights_only" not in str(error.value) and "it ran" not in capsys.readouterr().out


def test_a_damaged_reward_model_and_tokenizer_are_named_too(models, tmp_path):
    folder = shutil.copytree(models["reward"], tmp_path / "model")
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: this is not JSON"):
        RewardModel.load(str(folder))
    (folder / "tokenizer.json").write_text('{"version": 7}')
    with pytest.raises(UserError, match="no tokenizer could be loaded"):
        load_tokenizer(str(folder))
