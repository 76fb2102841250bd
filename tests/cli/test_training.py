"""Training from the command line on a tiny model: what it writes and prints, and how wrong input ends."""

import json
import subprocess
import sys

import pytest

from burnish.cli import main
from tests.conftest import save_tiny_model, write_rows

COMMON = [
    "--max_steps",
    "2",
    "--per-device-train-batch-size",
    "4",
    "--logging_steps=1",
    "--save_strategy",
    "no",
]


@pytest.mark.parametrize(
    ("method", "saved", "more"),
    [
        ("sft", "model.safetensors", ["--assistant_only_loss", "--learning_rate", "1e-3"]),
        (
            "reward",
            "adapter_model.safetensors",
            ["--use_peft", "--lora_r", "4", "--center_rewards_coefficient=0.01"],
        ),
        ("dpo", "model.safetensors", ["--loss_type", "sigmoid", "ipo", "--loss-weights", "1,0.5"]),
        ("kto", "adapter_model.safetensors", ["--use_peft", "--undesirable_weight", "1.1"]),
        ("bco", "model.safetensors", ["--beta", "0.2"]),
        ("orpo", "model.safetensors", ["--learning_rate", "1e-3"]),
        ("cpo", "model.safetensors", ["--loss_type", "simpo", "--simpo_gamma", "1.0"]),
        ("tpo", "model.safetensors", ["--loss_type", "tpo-l"]),
    ],
)
def test_trains_and_saves(method, saved, more, tiny_model_dir, tmp_path, request):
    rows = request.getfixturevalue({"sft": "chats_file", "tpo": "triples_file"}.get(method, "pairs_file"))
    words = [method, "--model_name_or_path", tiny_model_dir, "--dataset_name", rows, *COMMON, *more]
    command = [sys.executable, "-m", "burnish", *map(str, words), "--output_dir", "out"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / saved).is_file() and (tmp_path / "out" / "tokenizer.json").is_file()
    last = result.stdout.strip().splitlines()[-2:]
    assert last[0].startswith("saved  out") and last[1].startswith("next   ")


def test_a_file_with_flags_over_it(tiny_model_dir, pairs_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dpo.yaml").write_text(
        f"model_name_or_path: {tiny_model_dir}\ndataset_name: {pairs_file}\neval_dataset_name: {pairs_file}\n"
        "learning_rate: 1e-3\nbeta: 0.3\nmax_steps: 9\nuse_cpu: false\neval_strategy: no\n"
    )
    assert main(["dpo", "--config", "dpo.yaml", *COMMON, "--output_dir", "out"]) == 0
    saved = json.loads((tmp_path / "out" / "training_args.json").read_text())
    assert (saved["learning_rate"], saved["beta"], saved["max_steps"]) == (1e-3, 0.3, 2)


@pytest.fixture
def bad_inputs(tmp_path, tiny_model_dir, chats_file, pairs_file):
    """What the wrong command lines below name."""
    write_rows(tmp_path / "columns.jsonl", [{"question": "a", "good_answer": "b", "other": "c"}])
    (tmp_path / "empty.jsonl").write_text("")
    save_tiny_model(tmp_path / "no-template", chat_template=None)
    encoder = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}
    (tmp_path / "t5").mkdir()
    (tmp_path / "t5" / "config.json").write_text(json.dumps(encoder))
    (tmp_path / "sft.yaml").write_text("model_name_or_path: tiny\ndataset_name: chats\nmax_length: long\n")
    (tmp_path / "typo.yaml").write_text("model_name_or_path: tiny\n\ndataset_nam: chats\n")
    return {"tiny": tiny_model_dir, "chats": chats_file, "pairs": pairs_file}


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("sft --model_name_or_path {tiny} --dataset_name nowhere.jsonl", ["--dataset_name", "nowhere.jsonl"]),
        (
            "dpo --model_name_or_path {tiny} --dataset_name columns.jsonl",
            ["columns.jsonl", "good_answer", "chosen"],
        ),
        ("dpo --model_name_or_path {tiny} --dataset_name {chats}", ["messages", "chosen + rejected"]),
        ("sft --model_name_or_path {tiny} --dataset_name empty.jsonl", ["empty.jsonl"]),
        ("sft --model_name_or_path no-template --dataset_name {chats}", ["chat template"]),
        (
            "dpo --model_name_or_path {tiny} --dataset_name {pairs} --loss_type sigmod",
            ["'sigmod'", "sigmoid"],
        ),
        ("sft --model_name_or_path ./nowhere --dataset_name {chats}", ["--model_name_or_path", "./nowhere"]),
        ("sft --model_name_or_path t5 --dataset_name {chats}", ["causal language model", "t5"]),
        ("sft --config sft.yaml", ["sft.yaml:3", "max_length", "'long'", "a whole number"]),
        ("sft --config typo.yaml", ["typo.yaml:3", "'dataset_nam'", "dataset_name"]),
        (
            "sft --model_name_or_path {tiny} --dataset_name {chats} --max_length 0",
            ["--max_length", "at least 2"],
        ),
        (
            "sft --model_name_or_path {tiny} --dataset_name {chats} --eval_strategy often",
            ["--eval_strategy", "often"],
        ),
        (
            "sft --model_name_or_path {tiny} --dataset_name {chats} --eval_strategy steps",
            ["eval_dataset_name"],
        ),
        (
            "sft --model_name_or_path {tiny} --dataset_name {chats} --load_in_4bit",
            ["--load_in_4bit", "use_peft"],
        ),
        (
            "dpo --model_name_or_path {tiny} --dataset_name {pairs} --activation_offloading",
            ["--activation_offloading", "not supp"],
        ),
    ],
)
def test_bad_input_ends_with_one_clear_message(line, messages, bad_inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*line.format(**bad_inputs).split(), "--output_dir", "out"]) == 2
    shown = capsys.readouterr().err
    error = shown[shown.index("error: ") :]
    for message in messages:
        assert message in error
    assert "Traceback" not in shown and not (tmp_path / "out").exists()


def test_an_unexpected_error_is_short_and_exits_with_1(monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("burnish.cli.method.train", fail)
    assert main(["sft"]) == 1
    assert (
        capsys.readouterr().err
        == "error: ZeroDivisionError: a bug\n  run again with --debug for the traceback\n"
    )
