"""Pipeline files on top of others, and `--set` on top of all: what holds in the end, and where it is from."""

import pytest

from burnish.errors import UserError
from burnish.pipeline.overlay import read_layers, text_of
from burnish.pipeline.run import TOP_KEYS, read_pipeline

BASE = """\
output_dir: runs/base
defaults:
  model: m
  max_length: 64
stages:
  - name: sft
    dataset: chats.jsonl
    learning_rate: 1e-5
  - name: dpo
    model: sft
    dataset: pairs.jsonl
    beta: 0.1
"""
ABOVE = """\
extends: base.yaml
defaults: {max_length: 128}
stages:
  - {name: dpo, beta: 0.3}
  - {name: judge, method: reward, dataset: pairs.jsonl}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "chat.yaml").write_text(ABOVE)
    return tmp_path


def read(file="chat.yaml", *assignments):
    return read_pipeline(read_layers(file, assignments, TOP_KEYS))


def values(pipeline):
    return {
        stage.name: {key: setting.value for key, setting in stage.settings.items()}
        for stage in pipeline.stages
    }


def test_keys_hold_from_below_where_nothing_is_said(files):
    found = values(read())
    assert list(found) == ["sft", "dpo", "judge"]
    assert found["sft"] == {
        "model_name_or_path": "m",
        "max_length": "128",
        "dataset_name": "chats.jsonl",
        "learning_rate": "1e-5",
        "output_dir": "runs/base/sft",
    }
    assert found["dpo"]["beta"] == "0.3" and found["dpo"]["dataset_name"] == "pairs.jsonl"


def test_every_setting_knows_its_own_file_and_line(files):
    sft, dpo, _ = read("chat.yaml", "sft.learning_rate=2e-5").stages
    assert sft.settings["dataset_name"].where == "base.yaml:7"
    assert dpo.settings["beta"].where == "chat.yaml:4"
    assert dpo.settings["max_length"].where == "chat.yaml:2"
    assert sft.settings["model_name_or_path"].where == "base.yaml:3"
    assert sft.settings["learning_rate"].where == "--set sft.learning_rate"


def test_a_folder_below_is_relative_to_the_file_that_names_it(files):
    (files / "deep").mkdir()
    (files / "deep" / "more.yaml").write_text("extends: ../chat.yaml\noutput_dir: out\n")
    assert str(read("deep/more.yaml").output) == "out"


def test_set_on_top_of_everything(files):
    pipeline = read(
        "chat.yaml", "dpo.beta=0.7", "defaults.max_length=32", "output_dir=out", "dpo.loss_type=[a, b]"
    )
    found = values(pipeline)
    assert str(pipeline.output) == "out"
    assert (found["dpo"]["beta"], found["dpo"]["loss_type"]) == ("0.7", ["a", "b"])
    assert found["sft"]["max_length"] == "32"


def test_a_short_name_replaces_the_long_one(files):
    (files / "base.yaml").write_text(BASE.replace("model: m", "model_name_or_path: m"))
    assert values(read("chat.yaml", "defaults.model=other"))["sft"]["model_name_or_path"] == "other"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("dop.beta=1", "--set dop.beta: there is no stage 'dop'. Did you mean 'dpo'?"),
        ("dpo.beta", "--set: cannot be read: 'dpo.beta'"),
        ("output=x", "--set output: there is no key 'output'. Did you mean 'output_dir'?"),
        ("stages=x", "--set stages: there is no key 'stages'."),
        ("defaults.betta=1", "--set defaults.betta: there is no option 'betta'. Did you mean 'beta'?"),
    ],
)
def test_a_wrong_assignment_is_refused_with_the_nearest_name(files, assignment, message):
    with pytest.raises(UserError) as caught:
        read("chat.yaml", assignment)
    assert message in str(caught.value)


def test_a_wrong_key_of_a_stage_names_the_flag(files):
    with pytest.raises(UserError, match=r"--set dpo.betta: there is no option 'betta'. Did you mean 'beta'"):
        read("chat.yaml", "dpo.betta=1").stages[1].prepare()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: none.yaml\n", "chat.yaml:1: there is no file none.yaml"),
        ("stages: []\nextends: [a]\n", "chat.yaml:2: extends needs the name of a file"),
        (
            "extends: base.yaml\nstages:\n- {name: dpo, method: dop}\n",
            "chat.yaml:3: there is no method 'dop'",
        ),
        ("extends: base.yaml\nstage: 1\n", "chat.yaml:2: there is no key 'stage' here"),
    ],
)
def test_mistakes_name_the_file_that_has_them(files, text, message):
    (files / "chat.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        read()
    assert message in str(caught.value)


def test_a_mistake_below_names_the_file_below(files):
    (files / "base.yaml").write_text(BASE + "stage: 1\n")
    with pytest.raises(UserError, match=r"^base.yaml:13: there is no key 'stage' here"):
        read()


def test_a_circle_is_refused(files):
    (files / "base.yaml").write_text("extends: chat.yaml\n" + BASE)
    with pytest.raises(UserError, match=r"base.yaml:1: .*circle: chat.yaml → base.yaml → chat.yaml"):
        read()


def test_the_text_is_as_written_or_what_came_of_all(files):
    assert text_of(read_layers("base.yaml", (), TOP_KEYS)) == BASE
    joined = text_of(read_layers("chat.yaml", ["dpo.beta=0.7"], TOP_KEYS), ["dpo.beta=0.7"])
    (files / "joined.yaml").write_text(joined)
    assert values(read("joined.yaml")) == values(read("chat.yaml", "dpo.beta=0.7"))


@pytest.mark.parametrize("key", ["sft.save_strategy=no", "defaults.save_strategy=no"])
def test_what_a_flag_turns_off_takes_what_depends_on_it_along(files, key):
    (files / "base.yaml").write_text(BASE.replace("max_length: 64", "save_strategy: steps\n  save_steps: 5"))
    assert values(read("base.yaml"))["sft"]["save_steps"] == "5"
    assert values(read("base.yaml", "defaults.save_strategy=steps"))["sft"]["save_steps"] == "5"
    found = values(read("base.yaml", key))
    assert "save_steps" not in found["sft"]
    assert ("save_steps" in found["dpo"]) == key.startswith("sft")
