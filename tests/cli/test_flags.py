"""Flags: spelling, booleans, lists, and what is refused."""

import pytest

from burnish.cli.flags import read_flags
from burnish.cli.method import take_config
from burnish.errors import UserError
from burnish.pipeline.fields import Field
from burnish.pipeline.methods import METHODS

FIELDS = {
    "learning_rate": Field("learning_rate", "float", "1e-6", "", "X"),
    "packing": Field("packing", "bool", "False", "", "X"),
    "loss_type": Field("loss_type", "list[str]", "['sigmoid']", "", "X"),
    "max_steps": Field("max_steps", "int", "-1", "", "X"),
}


def read(line):
    return {name: setting.value for name, setting in read_flags(line.split(), FIELDS, "burnish x").items()}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--learning_rate 1e-5", {"learning_rate": "1e-5"}),
        ("--learning-rate 1e-5", {"learning_rate": "1e-5"}),
        ("--learning_rate=1e-5", {"learning_rate": "1e-5"}),
        ("--packing", {"packing": "true"}),
        ("--packing false", {"packing": "false"}),
        ("--no_packing", {"packing": "false"}),
        ("--no-packing --max_steps -1", {"packing": "false", "max_steps": "-1"}),
        ("--loss_type sigmoid ipo --packing", {"loss_type": ["sigmoid", "ipo"], "packing": "true"}),
        ("--loss_type sigmoid,ipo", {"loss_type": "sigmoid,ipo"}),
        ("--max_steps 1 --max_steps 2", {"max_steps": "2"}),
    ],
)
def test_reads(line, values):
    assert read(line) == values


def test_model_and_dataset_are_short_for_their_options():
    fields = METHODS["sft"].fields()
    found = read_flags("--model tiny --dataset rows.jsonl".split(), fields, "burnish x")
    assert {name: setting.value for name, setting in found.items()} == {
        "model_name_or_path": "tiny",
        "dataset_name": "rows.jsonl",
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--lerning_rate 1", ["--lerning_rate: ", "Did you mean 'learning_rate'?"]),
        ("--learning_rate", ["--learning_rate: needs a value"]),
        ("--learning_rate 1 2", ["takes one value", "'1 2'"]),
        ("--no_packing true", ["takes no value"]),
        ("--no_learning_rate", ["no option 'no_learning_rate'"]),
        ("rows.jsonl --packing", ["'rows.jsonl'", "--name value"]),
    ],
)
def test_refuses(line, words):
    with pytest.raises(UserError) as caught:
        read(line)
    for word in words:
        assert word in str(caught.value)


def test_the_config_file_is_taken_out():
    assert take_config(["--a", "1", "--config", "x.yaml", "--b"]) == (["--a", "1", "--b"], "x.yaml")
    assert take_config(["--config=x.yaml"]) == ([], "x.yaml")
    assert take_config(["--a"]) == (["--a"], None)
    for words in (["--config"], ["--config", "--a"]):
        with pytest.raises(UserError, match="needs a file"):
            take_config(words)
