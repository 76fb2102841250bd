"""TRL's options: every one has its standing, and the standing is enforced."""

import dataclasses
import importlib.util
import inspect
import json

import pytest
from transformers import HfArgumentParser
from trl_options import FILE, METHODS, collect, default_of

import burnish
from burnish.engine.compat import OWN_DEFAULTS, TRAINER_ARGUMENTS, check_arguments, standing_of
from burnish.errors import UserError

FACTS = json.loads(FILE.read_text())
CONFIGS = {method: getattr(burnish, f"{prefix}Config") for method, prefix in METHODS.items()}
TRAINERS = {method: getattr(burnish, f"{prefix}Trainer") for method, prefix in METHODS.items()}
OPTIONS = [(method, name) for method, options in FACTS["config"].items() for name in options]
OTHER_VALUES = {bool: True, int: 7, float: 0.3, str: "other", type(None): "other", list: ["other"]}


def with_standing(word):
    known = [(m, name) for m, name in OPTIONS if name in CONFIGS[m].__dataclass_fields__]
    return [(m, name) for m, name in known if standing_of(CONFIGS[m], name).word == word]


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_the_facts_are_those_of_the_installed_trl():
    import trl

    if trl.__version__ != FACTS["version"]:
        pytest.skip(f"the facts are of TRL {FACTS['version']}")
    assert json.loads(json.dumps(collect())) == FACTS


@pytest.mark.parametrize(("method", "name"), OPTIONS)
def test_every_option_has_a_standing_and_the_same_default_unless_it_says_otherwise(method, name):
    fields = {field.name: field for field in dataclasses.fields(CONFIGS[method])}
    assert name in fields, f"{name} is no field of {CONFIGS[method].__name__}"
    if standing_of(CONFIGS[method], name).word != "own default":
        assert default_of(fields[name]) == FACTS["config"][method][name]


def test_own_defaults_differ_from_trl():
    for name in OWN_DEFAULTS:
        fields = {field.name: field for field in dataclasses.fields(burnish.SFTConfig)}
        assert fields[name].default != FACTS["config"]["sft"][name]


@pytest.mark.parametrize(("method", "name"), with_standing("refused"))
def test_a_refused_option_stops_with_its_reason(method, name, tmp_path):
    value = OTHER_VALUES[type(FACTS["config"][method][name])]
    with pytest.raises(UserError) as caught:
        CONFIGS[method](output_dir=str(tmp_path), **{name: value})
    assert standing_of(CONFIGS[method], name).because in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(("method", "name"), with_standing("no effect"))
def test_an_option_without_effect_is_noted_and_set_back(method, name, tmp_path):
    default = FACTS["config"][method][name]
    config = CONFIGS[method](output_dir=str(tmp_path), **{name: OTHER_VALUES[type(default)]})
    assert [note for note in config.compat_notes if note.startswith(f"{name}=")]
    assert getattr(config, name) == default


def test_a_refused_option_may_have_a_value_that_asks_for_nothing(tmp_path):
    config = burnish.SFTConfig(output_dir=str(tmp_path), dataset_kwargs={"skip_prepare_dataset": False})
    assert config.compat_notes == []


@pytest.mark.parametrize("method", METHODS)
def test_trainer_arguments_are_taken_or_refused(method):
    ours = inspect.signature(TRAINERS[method]).parameters
    for name in FACTS["trainer"][method]:
        assert name in ours or name in TRAINER_ARGUMENTS, name


@pytest.mark.parametrize("name", TRAINER_ARGUMENTS)
def test_a_refused_trainer_argument_stops_with_its_reason(name):
    check_arguments({name: None})
    with pytest.raises(UserError, match="not supported"):
        check_arguments({name: print})


@pytest.mark.parametrize("method", METHODS)
def test_the_argument_parser_of_transformers_takes_the_config(method):
    parser = HfArgumentParser((burnish.ScriptArguments, CONFIGS[method], burnish.ModelConfig))
    words = "--dataset_name rows --model_name_or_path base --beta 0.3 --use_peft --learning_rate 1e-3".split()
    words = words if method == "dpo" else [word for word in words if word not in ("--beta", "0.3")]
    script, config, model = parser.parse_args_into_dataclasses(words)
    assert (script.dataset_name, config.learning_rate) == ("rows", 1e-3)
    assert burnish.get_peft_config(model).r == 16 and burnish.get_quantization_config(model) is None
    assert "No effect" in parser.format_help()
