"""Configurations of other tools become pipelines that load; no key is dropped in silence."""

import json
import re

import goldens
import pytest
import yaml

from burnish.cli import main
from burnish.errors import UserError
from burnish.pipeline.foreign.convert import AXOLOTL, LLAMA_FACTORY, TRL, convert
from burnish.pipeline.foreign.names import NoCounterpart
from burnish.pipeline.foreign.tables import TOOLS
from burnish.pipeline.foreign.write import imported
from burnish.pipeline.methods import METHODS
from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import read_pipeline
from burnish.pipeline.settings import resolve

CASES = goldens.cases("foreign.yaml")
OPTIONS = {name for method in METHODS.values() for name in method.fields()}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "described").mkdir()
    info = {"mine": {"file_name": "mine.json", "formatting": "sharegpt", "columns": {"messages": "turns"}}}
    (tmp_path / "described" / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def write(folder, case):
    (folder / case["file"]).write_text(case["config"] + "\n")
    return case["file"]


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_it(name, here):
    file = write(here, CASES[name])
    try:
        said = imported(file)[1].rstrip("\n")
    except UserError as error:
        said = f"error: {error}"
    goldens.check("foreign.yaml", name, "says", said)
    assert len(said.splitlines()) < 80


READ = [name for name, case in CASES.items() if not str(case["says"]).startswith("error")]


@pytest.mark.parametrize("name", READ)
def test_every_key_is_accounted_for_and_the_file_loads(name, here):
    file = write(here, CASES[name])
    found, text = imported(file)
    origins = {line.origin for line in (*found.top.values(), *found.lines.values())}
    parts = {re.split(r"[.\[]", key)[0] for key in (*found.missing, *found.unneeded)}
    for key in yaml.safe_load(CASES[name]["config"]):
        assert key in origins | parts, key
    (here / "made.yaml").write_text(text)
    (stage,) = read_pipeline(read_layers("made.yaml")).stages
    values = resolve(stage.settings, stage.method.fields(), "")
    assert {name for name in values if name != "output_dir"} == set(found.lines)


@pytest.mark.parametrize("tool", TOOLS)
def test_names_in_tables_are_options_here(tool):
    for name, entry in TOOLS[tool].items():
        assert entry.ours in {"", *OPTIONS}, name
        assert entry.ours or entry.note, f"{name} has neither a name nor a reason"


@pytest.mark.parametrize("tool", [AXOLOTL, LLAMA_FACTORY, TRL], ids=lambda tool: tool.name)
def test_translations_give_options(tool):
    values = {
        "datasets": [{"path": "a"}],
        "test_datasets": [{"path": "a"}],
        "pretraining_dataset": [{"path": "a"}],
    }
    words = {"adapter": "lora", "special_tokens": {"eos_token": "x"}, "finetuning_type": "lora", "bf16": True}
    words |= {"excess_length_strategy": "drop", "quantization_bit": 4, "quantization_method": "bnb"}
    words |= {"chat_template": "tokenizer_default", "pref_loss": "ipo"}
    for name, entry in tool.table.items():
        value = {**values, **words}.get(name, 1)
        try:
            made = entry.settings(value, {})
        except NoCounterpart:
            pytest.fail(f"{name} refuses {value!r}")
        assert set(made) <= {*OPTIONS, "env", "notes", "missing"}, name


def test_a_tool_s_defaults_are_written_where_they_differ(here):
    found = convert({"base_model": "m", "datasets": [{"path": "a.jsonl"}], "adapter": "lora"}, "a.yaml")
    made = {name: line.value for name, line in found.lines.items()}
    assert (
        made["max_length"] == 512 and made["lr_scheduler_type"] == "cosine" and made["num_train_epochs"] == 1
    )
    assert made["lora_dropout"] == 0 and made["truncation_mode"] == "drop"
    found = convert({"model_name_or_path": "m", "stage": "sft", "dataset": "a"}, "a.yaml")
    made = {name: line.value for name, line in found.lines.items()}
    assert made["use_peft"] is True and (made["lora_r"], made["lora_alpha"]) == (8, 16)
    assert made["max_length"] == 2048 and made["learning_rate"] == 5e-5


def test_what_a_run_would_refuse_is_said(here):
    config = {
        "model_name_or_path": "m",
        "dataset_name": "a",
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
    }
    found = convert(config, "sft.yaml")
    assert any("load_best_model_at_end needs" in warning for warning in found.warnings)


def test_the_verb_writes_a_file_once(here, capsys):
    file = write(here, CASES["Axolotl, DPO"])
    assert main(["import", file, "--output", "pipeline.yaml"]) == 0
    out = capsys.readouterr().out
    assert "Axolotl → dpo: " in out and "wrote  pipeline.yaml" in out and "lr_scheduler: " in out
    assert (here / "pipeline.yaml").read_text() == imported(file)[1]
    assert main(["import", file, "--output", "pipeline.yaml"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_verb_prints_yaml_or_json(here, capsys):
    file = write(here, CASES["TRL, without a word of its method"])
    assert main(["import", file]) == 2
    assert main(["import", file, "--method", "orpo"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["stages"][0]["method"] == "orpo"
    assert main(["import", file, "--method", "orpo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["text"] == printed and found["settings"]["learning_rate"]["value"] == 1e-6


INFO = {
    "alpaca": {"file_name": "alpaca.jsonl", "columns": {"prompt": "q", "history": "before"}},
    "chats": {"file_name": "chats.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}},
    "judged": {"file_name": "judged.jsonl", "formatting": "sharegpt", "columns": {"kto_tag": "good"}},
}


@pytest.mark.parametrize(
    ("names", "more", "wanted", "without"),
    [
        ("chats", {"mask_history": True}, {"last_turn_only_loss": True}, ""),
        ("chats", {}, {"assistant_only_loss": True}, ""),
        ("alpaca,chats", {"mask_history": True}, {"last_turn_only_loss": True}, ""),
        ("alpaca,chats", {}, {"assistant_only_loss": True}, ""),
        ("chats,elsewhere", {}, {"assistant_only_loss": True}, ""),
        ("elsewhere", {"mask_history": True}, {}, "which rows are chats is not known"),
        ("alpaca", {"mask_history": True}, {}, "which rows are chats is not known"),
        ("judged", {"stage": "kto"}, {}, ""),
    ],
)
def test_users_turns_of_chats_are_not_trained(names, more, wanted, without, here):
    (here / "data").mkdir()
    (here / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    config = {"model_name_or_path": "m", "stage": "sft", "dataset": names, "finetuning_type": "full", **more}
    (here / "own.yaml").write_text(yaml.safe_dump(config))
    found, text = imported("own.yaml")
    losses = {name: line.value for name, line in found.lines.items() if name.endswith("_only_loss")}
    assert losses == wanted
    assert without in found.missing.get("mask_history", "") and bool(without) == (
        "mask_history" in found.missing
    )
    if "alpaca" in names:
        assert "without a counterpart: history" in text and "columns: {instruction: q}" in text
    if "alpaca,chats" in names:
        assert "the Alpaca rows among them" in text
    if "judged" in names:
        assert "columns: {label: good}" in text
    if names == "elsewhere":
        assert "if they are chats, add assistant_only_loss: true" in text
