"""burnish push: to a hub on this machine, private, and only what others need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import save_tiny_model
from tests.export.hub import Hub, hub
from tests.export.test_card import TOKEN, a_run


def burnish_push(*words, code=0, **environment):
    """Run it in a process of its own, since the hub's address is read when its client is imported."""
    known = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "push", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**known, "HF_HOME": "/nonexistent", **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = a_run(tmp_path_factory.mktemp("push") / "dpo", "dpo", "dpo", "owner/base")
    save_tiny_model(folder)
    (folder / "checkpoint-3").mkdir()
    for name in (
        "optimizer.pt",
        "training_args.json",
        "metrics.jsonl",
        "samples.jsonl",
        "checkpoint-3/model.safetensors",
    ):
        (folder / name).write_text("not to be seen")
    return folder


WANTED = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def test_the_list_comes_first_and_asks_nobody(run_folder):
    done = burnish_push(run_folder, "nora/dpo", "--dry-run", "--json", HF_HUB_OFFLINE="1")
    found = json.loads(done.stdout)
    assert found["files"].keys() == WANTED
    assert found["private"] is True and found["address"] is None


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({}, "hf auth login"),
        ({"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub was not reached"),
    ],
)
def test_it_refuses_politely(run_folder, environment, answer):
    done = burnish_push(run_folder, "nora/dpo", code=2, **environment)
    assert answer in done.stderr and "Traceback" not in done.stderr
    assert "model.safetensors" in done.stdout  # what would have been uploaded


def test_private_unless_told_otherwise(run_folder):
    with hub() as (address, repositories):
        there = {"HF_ENDPOINT": address, "HF_TOKEN": Hub.token}
        done = burnish_push(run_folder, "mine", **there)
        assert f"{address}/nora/mine/commit/1" in done.stdout
        assert repositories["nora/mine"]["private"] is True
        files = repositories["nora/mine"]["files"]
        assert files.keys() == WANTED
        assert files["model.safetensors"] == (run_folder / "model.safetensors").read_bytes()
        card = files["README.md"].decode()
        assert 'from_pretrained("nora/mine")' in card and TOKEN not in card
        burnish_push(run_folder, "nora/open", "--public", **there)
        assert repositories["nora/open"]["private"] is False
        done = burnish_push(run_folder, "nora/open", code=2, **there)
        assert "everyone can read it" in done.stderr
        done = burnish_push(run_folder, "mine", code=2, HF_ENDPOINT=address, HF_TOKEN=TOKEN)
        assert "the token is not known there" in done.stderr


def test_an_adapter_on_a_folder_of_this_machine_is_said(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path)}))
    done = burnish_push(tmp_path, "nora/lora", "--dry-run", HF_HUB_OFFLINE="1")
    assert "nobody else can load it" in done.stderr and "burnish merge" in done.stderr


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    done = burnish_push(tmp_path, "nora/nothing", code=2, HF_HUB_OFFLINE="1")
    assert "no weights in this folder" in done.stderr
