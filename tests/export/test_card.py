"""The model card has every fact that the run left, and no secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from peft import LoraConfig

from burnish import RewardConfig, RewardTrainer
from burnish.errors import UserError
from burnish.export.card import card, front_matter, is_ours, write_card
from burnish.export.facts import facts_of

TOKEN = "hf_" + "abcDEF123456" * 2


def a_run(folder: Path, name: str, method: str, model: str, **more) -> Path:
    """A run's folder with its `run.json` and a config."""
    folder.mkdir(parents=True)
    data = {"train": [{"name": f"rows-for-{name}.jsonl", "rows": 1200, "sha256": "5ba1" * 16}], "eval": []}
    run = {
        "format": 1,
        "burnish": "0.1.0",
        "name": name,
        "method": method,
        "status": "finished",
        "seconds": 4000.0,
        "command": f"burnish {method} --learning_rate 1e-5 --hub_token {TOKEN} --eos_token '<|im_end|>'",
        "seed": 42,
        "versions": {"burnish": "0.1.0", "torch": "2.13.0"},
        "machine": {"cpu": "AMD EPYC", "cores": 2, "device": "cpu", "memory_bytes": 25_000_000_000},
        "inputs": {"data": data, "model": {"name": model, "sha256": "aa", "stage": None}},
        "key": f"key-of-{name}-" + "0" * 40,
        "config": {"loss_type": ["ipo", "sft"] if method == "dpo" else "nll"},
        "given": {"learning_rate": 1e-5, "hub_token": TOKEN, "report_to": ["wandb"]},
        "defaults": {"learning_rate": 1e-6},
        "decisions": [{"what": "reference", "choice": "adapter off", "why": "an adapter is trained"}],
        "measured": {"peak_bytes": 4_200_000_000},
        "steps": 150,
        "metrics": {"loss": 0.5123, "eval_loss": 0.6123, "step": 150},
        **more,
    }
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    return folder


@pytest.fixture
def two_runs(tmp_path):
    sft = a_run(tmp_path / "sft", "sft", "sft", "HuggingFaceTB/SmolLM2-135M")
    dpo = a_run(tmp_path / "dpo", "dpo", "dpo", str(sft))
    report = {
        "name": "rows-for-dpo.jsonl",
        "kept": 1180,
        "read": 1200,
        "dropped": {"longer than 1,024 tokens": {"count": 20, "rows": [3, 4], "first": ""}},
        "tokens": 90_000,
        "trained_tokens": 30_000,
        "longest": 1001,
    }
    (dpo / "preparation.json").write_text(json.dumps({"train": [report]}))
    comparison = {
        "format": 1,
        "prompts": {"name": "held_out.jsonl", "rows": 96, "sha256": "cc"},
        "models": [{"name": "base", "path": "x"}, {"name": "dpo", "path": "y"}],
        "measures": [
            {
                "name": "reward",
                "models": [
                    {"mean": -3.24, "low": -3.5, "high": -3.0},
                    {"mean": 4.03, "low": 3.9, "high": 4.1},
                ],
            }
        ],
    }
    (tmp_path / "comparison.json").write_text(json.dumps(comparison))
    return dpo


def test_every_fact_is_in_it(two_runs):
    text = card(facts_of(two_runs))
    for fact in (
        "made from HuggingFaceTB/SmolLM2-135M by supervised fine-tuning and then direct preference",
        "| rows-for-dpo.jsonl | train | 1,200 | `5ba15ba15ba15ba1` |",
        "1,180 of 1,200 rows were used, 20 left out: longer than 1,024 tokens",
        "30,000 of their 90,000 tokens are trained",
        "150 steps, seed 42",
        "AMD EPYC, 2 cores in 1 h 07 min, with at most 4.20 GB of memory",
        "| `learning_rate` | 1e-05 | 1e-06 |",
        "| `eval_loss` | 0.6123 |",
        "| reward | -3.24 [-3.5, -3] | 4.03 [3.9, 4.1] |",
        "| 1 | sft (sft) | rows-for-sft.jsonl | `key-of-sft-00000` |",
        "| 2 | dpo (dpo) | rows-for-dpo.jsonl | `key-of-dpo-00000` |",
        "- reference: adapter off, because an adapter is trained",
        "burnish 0.1.0, torch 2.13.0",
        "eprint = {2305.18290}",  # of the method
        "eprint = {2310.12036}",  # of the loss that was chosen
        "--eos_token '<|im_end|>'",
    ):
        assert fact in text, fact
    assert TOKEN not in text and "--hub_token [hidden]" in text
    assert "More Information" not in text and "report_to" not in text


def test_the_front_matter_is_what_the_hub_reads(two_runs):
    header = re.match(r"---\n(.*?)\n---\n", card(facts_of(two_runs)), re.DOTALL)
    assert header is not None
    assert yaml.safe_load(header[1]) == {
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["burnish", "dpo", "sft"],
    }


def test_names_of_the_hub_and_a_licence(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A base\n")
    run = a_run(tmp_path / "run", "sft", "sft", str(base))
    record = json.loads((run / "run.json").read_text())
    record["inputs"]["data"]["train"].append({"name": "HuggingFaceH4/ultrachat_200k#500", "rows": 500})
    (run / "run.json").write_text(json.dumps(record))
    found = front_matter(facts_of(run))
    assert found["license"] == "apache-2.0"
    assert found["datasets"] == ["HuggingFaceH4/ultrachat_200k#500".split("#")[0]]
    assert "base_model" not in found  # a folder of this machine
    assert str(tmp_path) not in card(facts_of(run))


def test_an_adapter_of_a_reward_model_without_a_record(tmp_path):
    adapter = {"peft_type": "LORA", "r": 8, "task_type": "SEQ_CLS", "base_model_name_or_path": "owner/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "README.md").write_text("[More Information Needed]")
    assert not is_ours(tmp_path / "README.md")
    text = write_card(tmp_path).read_text()
    assert is_ours(tmp_path / "README.md")
    for part in ("library_name: peft", "base_model_relation: adapter", "- reward-model", "of rank 8"):
        assert part in text
    assert "## Training" not in text and "## Data" not in text


def test_no_model_no_card(tmp_path):
    with pytest.raises(UserError, match="no model is in this folder"):
        write_card(tmp_path)


@pytest.fixture(scope="module")
def trained(tiny_model_dir, pairs_file, tmp_path_factory):
    """A trainer in a script of one's own, which leaves no `run.json`, after a step of training."""
    out = tmp_path_factory.mktemp("trained") / "out"
    args = RewardConfig(output_dir=str(out), max_steps=1, report_to="none", save_strategy="no")
    adapter = LoraConfig(r=4, target_modules=["q_proj"])
    trainer = RewardTrainer(str(tiny_model_dir), args, train_dataset=str(pairs_file), peft_config=adapter)
    trainer.train()
    trainer.save_model()
    return trainer


def written(trainer):
    text = (Path(trainer.args.output_dir) / "README.md").read_text()
    return yaml.safe_load(text.split("---\n")[1]), text


def test_a_card_from_a_script(trained):
    trained.create_model_card()
    front, text = written(trained)
    assert front["tags"] == ["burnish", "reward", "lora", "reward-model"]
    assert front["library_name"] == "peft" and "datasets" not in front
    assert "# out\n\nA reward model" in text and "AutoPeftModelForSequenceClassification" in text
    assert "num_labels=1)" in text and "pad_token_id = tokenizer.pad_token_id" in text
    trained.create_model_card("A judge", "nora/pairs", tags=["mine", "burnish"], license="mit", language="de")
    front, text = written(trained)
    assert front["tags"] == ["burnish", "reward", "lora", "reward-model", "mine"]
    assert (front["datasets"], front["license"], front["language"]) == (["nora/pairs"], "mit", "de")
    assert "# A judge\n" in text and "nora/pairs" in text


def test_a_push_from_a_script_takes_what_the_card_takes(trained, monkeypatch):
    sent = {}
    hub = SimpleNamespace(upload_folder=lambda **given: sent.update(given))
    monkeypatch.setattr("transformers.trainer.hf_api", lambda: hub)
    monkeypatch.setattr(trained, "hub_model_id", "nora/judge", raising=False)
    monkeypatch.setattr(trained, "push_in_progress", None, raising=False)
    trained.push_to_hub(dataset_name=["nora/pairs", "nora/others"], tags="mine")
    front, text = written(trained)
    assert sent["repo_id"] == "nora/judge" and front["datasets"] == ["nora/pairs", "nora/others"]
    assert "mine" in front["tags"] and "# out\n" in text
