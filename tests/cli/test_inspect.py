"""`burnish inspect` as a person runs it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.chats import CHATML, byte_tokenizer
from tests.data.inspection.rows import COLUMNS, planted

OWN_NAMES = ",".join(f"{name}={own}" for name, own in COLUMNS.items())


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "burnish", "inspect", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inspect")
    rows, _ = planted(clean=60)
    for name, part in (("pairs.jsonl", rows), ("one.jsonl", rows[:1])):
        (path / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    byte_tokenizer(CHATML).save_pretrained(path / "model")
    return path


def test_json_is_all_that_is_printed_and_names_the_ids(folder):
    result = run("pairs.jsonl", "--columns", OWN_NAMES, "--json", "--method", "dpo", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    _, named = planted(clean=60)
    assert {f["check"]: set(f["ids"]) for f in found["findings"] if f["severity"] != "note"} == named


def test_a_model_shows_what_is_trained(folder):
    result = run("pairs.jsonl", "--columns", OWN_NAMES, "--model", "model", "--show", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    for word in ("tokens", "max_length 1,024", "stop token", "⟦", "chosen longer"):
        assert word in result.stdout


def test_files_are_written_and_said_to_be(folder, tmp_path):
    result = run(
        "pairs.jsonl",
        "--columns",
        OWN_NAMES,
        "--fix",
        tmp_path / "clean.jsonl",
        "--html",
        tmp_path / "page.html",
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "page.html").read_text().lower().startswith("<!doctype html>")
    for name in ("clean.jsonl", "clean.quarantine.jsonl", "clean.mended.jsonl"):
        assert name in result.stderr and (tmp_path / name).stat().st_size
    again = run(
        tmp_path / "clean.jsonl",
        "--columns",
        OWN_NAMES,
        "--fail_on",
        "fault>0,dropped>0,warning>0",
        cwd=folder,
    )
    assert again.returncode == 0, again.stderr


def test_a_passed_threshold_ends_with_1_and_says_which(folder):
    result = run("pairs.jsonl", "--columns", OWN_NAMES, "--fail-on", "faults>0,duplicates>50%", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("failed fault: 6 rows, more than 0") and "duplicate" not in result.stderr


def test_a_folder_is_compared_with_what_it_holds_out(tmp_path):
    row = json.dumps({"prompt": "p", "completion": "c"}) + "\n"
    other = json.dumps({"prompt": "q", "completion": "d"}) + "\n"
    (tmp_path / "train.jsonl").write_text(row + other)
    (tmp_path / "test.jsonl").write_text(row)
    found = json.loads(run(".", "--json", cwd=tmp_path).stdout)
    assert [(f["check"], f["rows"]) for f in found["findings"]] == [("in the evaluation", [0])]
    found = json.loads(run("train.jsonl", "--eval", "test.jsonl", "--json", cwd=tmp_path).stdout)
    assert [(f["check"], f["rows"]) for f in found["findings"]] == [("in the evaluation", [0])]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.jsonl"], "no such file"),
        (["pairs.jsonl", "--method", "prm"], "no known format"),
        (["pairs.jsonl", "--method", "dpoo"], "there is no method 'dpoo'. Did you mean 'dpo'?"),
        (["pairs.jsonl", "--show", "1"], "add --model"),
        (["pairs.jsonl", "--fail_on", "faults"], "--fail_on: expected name>limit"),
        (["pairs.jsonl", "--truncation_mode", "middle"], "truncation_mode"),
        (["pairs.jsonl", "--columns", OWN_NAMES, "--model", "nothing/here"], "no tokenizer could be loaded"),
        (["pairs.jsonl", "--columns", OWN_NAMES, "--fix", "one.jsonl"], "there already"),
    ],
)
def test_wrong_words_end_with_2_and_one_message(words, message, folder):
    result = run(*words, cwd=folder)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr


def test_without_a_model_torch_is_not_loaded(folder):
    code = "import sys; from burnish.cli import main; main(sys.argv[1:]); "
    code += "print('torch' in sys.modules, file=sys.stderr)"
    words = ["inspect", "pairs.jsonl", "--columns", OWN_NAMES, "--json"]
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=folder)
    assert result.stderr.strip() == "False"


def test_a_method_reads_here_what_its_trainer_reads():
    from burnish.cli.inspect import READS
    from burnish.pipeline.methods import METHODS

    assert READS.keys() == METHODS.keys()
    for name, method in METHODS.items():
        family = method.trainer_class().read_row
        assert READS[name] is family or (name == "gkd" and READS[name].name == family.name)
