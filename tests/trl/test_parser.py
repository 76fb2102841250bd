"""`TrlParser`: dataclasses from a command line and a file."""

import os
from dataclasses import dataclass, field

import pytest

from burnish import DatasetMixtureConfig, DPOConfig, ModelConfig, ScriptArguments, SFTConfig, TrlParser
from burnish.errors import UserError


@dataclass
class Own:
    number: int
    name: str = "a"
    rate: float = 0.5
    on: bool = False
    words: list[str] = field(default_factory=list)
    when: str = "steps"
    resume: str | None = None


@dataclass
class Other:
    size: int = 1


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> list[str]:
        (tmp_path / "config.yaml").write_text(text)
        return ["--config", "config.yaml"]

    return write


def test_a_file_gives_defaults_that_flags_override(config):
    words = config("number: 3\nrate: 1e-5\non: true\nwords: [x, y]\nwhen: no\nresume: true\nsize: 4\n")
    own, other = TrlParser((Own, Other)).parse_args_and_config([*words, "--number", "7", "--size=2"])
    assert own == Own(7, rate=1e-5, on=True, words=["x", "y"], when="no", resume=True)  # type: ignore[arg-type]
    assert other == Other(2)


def test_one_class_and_no_file():
    assert TrlParser(Own).parse_args_and_config(["--number", "1", "--on"]) == (Own(1, on=True),)


def test_the_file_sets_the_environment(config, monkeypatch):
    monkeypatch.setenv("BURNISH_OF_A_FILE", "before")
    TrlParser(Other).parse_args_and_config(config("env:\n  BURNISH_OF_A_FILE: 12\n"))
    assert os.environ["BURNISH_OF_A_FILE"] == "12"


def test_words_that_nothing_takes(config):
    words = [*config("size: 2\nwidth: 3\n"), "--height", "4"]
    parse = TrlParser(Other).parse_args_and_config
    assert parse(words, return_remaining_strings=True) == (Other(2), ["--width", "3", "--height", "4"])
    assert parse(words, return_remaining_strings=True, separate_remaining_strings=True) == (
        Other(2),
        ["--width", "3"],
        ["--height", "4"],
    )
    assert parse(words[:2], fail_with_unknown_args=False) == (Other(2),)


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("sise: 2", [], "config.yaml:1: there is no option 'sise'. Did you mean 'size'?"),
        ("size: [", [], "config.yaml:2: this is not valid YAML"),
        ("- size", [], "the file must be a mapping"),
        ("env: 3", [], "env must be a mapping"),
        ("size: 2", ["--sise", "3"], "--sise: there is no option 'sise'. Did you mean 'size'?"),
        ("size: 2", ["3"], "does not belong here: '3'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(config, text, flags, said):
    with pytest.raises(UserError) as error:
        TrlParser(Other).parse_args_and_config([*config(f"{text}\n"), *flags])
    assert said in str(error.value)


def test_a_former_name_is_said():
    with pytest.raises(UserError, match="'max_seq_length' is called max_length here"):
        TrlParser(SFTConfig).parse_args_and_config(["--output_dir", "out", "--max_seq_length", "9"])


def test_the_classes_of_a_training_script(config):
    text = "model_name_or_path: org/base\ndatasets:\n"
    text += "- {path: a.jsonl, fraction: 0.5}\n- {path: b.jsonl, fraction: 0.5}\n"
    parser = TrlParser((ScriptArguments, DPOConfig, ModelConfig, DatasetMixtureConfig))
    script, training, model, mixture = parser.parse_args_and_config(
        [
            *config(text + "loss_type: sigmoid\neval_strategy: no\noutput_dir: out\n"),
            "--test_split_size",
            "0.25",
        ]
    )
    assert [(each.path, each.fraction) for each in mixture.datasets] == [("a.jsonl", 0.5), ("b.jsonl", 0.5)]
    assert mixture.test_split_size == 0.25 and script.datasets is None and script.test_split_size is None
    assert training.loss_type == ["sigmoid"] and training.eval_strategy == "no"
    assert model.model_name_or_path == "org/base"


def test_the_name_of_a_dataset_is_a_text_for_scripts_that_load_it():
    (script,) = TrlParser(ScriptArguments).parse_args_and_config(["--dataset_name", "rows.jsonl"])
    assert script.dataset_name == "rows.jsonl"


def test_subparsers_take_defaults_and_classes(config):
    parser = TrlParser()
    verbs = parser.add_subparsers(dest="verb", parser_class=TrlParser)
    verbs.add_parser("one", dataclass_types=[Other])
    verbs.add_parser("two", dataclass_types=[Own])
    assert parser.set_defaults_with_config(size=5, number=2, width=3) == ["--width", "3"]
    (chosen,) = parser.parse_args_and_config(["one"])
    assert (chosen.verb, chosen.size) == ("one", 5)
    (chosen,) = parser.parse_args_and_config([*config("name: b\n"), "two"])
    assert (chosen.number, chosen.name) == (2, "b")


def test_fields_that_cannot_be_arguments_are_refused():
    @dataclass
    class Config:
        config: str = ""

    @dataclass
    class Size:
        size: float = 0.0

    with pytest.raises(UserError, match="the field `config` is taken"):
        TrlParser(Config)
    with pytest.raises(UserError, match="Other and Size both have the field `size`"):
        TrlParser((Other, Size))
