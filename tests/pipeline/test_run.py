"""Pipeline files: how stages are read, which mistakes are found before training, and a whole run."""

import pytest

from burnish.cli import main
from burnish.errors import UserError
from burnish.pipeline.run import read_pipeline
from burnish.pipeline.settings import read_document

FAST = "{max_steps: 2, per_device_train_batch_size: 4, logging_steps: 1, save_strategy: no}"


def read(tmp_path, text):
    path = tmp_path / "chat.yaml"
    path.write_text(text)
    return read_pipeline(read_document(str(path)))


def test_a_stage_starts_from_the_output_of_the_one_it_names(tmp_path):
    pipeline = read(
        tmp_path,
        "output_dir: out\nstages:\n- {name: first, method: sft, model: base, dataset: a.jsonl}\n"
        "- {name: dpo, model: first, dataset: b.jsonl}\n",
    )
    first, second = pipeline.stages
    assert (first.method.name, second.method.name) == ("sft", "dpo")
    assert first.settings["model_name_or_path"].value == "base"
    assert second.settings["model_name_or_path"].value == "out/first"
    assert second.settings["output_dir"].value == "out/dpo"
    assert pipeline.follows == {"dpo": "first"}


def test_defaults_go_to_the_stages_whose_method_has_them(tmp_path):
    pipeline = read(
        tmp_path,
        "defaults: {beta: 0.2, max_length: 64}\nstages:\n- {name: sft, model: m, max_length: 32}\n"
        "- {name: dpo, model: m}\n",
    )
    values = [{key: setting.value for key, setting in stage.settings.items()} for stage in pipeline.stages]
    assert "beta" not in values[0] and values[0]["max_length"] == "32"
    assert values[1]["beta"] == "0.2" and values[1]["max_length"] == "64"
    assert values[0]["output_dir"] == "runs/chat/sft"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage: []\n", "chat.yaml:1: there is no key 'stage' here. Did you mean 'stages'?"),
        ("stages: []\n", "chat.yaml:1: a pipeline needs a list of stages"),
        ("stages:\n- {model: m}\n", "chat.yaml:2: a stage needs a method"),
        ("stages:\n- {method: dop}\n", "chat.yaml:2: there is no method 'dop'. Did you mean 'dpo'?"),
        ("stages:\n- {method: sft}\n- {method: sft}\n", "chat.yaml:3: two stages are named 'sft'"),
        ("stages:\n- {name: a/b, method: sft}\n", "chat.yaml:2: a stage cannot be named 'a/b'"),
        (
            "stages:\n- {method: sft, output_dir: x}\n",
            "chat.yaml:2: a stage writes to a folder of its own name",
        ),
        (
            "defaults: {betta: 1}\nstages:\n- {name: dpo}\n",
            "chat.yaml:1: there is no option 'betta'. Did you",
        ),
        ("stages:\n- {method: sft, model: m, model_name_or_path: n}\n", "is given twice, first at"),
    ],
)
def test_mistakes_name_the_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("{name: dpo, model: sft, dataset: PAIRS, betta: 1}", "chat.yaml:4: there is no option 'betta'"),
        ("{name: dpo, model: sft, dataset: nowhere.jsonl}", "chat.yaml:4: nowhere.jsonl: no such file"),
        ("{name: dpo, model: sft, dataset: CHATS}", "expected prompt + chosen + rejected"),
        (
            "{name: dpo, model: sft, dataset: PAIRS, loss_type: [sigmoid, hing]}",
            "chat.yaml:4: loss_type cannot be",
        ),
        ("{name: dpo, model: ./sft, dataset: PAIRS}", "chat.yaml:4: there is no model folder './sft'"),
    ],
)
def test_a_later_stage_is_checked_before_the_first_one_trains(
    second, message, tmp_path, tiny_model_dir, chats_file, pairs_file, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    first = "{name: sft, model: MODEL, dataset: CHATS, use_peft: true}"
    text = f"defaults: {FAST}\nstages:\n- {first}\n- {second}\n"
    for word, path in {"MODEL": tiny_model_dir, "CHATS": chats_file, "PAIRS": pairs_file}.items():
        text = text.replace(word, str(path))
    (tmp_path / "chat.yaml").write_text(text)
    assert main(["run", "chat.yaml"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_three_stages_in_one_file(tmp_path, tiny_model_dir, chats_file, pairs_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chat.yaml").write_text(
        f"output_dir: out\ndefaults: {FAST}\nstages:\n"
        f"- {{name: sft, model: {tiny_model_dir}, dataset: {chats_file}}}\n"
        f"- {{name: judge, method: reward, model: sft, dataset: {pairs_file}, "
        f"eval_dataset_name: {pairs_file}}}\n"
        f"- {{name: dpo, model: sft, dataset: {pairs_file}, use_peft: true, learning_rate: 1e-4}}\n"
    )
    assert main(["run", "--dry-run", "chat.yaml"]) == 0
    assert capsys.readouterr().out.count("it has not run yet") == 3 and not (tmp_path / "out").exists()
    assert main(["run", "chat.yaml"]) == 0
    table = capsys.readouterr().out
    for word in ("stage 2 of 3: judge (reward)", "train loss", "eval loss", "accuracy", "saved  out/dpo"):
        assert word in table
    assert (tmp_path / "out" / "sft" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "judge" / "config.json").is_file()
    assert (tmp_path / "out" / "dpo" / "adapter_model.safetensors").is_file()
