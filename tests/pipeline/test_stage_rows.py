"""Which rows a stage trains and evaluates on, from flags and from a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from burnish.cli import main
from burnish.cli.method import read_settings
from burnish.pipeline.methods import METHODS
from burnish.pipeline.stage import Stage
from tests.conftest import write_rows

DATA = Path(__file__).parents[2].parent / "shared" / "data"
FAST = "--max_steps 1 --per_device_train_batch_size 4 --save_strategy no --report_to none".split()
OWN_COLUMNS = "prompt=question,chosen=good_answer,rejected=bad_answer"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "chats.jsonl", [{"messages": turns(n)} for n in range(12)])
    write_rows(tmp_path / "asked.jsonl", [{"q": f"{n}?", "a": f"{n}."} for n in range(10)])
    pairs = [
        {"question": f"{n}?", "good_answer": "yes", "bad_answer": "no", "id": n + 100} for n in range(20)
    ]
    pairs[17]["bad_answer"] = 5
    write_rows(tmp_path / "pairs.jsonl", pairs)
    return tmp_path


def turns(n: int) -> list[dict]:
    return [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": str(n)}]


def prepared(method: str, *words: str, file: str = ""):
    if file:
        Path("stage.yaml").write_text(file)
        words = ("--config", "stage.yaml", *words)
    settings = read_settings(METHODS[method], ["--model_name_or_path", "model", *words])
    return Stage(method, METHODS[method], settings).prepare()


def refusal(capsys, *words: str, method: str = "sft") -> str:
    assert main([method, "--model_name_or_path", "model", *words, "--output_dir", "out"]) == 2
    assert not Path("out").exists()
    shown = capsys.readouterr().err
    return shown[shown.index("error: ") :]


def test_several_names_with_weights_and_a_sample(folder):
    train = prepared("sft", "--dataset_name", "chats.jsonl:2", "chats.jsonl#5", "--seed", "1").train_dataset
    assert [(len(source), source.weight) for source in train] == [(12, 2.0), (5, 1.0)]
    assert train[1].notes == ("a sample of 5 of 12 rows, drawn by seed 1",)


def test_sources_in_a_file(folder):
    stage = prepared(
        "sft",
        file="datasets:\n- path: chats.jsonl\n- path: asked.jsonl\n  weight: 0.5\n"
        "  columns: {prompt: q, completion: a}\ntest_split_size: 0.25\n",
    )
    assert [source.origins.name for source in stage.train_dataset] == ["chats.jsonl", "asked.jsonl"]
    assert sum(map(len, stage.train_dataset)) == 13 and sum(map(len, stage.eval_dataset)) == 4


def test_a_pattern_and_a_mapping_of_columns(folder):
    (source,) = prepared("reward", "--dataset_name", "pair*.jsonl", "--columns", OWN_COLUMNS).train_dataset
    assert source.origins.of(3, source.dataset[3]) == "pairs.jsonl, row 3 (id 103)"


def test_a_held_out_split_is_evaluated(folder, tiny_model_dir, capsys):
    words = ["sft", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", "chats.jsonl"]
    assert main([*words, *FAST, "--test_split_size", "3", "--output_dir", "out"]) == 0
    found = json.loads((folder / "out" / "preparation.json").read_text())
    assert (found["train"][0]["read"], found["eval"][0]["read"]) == (9, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--dataset_name chats.jsonl --test_split_size 0.1 --eval_dataset_name chats.jsonl",
            "--test_split_size: both eval_dataset_name and test_split_size are given",
        ),
        (
            "--dataset_name chats.jsonl --test_split_size 0.1 --dataset_streaming --max_steps 3",
            "--test_split_size: a stream cannot be split by prompt",
        ),
        (
            "--dataset_name chats.jsonl --test_split_size 12",
            "--test_split_size: expected a share of the 12 rows",
        ),
        ("--dataset_name chats.jsonl:0", "--dataset_name: the weight of chats.jsonl is '0'"),
        ("--dataset_name chats.jsonl#0", "--dataset_name: chats.jsonl#0: a sample has at least one row"),
        (
            "--dataset_name chats.jsonl nowhere.jsonl",
            "--dataset_name: nowhere.jsonl: no such file or folder",
        ),
        ("--dataset_name chats.jsonl asked.jsonl", "asked.jsonl, row 0: no known format"),
        (
            "--dataset_name chats.jsonl#3 --dataset_streaming --max_steps 3",
            "--dataset_name: chats.jsonl: #3 draws from all rows",
        ),
        ("--dataset_name chats.jsonl --eval_strategy epoch", "test_split_size: 0.1"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(words, message, folder, capsys):
    assert message in refusal(capsys, *words.split())


def test_a_bad_key_of_a_source_names_the_line(folder, capsys):
    (folder / "sft.yaml").write_text("output_dir: out\ndatasets:\n- {path: chats.jsonl, wieght: 2}\n")
    assert main(["sft", "--config", "sft.yaml", "--model_name_or_path", "model"]) == 2
    assert "sft.yaml:2: a dataset has no key 'wieght'. Did you" in capsys.readouterr().err


def test_a_first_row_that_cannot_be_read_is_no_matter_where_such_rows_are_skipped(folder, capsys):
    write_rows(folder / "bad.jsonl", [{"prompt": 1, "completion": "a"}, {"prompt": "b", "completion": "a"}])
    assert "bad.jsonl, row 0, column 'prompt'" in refusal(capsys, "--dataset_name", "bad.jsonl")
    assert len(prepared("sft", "--dataset_name", "bad.jsonl", "--on_bad_row", "skip").train_dataset[0]) == 2


def test_a_row_function_reads_the_first_row_too(folder):
    (folder / "mine.py").write_text(
        "def pair(row):\n    return {'prompt': row['q'], 'completion': row['a']}\n"
    )
    words = ("--dataset_name", "asked.jsonl", "--row_function", "mine.py:pair")
    assert len(prepared("sft", *words).train_dataset[0]) == 10


def run(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "burnish", *words, *FAST, "--output_dir", "out"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_bad_rows_stop_or_are_skipped_and_counted(folder, tiny_model_dir):
    words = ["reward", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", "pairs.jsonl"]
    words += ["--columns", OWN_COLUMNS]
    stopped = run(*words)
    assert stopped.returncode == 2 and not (folder / "out").exists()
    assert "error: pairs.jsonl, row 17 (id 117), column 'bad_answer': " in stopped.stderr
    assert "found 5" in stopped.stderr and "--on_bad_row skip" in stopped.stderr

    over = run(*words, "--on_bad_row", "skip")
    assert over.returncode == 2 and "more than bad_row_budget=0.01 allows" in over.stderr

    skipped = run(*words, "--on_bad_row", "skip", "--bad_row_budget", "1")
    assert skipped.returncode == 0, skipped.stderr
    shown = " ".join(skipped.stdout.split())
    assert "pairs.jsonl: 19 of 20 rows kept" in shown and "1 (row 17)" in shown
    assert (
        "preference, from columns question, good_answer, bad_answer" in shown or "with two answers" in shown
    )
    (train,) = json.loads((folder / "out" / "preparation.json").read_text())["train"]
    assert (train["read"], train["kept"]) == (20, 19)
    assert [tally["rows"] for tally in train["faults"].values()] == [[17]]


def test_a_stream_from_the_command_line(folder, tiny_model_dir):
    words = ["sft", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", "chats.jsonl"]
    done = run(*words, "--dataset_streaming")
    assert done.returncode == 0, done.stderr
    assert "chats.jsonl: a stream; rows are read" in " ".join(done.stdout.split())
    assert "chats.jsonl: 12 of 12 rows kept" in done.stdout


@pytest.mark.skipif(not DATA.is_dir(), reason="the data is not here")
def test_real_preferences_under_a_users_own_names(folder, tiny_model_dir):
    defects = json.loads((DATA / "messy_user_prefs.defects.json").read_text())
    words = ["reward", "--model_name_or_path", str(tiny_model_dir), "--columns", OWN_COLUMNS]
    words += ["--dataset_name", str(DATA / "messy_user_prefs.jsonl"), "--max_length", "512"]
    stopped = run(*words)
    assert stopped.returncode == 2 and "messy_user_prefs.jsonl, row " in stopped.stderr and defects
    done = run(*words, "--on_bad_row", "skip", "--bad_row_budget", "0.2", "--test_split_size", "0.1")
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "out" / "preparation.json").read_text())
    for (report,) in found.values():
        assert report["kept"] + sum(tally["count"] for tally in report["dropped"].values()) == report["read"]
    assert found["train"][0]["read"] + found["eval"][0]["read"] == 626
