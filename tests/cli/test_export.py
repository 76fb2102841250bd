"""burnish merge and export, as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from burnish.cli import main
from tests.conftest import save_tiny_model
from tests.export.test_merge import add_adapter


def burnish(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "burnish", *map(str, words)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taken")
    add_adapter(save_tiny_model(folder / "base"), folder / "lora")
    return folder / "lora"


def test_merge(adapter):
    done = burnish("merge", adapter)
    assert "DIFFERS" not in done.stdout
    for line in (
        "merging",
        "weights",
        "greedy text",
        "it speaks",
        "3 chats render the same",
        "It is what was trained in",
    ):
        assert line in " ".join(done.stdout.split())
    assert not done.stderr
    again = burnish("merge", adapter, code=2)
    assert "not overwritten" in again.stderr and "--output" in again.stderr


def test_export_as_json(adapter, tmp_path):
    done = burnish("export", adapter, "--dtype", "bfloat16", "--output", tmp_path / "out", "--json")
    found = json.loads(done.stdout)
    assert found["passed"] and found["dtype"] == "bfloat16"
    assert found["files"].keys() >= {"model.safetensors", "verify.json", "chat_template.jinja"}
    assert found["bytes"] == sum(found["files"].values())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["export", "ADAPTER", "--to", "olama"], "Did you mean 'ollama'"),
        (["export", "ADAPTER", "--dtype", "half"], "no dtype of weights"),
        (["export", "./none"], "no such model folder"),
        (["merge", "BASE"], "no adapter to merge"),
    ],
)
def test_wrong_words(adapter, capsys, words, answer):
    places = {"ADAPTER": str(adapter), "BASE": str(adapter.parent / "base")}
    assert main([places.get(word, word) for word in words]) == 2
    assert answer in capsys.readouterr().err


def test_a_run_leaves_its_card(tiny_model_dir, chats_file, tmp_path):
    burnish(
        *("sft", "--model_name_or_path", tiny_model_dir, "--dataset_name", chats_file, "--use_peft"),
        *("--max_steps", 2, "--learning_rate", 1e-3, "--output_dir", tmp_path / "run"),
    )
    card = (tmp_path / "run" / "README.md").read_text()
    for fact in (
        "- burnish",
        "chats.jsonl | train | 16 |",
        "2 steps, seed 42",
        "| `learning_rate` | 0.001 |",
    ):
        assert fact in card, card
    assert "More Information Needed" not in card
