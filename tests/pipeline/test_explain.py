"""`burnish explain`: every option of every method can be explained, without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.cli import main
from burnish.engine.ranges import UNITS
from burnish.errors import UserError
from burnish.pipeline.catalog import Said
from burnish.pipeline.docstrings import table_said
from burnish.pipeline.explain import ASIDE, BURNISH_ONLY, EXAMPLES, LOSS_TABLES, TOPICS, explain
from burnish.pipeline.fields import class_fields
from burnish.pipeline.methods import METHODS
from burnish.pipeline.settings import Setting, read_value

OPTIONS = {name for method in METHODS.values() for name in method.fields()}
TRL = json.loads((Path(__file__).parent.parent / "engine" / "trl_options.json").read_text())["config"]


@pytest.mark.parametrize("method", METHODS)
def test_every_option_has_an_explanation_whose_example_is_right(method):
    import yaml

    for name, field in METHODS[method].fields().items():
        found = explain(f"{method}.{name}")
        assert found.help and found.type and found.trl and found.methods == [method]
        (value,) = yaml.load(found.yaml, yaml.BaseLoader).values()  # as settings are: scalars as text
        read_value(Setting(value, ""), field)


@pytest.mark.parametrize("place", LOSS_TABLES, ids=".".join)
def test_choices_have_their_formulas_as_the_functions_say_them(place):
    from importlib import import_module

    module, name = LOSS_TABLES[place]
    functions = getattr(import_module(module), name)
    assert table_said(module, name) == {key: Said.of(function) for key, function in functions.items()}
    choices = {choice.value: choice.formula for choice in explain(".".join(place)).choices}
    assert set(functions) <= set(choices) and all(choices[key] for key in functions)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_answered_by_its_option(topic):
    option, sentence = TOPICS[topic]
    found = explain(topic)
    assert (found.name, found.called) == (option, sentence)
    assert topic not in OPTIONS and option in sentence


def test_tables_are_of_options_that_exist():
    assert {*UNITS, *ASIDE, *EXAMPLES} <= OPTIONS


def test_what_is_said_to_be_burnish_s_own_is_not_trl_s():
    own = {name for each in TRL.values() for name in each}
    shared = {name for owner in ("ModelConfig", "ScriptArguments") for name in fields_of(owner)}
    trainer = set(class_fields("transformers", "TrainingArguments"))
    assert not BURNISH_ONLY & (own | trainer)
    earlier = {"step_separator", "train_on_last_step_only"}  # of PRMConfig, as long as TRL had it
    declared = {
        name
        for method in METHODS.values()
        for name, field in method.fields().items()
        if "Trl" not in field.owner and name not in own | trainer | shared | earlier
    }
    assert declared | {"eval_dataset_name"} == BURNISH_ONLY


def fields_of(owner):
    return {name for name, field in METHODS["sft"].fields().items() if field.owner == owner}


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("learning_rate", ["2e-5 (sft, gkd)", "at least 0 and below 1", "methods    all", "--learning_rate"]),
        ("dpo.loss_type", ["ipo", "(margin per token - 1 / (2 beta))²", "arXiv:2310.12036"]),
        ("loss_type", ["burnish explain kto.loss_type"]),
        ("use-peft", ["lora_r", "true or false"]),
        ("simpo_gamma", ["loss_type: simpo or alphapo", "methods    cpo"]),
        ("padding_free", ["no effect: every batch is packed"]),
        ("max_steps", ["in place of num_train_epochs", "optimizer steps"]),
        ("micro_batch_size", ["Axolotl's 'micro_batch_size' is called per_device_train_batch_size here"]),
        ("flash_attention", ["needs no counterpart here: the fastest exact attention"]),
        ("fp16", ["refused"]),
        ("eval_strategy", ["no, steps, epoch"]),
    ],
)
def test_what_is_shown(key, parts, capsys):
    assert main(["explain", key]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in parts), out
    assert max(map(len, out.splitlines())) <= 112


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lerning_rate", "Did you mean 'learning_rate'?"),
        ("ipo", "a value of dpo.loss_type, cpo.loss_type and tpo.loss_type."),
        ("dpo.desirable_weight", "is an option of kto, not of dpo"),
        ("dop.beta", "there is no method 'dop'. Did you mean 'dpo'?"),
    ],
)
def test_what_is_unknown(key, message, capsys):
    assert main(["explain", key]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(UserError):
        explain(key)


def test_json_is_one_object(capsys):
    assert main(["explain", "beta", "--method", "dpo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["defaults"], found["range"]) == ("beta", {"dpo": 0.1}, "above 0")
    assert main(["explain", "s2_attention", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == ""


def test_env_as_json(capsys):
    assert main(["env", "--json"]) == 0
    assert {"burnish", "torch", "memory"} <= set(json.loads(capsys.readouterr().out))


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from burnish.cli import main; main(['explain', 'dpo.loss_type'])\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
