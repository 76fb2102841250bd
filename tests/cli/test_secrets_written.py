"""Secrets are given in every way there is, and stand in no file that a run writes and nothing it prints."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from burnish import secrets
from burnish.cli import main
from tests.conftest import write_rows

FAST = "per_device_train_batch_size: 4, max_steps: 2, save_steps: 1, logging_steps: 1, report_to: none"

PIPELINE = """\
# once: Authorization: Bearer {0}; before that hf_{1}
output_dir: out
env:
  WANDB_API_KEY: {2}
  MY_PASSWORD: "{3}"
  AWS_SECRET_ACCESS_KEY: '{4}'
  TRACKING_URL: https://me:{5}@host/path
defaults:
  hub_token: {6}
  run_name: sk-{7}
stages:
  - name: sft
    method: sft
    model: {model}
    dataset: chats.jsonl
    hub_token: {8}
    model_init_kwargs:
      token: {9}
    {fast}
  - {{name: dpo, model: sft, dataset: pairs.jsonl, model_init_kwargs: {{token: {10}, dtype: float32}},
     run_name: 'https://host/?access_token={11}&n=1', {fast_inline}}}
"""


@pytest.fixture
def planted(tmp_path, tiny_model_dir, monkeypatch):
    """`planted()` gives another secret each time; all that were given are in `planted.all`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(secrets, "_learned", set())
    for name in ("WANDB_API_KEY", "MY_PASSWORD", "AWS_SECRET_ACCESS_KEY", "TRACKING_URL", "X_API_KEY"):
        monkeypatch.setenv(name, "")  # put back afterwards
    numbers = itertools.count()
    made: list[str] = []

    def another() -> str:
        made.append(f"pLaNtEd{next(numbers):02d}xyzwvutsrq")
        return made[-1]

    another.all = made
    return another


def leaks(folder: Path, made: list[str], printed: str) -> list[str]:
    """Where a secret stands: files, and what was printed."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    texts = {name: path.read_bytes().decode("utf-8", "replace") for name, path in files.items()}
    texts["printed"] = printed
    return [f"{name}: {secret}" for name, text in texts.items() for secret in made if secret in text]


@pytest.fixture
def rows(tmp_path):
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1 2 3"}]
    write_rows(tmp_path / "chats.jsonl", [{"messages": turns}] * 4)
    write_rows(
        tmp_path / "pairs.jsonl",
        [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}."} for n in range(4)],
    )


def test_a_pipeline_keeps_its_secrets(planted, rows, tmp_path, tiny_model_dir, monkeypatch, capfd):
    monkeypatch.setenv("SOME_TOKEN", in_the_environment := planted())
    text = PIPELINE.format(
        *(planted() for _ in range(12)),
        model=tiny_model_dir,
        fast=FAST.replace(", ", "\n    "),
        fast_inline=FAST,
    )
    (tmp_path / "chat.yaml").write_text(text)
    assignments = [
        f"sft.hub_token={planted()}",
        f"env.X_API_KEY={planted()}",
        f"sft.run_name=of-{in_the_environment}-https://me:{planted()}@host",
        f"dpo.model_init_kwargs={{token: {planted()}, revision: main}}",
    ]
    words = [word for each in assignments for word in ("--set", each)]
    assert main(["run", "chat.yaml", *words]) == 0
    assert main(["run", "chat.yaml", *words, "--dry_run"]) == 0
    other = f"dpo.model_init_kwargs={{token: {planted()}}}"
    assert main(["run", "chat.yaml", "--set", other, "--dry_run"]) == 0
    assert main(["plan", "chat.yaml"]) == 0
    assert main(["report", "out/sft"]) == 0 and main(["card", "out/sft"]) == 0
    printed = capfd.readouterr()
    (tmp_path / "chat.yaml").unlink()  # that is where they belong
    assert leaks(tmp_path, planted.all, printed.out + printed.err) == []
    assert len(planted.all) == 18
    record = json.loads((tmp_path / "out" / "sft" / "run.json").read_text())
    assert record["config"]["run_name"] == "of-[hidden]-https://[hidden]@host"
    kept = json.loads((tmp_path / "out" / "pipeline.json").read_text())["text"]
    assert '  hub_token: "[hidden]"\n' in kept
    assert list((tmp_path / "out" / "sft").glob("checkpoint-*/training_args.json"))


def test_another_token_is_no_other_run(planted, rows, tmp_path, tiny_model_dir, capfd):
    words = ["reward", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", "pairs.jsonl"]
    words += ["--max_steps", "1", "--output_dir", "out", "--save_strategy", "no"]
    keys = set()
    for name in (f"hf_{planted()}", f"Bearer {planted()}"):
        own = [f"--hub-token={planted()}", "--model_init_kwargs", json.dumps({"token": planted()})]
        assert main([*words, "--run_name", name, *own]) == 0
        record = json.loads((tmp_path / "out" / "run.json").read_text())
        keys.add(record["key"])
        assert "--hub-token=[hidden]" in record["command"] and "[hidden]]" not in record["command"]
    printed = capfd.readouterr()
    assert leaks(tmp_path, planted.all, printed.out + printed.err) == []
    assert len(keys) == 1 and (tmp_path / "out.1").is_dir()


@pytest.mark.parametrize(
    "words",
    [
        "dpo --hub_token PLANTED --nonsense",
        "dpo --hub_tokn hf_PLANTED",
        """dpo --model_init_kwargs {"token":"PLANTED" --dataset_name x --model_name_or_path y""",
        "dpo --model_name_or_path https://me:PLANTED@host/m --dataset_name pairs.jsonl",
        "dpo --model_name_or_path MODEL --dataset_name https://me:PLANTED@host/pairs.jsonl",
        "dpo --model_name_or_path MODEL --dataset_name no.jsonl --run_name x --hub_token PLANTED",
        "run no.yaml --set env.A_TOKEN=PLANTED",
        "run bad.yaml --set sft.hub_tokn=hf_PLANTED",
        "run bad.yaml --set hub_token=PLANTED",
        "run bad.yaml --set sft.learning_rate.hub_token=PLANTED",
        "run bad.yaml --debug --set sft.learning_rate=https://me:PLANTED@host",
    ],
)
def test_errors_keep_secrets(words, planted, rows, tmp_path, tiny_model_dir, capfd):
    (tmp_path / "bad.yaml").write_text(
        f"stages:\n- {{name: sft, model: {tiny_model_dir}, dataset: chats.jsonl, hub_token: {planted()}}}\n"
    )
    line = words.replace("PLANTED", planted()).replace("MODEL", str(tiny_model_dir))
    assert main(line.split()) != 0
    printed = capfd.readouterr()
    (tmp_path / "bad.yaml").unlink()
    assert printed.err and leaks(tmp_path, planted.all, printed.out + printed.err) == []
