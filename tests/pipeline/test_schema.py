"""The JSON Schema says of files what reading them says: what is right is right, what is broken is broken."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from burnish.cli import main
from burnish.pipeline.methods import METHODS
from burnish.pipeline.run import TOP_KEYS
from burnish.pipeline.schema import TOP, schema_of
from burnish.pipeline.settings import Loader

ROOT = Path(__file__).parent.parent.parent


class Core(Loader):
    """As editors read YAML: `no` is a word."""


Core.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":bool") or first in "tTfF"]
    for first, pairs in Loader.yaml_implicit_resolvers.items()
}


def read(text):
    return yaml.load(text, Core)


def faults(name, text):
    validator = jsonschema.Draft202012Validator(schema_of(name))
    return [error.message for error in validator.iter_errors(read(text))]


@pytest.mark.parametrize("name", ["pipeline", *METHODS])
def test_it_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


def test_the_example_is_right():
    assert faults("pipeline", (ROOT / "examples" / "pipeline.yaml").read_text()) == []


RIGHT = """
env: {TOKENIZERS_PARALLELISM: false}
compare: {prompts: held.jsonl, models: [base, sft], score: "task.py:grade", max_new_tokens: 32}
output_dir: out
defaults: {model: base, num_train_epochs: 1, save_strategy: no, beta: 0.2, lora_target_modules: all-linear}
stages:
- {name: sft, dataset: chats.jsonl, learning_rate: 2e-5, max_length: null, packing: true}
- {method: reward, name: judge, dataset: [a.jsonl, b.jsonl], loss_type: focal, focal_gamma: 1}
- method: dpo
  datasets: [{path: pairs.jsonl, weight: 0.5}]
  loss_type: [sigmoid, sft]
  loss_weights: [1, 0.5]
  max_steps: -1
  report_to: [tensorboard]
  lr_scheduler_type: cosine
  model_init_kwargs: {attn_implementation: eager}
"""


def test_a_whole_pipeline_is_right():
    assert faults("pipeline", RIGHT) == []


@pytest.mark.parametrize(
    "text",
    [
        RIGHT.replace("learning_rate", "lerning_rate"),
        RIGHT.replace("2e-5", "2e5"),
        RIGHT.replace("2e-5", "fast"),
        RIGHT.replace("max_steps: -1", "max_steps: 0"),
        RIGHT.replace("loss_type: focal", "loss_type: sigmoid"),
        RIGHT.replace("[sigmoid, sft]", "[sigmoid, hing]"),
        RIGHT.replace("method: dpo", "method: dop"),
        RIGHT.replace("packing: true", "beta: 0.1"),
        RIGHT.replace("output_dir", "outputdir"),
        RIGHT.replace("lr_scheduler_type: cosine", "lr_scheduler_type: cosin"),
        "defaults: {max_length: 12}",
        "stages: []",
    ],
)
def test_what_is_broken_is_broken(text):
    assert faults("pipeline", text)


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_right_and_every_option_is_described(method):
    schema = schema_of(method)
    known = schema["properties"]
    assert set(known) == {"env", *METHODS[method].fields()} and all(
        each["description"] for each in known.values()
    )
    defaults = {name: each["default"] for name, each in known.items() if "default" in each}
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(defaults)] == []


def test_every_key_at_the_top_is_described():
    assert set(TOP_KEYS) <= set(TOP)


def test_the_verb_prints_it(capsys):
    assert main(["schema", "dpo"]) == 0
    assert json.loads(capsys.readouterr().out) == schema_of("dpo")
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A pipeline of Burnish"
    assert main(["schema", "dop"]) == 2
    assert "Did you mean 'dpo'?" in capsys.readouterr().err
