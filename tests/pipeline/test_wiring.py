"""Adapters across stages: which goes on, what is merged, what the reference is; decided, and as numbers."""

import json

import pytest
import torch

from burnish.cli import main
from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import TOP_KEYS, read_pipeline
from tests.conftest import write_rows

FAST = (
    "use_peft: true, max_steps: 3, per_device_train_batch_size: 4, logging_steps: 1, save_strategy: no, "
    "report_to: none, learning_rate: 1e-2, lora_dropout: 0.0, bf16: false"
)
STAGES = """\
- {name: sft, dataset: chats.jsonl}
- {name: dpo, model: sft, dataset: pairs.jsonl}
- {name: kto, model: dpo, dataset: pairs.jsonl, lora_r: 4}
- {name: judge, method: reward, model: sft, dataset: pairs.jsonl, use_peft: false}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model_dir, chats_file, pairs_file):
    """A folder in which four stages have been trained into `out`."""
    folder = tmp_path_factory.mktemp("wiring")
    write_rows(folder / "chats.jsonl", [json.loads(line) for line in chats_file.read_text().splitlines()])
    write_rows(folder / "pairs.jsonl", [json.loads(line) for line in pairs_file.read_text().splitlines()])
    (folder / "chat.yaml").write_text(
        f"output_dir: out\ndefaults: {{{FAST}, model: {tiny_model_dir}}}\nstages:\n{STAGES}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            main(["run", "chat.yaml", "--set", "dpo.save_steps=1", "--set", "dpo.save_strategy=steps"]) == 0
        )
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def prepared(*assignments):
    stages = read_pipeline(read_layers("chat.yaml", assignments, TOP_KEYS)).prepare()
    return {stage.name: stage for stage in stages}


def decisions(stage):
    return {decision.what: decision.choice for decision in stage.decisions}


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.arange(3, 40)[None]).logits


def with_adapter(folder):
    from burnish.models.load import load_model

    return load_model(str(folder), "causal")


def test_what_is_decided_for_each_stage(folder):
    found = {name: decisions(stage) for name, stage in prepared().items()}
    assert found["sft"]["adapter"].startswith("a new one on ")
    assert found["dpo"] == {
        "adapter": "that of 'sft' goes on",
        "reference": "a frozen copy of the adapter of 'sft', on the same base",
    }
    assert found["kto"]["merge"] == "the adapter of 'dpo' into its base, before step 1"
    assert found["kto"]["reference"] == "the model under the new adapter"
    assert found["judge"] == {
        "merge": "the adapter of 'sft' into its base, before step 1",
        "adapter": "none",
    }
    written = json.loads((folder / "out" / "kto" / "run.json").read_text())["decisions"]
    assert {each["what"]: each["choice"] for each in written} == found["kto"]
    assert "lora_r is 4, and was 16" in written[0]["why"]


def test_dpo_after_sft_starts_with_a_margin_of_exactly_nothing(folder):
    state = json.loads((folder / "out" / "dpo" / "checkpoint-3" / "trainer_state.json").read_text())
    first, *_, last = [entry for entry in state["log_history"] if "loss" in entry]
    assert (first["step"], first["rewards/margins"], first["rewards/chosen"]) == (1, 0.0, 0.0)
    assert last["rewards/margins"] != 0.0


def test_the_reference_is_what_sft_saved_whatever_becomes_of_the_policy(folder):
    from burnish.data.example import TokenizedExample
    from burnish.data.forest import Forest
    from burnish.models.certify import certify
    from burnish.models.score import score

    trainer = prepared()["dpo"]._trainer()
    trainer.get_ready()
    forest = Forest.pack([TokenizedExample.from_row(row) for row in trainer.train_dataset])
    for name, weight in trainer.model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(weight.data)
    sft = with_adapter("out/sft").eval()
    certify(sft, max_length=64)
    with torch.no_grad():
        expected = forest.per_branch(score(sft, forest).logprob)
        policy = forest.per_branch(score(trainer.model.eval(), forest).logprob)
    torch.testing.assert_close(trainer.reference.logprob(trainer.model, forest), expected)
    assert (policy - expected).abs().max() > 1


@pytest.mark.parametrize(("merged", "adapter"), [("kto/base", "dpo"), ("new", "kto")])
def test_a_merged_model_equals_its_adapters(merged, adapter, folder):
    """`kto/base` is what the pipeline merged; `new` stands for both: the adapter of kto on that model."""
    from transformers import AutoModelForCausalLM

    from burnish.export.merge import merge_adapter

    path = folder / "out" / merged
    if merged == "new":
        merge_adapter(folder / "out" / adapter, path)
    one, two = logits(AutoModelForCausalLM.from_pretrained(path)), logits(with_adapter(f"out/{adapter}"))
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    assert (one - logits(with_adapter("out/sft"))).abs().max() > 1e-3


def test_a_reward_model_is_trained_on_the_merged_adapter(folder):
    """Its backbone began as SFT's: a learning rate next to nothing leaves it there, head and all."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from burnish.export.merge import merge_adapter

    assert not (folder / "out" / "judge" / "base").exists()  # it is in the result
    assert main(["run", "chat.yaml", "--set", "judge.learning_rate=1e-20", "--set", "output_dir=still"]) == 0
    merged = merge_adapter(folder / "still" / "sft", folder / "still" / "merged")
    backbone = AutoModelForSequenceClassification.from_pretrained(folder / "still" / "judge").model
    expected = AutoModelForCausalLM.from_pretrained(merged).model
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(backbone.get_parameter(name), weight)


def test_a_verb_on_an_adapter_decides_in_the_same_way(folder, capsys):
    words = "--dataset_name pairs.jsonl --max_steps 1 --save_strategy no --report_to none --use_peft".split()
    model = ["--model_name_or_path", "out/sft"]
    assert main(["dpo", *model, *words, "--lora_dropout", "0", "--output_dir", "alone"]) == 0
    (adapter, reference) = json.loads((folder / "alone" / "run.json").read_text())["decisions"]
    assert adapter["choice"] == "that of out/sft goes on"
    assert reference["choice"] == "a frozen copy of the adapter of out/sft, on the same base"
    assert main(["dpo", *model, *words, "--lora_r", "2", "--output_dir", "alone2"]) == 0
    assert json.loads((folder / "alone2" / "adapter_config.json").read_text())["base_model_name_or_path"] == (
        "alone2/base"
    )
