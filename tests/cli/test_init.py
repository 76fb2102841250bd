"""`burnish init`: the pipeline that is written for rows of each kind, and that it runs as it is."""

import json

import pytest
import yaml

from burnish.cli import main
from burnish.comparison.prompts import read_prompts
from burnish.data.sources.holdout import prompt_of
from burnish.engine.rows import preparation_options
from burnish.pipeline.draft import Facts, batch_for, epochs_for, max_length
from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import TOP_KEYS, read_pipeline
from tests.conftest import write_rows

ROWS = {
    "chats": lambda n: {
        "messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}."}]
    },
    "pairs": lambda n: {"prompt": f"{n}?", "chosen": f"{n}.", "rejected": "No."},
    "own": lambda n: {"question": f"{n}?", "good_answer": f"{n}.", "bad_answer": "No."},
    "labels": lambda n: {"prompt": f"{n}?", "completion": f"{n}.", "label": n % 2 == 0},
    "triples": lambda n: {"prompt": f"{n}?", "chosen": f"{n}.", "rejected": "No.", "reference": f"{n}!"},
    "steps": lambda n: {"prompt": f"{n}?", "completions": ["So.", f"{n}."], "labels": [True, n % 2 == 0]},
    "ranked": lambda n: {"prompt": f"{n}?", "completions": ["a", "b", "c"], "ranks": [1, 2, 3]},
    "scored": lambda n: {"prompt": f"{n}?", "completion": f"{n}.", "score": n / 10},
    "texts": lambda n: {"text": f"Number {n} is followed by {n + 1}."},
}
STAGES = {
    "chats": ["sft"],
    "pairs": ["reward", "dpo"],
    "own": ["reward", "dpo"],
    "labels": ["kto"],
    "triples": ["tpo"],
    "steps": ["prm"],
    "ranked": ["reward"],
    "scored": ["reward"],
    "texts": ["sft"],
}


def short(stages):
    """Three steps of each stage."""
    return [word for stage in stages for word in ("--set", f"{stage}.max_steps=3")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, row in ROWS.items():
        write_rows(tmp_path / f"{kind}.jsonl", [row(n) for n in range(24)])
    return tmp_path


def stages(file="pipeline.yaml"):
    return read_pipeline(read_layers(file, (), TOP_KEYS)).stages


@pytest.mark.parametrize("kind", ROWS)
def test_the_file_for_rows_of_each_kind_runs_as_it_is(kind, folder, tiny_model_dir, capsys):
    assert main(["init", f"{kind}.jsonl", "--model", str(tiny_model_dir)]) == 0
    printed = capsys.readouterr().out
    assert printed == (folder / "pipeline.yaml").read_text()
    assert [stage.name for stage in stages()] == STAGES[kind]
    body = [line for line in printed.splitlines() if line and not line.startswith("#") and line[-1] != ":"]
    assert body and all("  # " in line for line in body)
    assert main(["run", "pipeline.yaml", *short(STAGES[kind])]) == 0
    assert (folder / "runs" / "pipeline" / STAGES[kind][-1] / "run.json").is_file()


def test_pairs_start_from_the_stage_that_reads_chats(folder, tiny_model_dir, capsys):
    assert main(["init", "pairs.jsonl", "chats.jsonl", "--model", str(tiny_model_dir)]) == 0
    found = read_pipeline(read_layers("pipeline.yaml", (), TOP_KEYS))
    assert [stage.name for stage in found.stages] == ["sft", "reward", "dpo"]
    assert found.follows == {"reward": "sft", "dpo": "sft"}


def test_columns_of_ones_own_are_taken_by_their_names(folder, capsys):
    assert main(["init", "own.jsonl", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["text"]
    first, _ = yaml.safe_load(text)["stages"]
    assert first["columns"] == {"chosen": "good_answer", "rejected": "bad_answer"}  # a question is a chat's
    assert "as_chats" not in first
    assert "Lengths are guessed from characters" in text and "SmolLM2-135M-Instruct" in text


def test_texts_become_chats_for_a_model_with_a_template(folder, capsys):
    assert main(["init", "pairs.jsonl", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["text"]
    assert all(stage["as_chats"] is True for stage in yaml.safe_load(text)["stages"])
    assert main(["init", "texts.jsonl", "--output", "texts.yaml"]) == 0
    assert "as_chats" not in capsys.readouterr().out


def test_prompts_that_no_stage_is_trained_on_are_written(folder, capsys):
    write_rows(folder / "pairs.jsonl", [ROWS["pairs"](n) | {"day": f"day {n}"} for n in range(12, 60)])
    assert main(["init", "chats.jsonl", "pairs.jsonl"]) == 0
    assert "held_out.jsonl#20" in capsys.readouterr().out
    asked = read_prompts("held_out.jsonl").rows
    assert asked and all(row.example.is_chat and row.reference and row.columns["day"] for row in asked)
    trained = set()
    for stage in stages():
        ready = stage.prepare()
        reads = ready.method.trainer_class().reads(ready.config)
        for source in ready.train_dataset:
            reader = source.reader(reads, preparation_options(ready.config, {}))
            trained |= {prompt_of(reader(row)) for row in source.dataset}
    assert trained and not trained & {prompt_of(row.example) for row in asked}


def test_rows_that_cannot_be_read_are_counted_and_skipped(folder, tiny_model_dir, capsys):
    rows = [ROWS["pairs"](n) for n in range(24)]
    rows[5]["chosen"] = None
    write_rows(folder / "pairs.jsonl", rows)
    assert main(["init", "pairs.jsonl", "--model", str(tiny_model_dir)]) == 0
    assert "on_bad_row: skip" in capsys.readouterr().out
    assert main(["run", "pipeline.yaml", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "1?"}] * 3, "these rows are prompt-only: prompts without answers"),
        ([{"colour": "red"}] * 3, "rows.jsonl: no known format: found columns colour"),
    ],
)
def test_rows_that_no_method_trains_on_are_refused(rows, message, folder, capsys):
    write_rows(folder / "rows.jsonl", rows)
    assert main(["init", "rows.jsonl"]) == 2
    assert message in capsys.readouterr().err and not (folder / "pipeline.yaml").exists()


def test_a_file_is_never_written_over(folder, capsys):
    (folder / "pipeline.yaml").write_text("mine")
    assert main(["init", "pairs.jsonl"]) == 2
    assert "there is a file already" in capsys.readouterr().err
    assert (folder / "pipeline.yaml").read_text() == "mine"


# Rules of thumb


def facts(most, longest, unit="tokens"):
    return Facts("a", "language", "messages", 100, 100, longest, most, unit)


@pytest.mark.parametrize(
    ("found", "context", "limit"),
    [
        (facts(100, 110), None, 128),  # the longest is not far off: nothing is cut
        (facts(100, 900), None, 128),  # one row in a hundred is, and is cut
        (facts(3000, 3100), 2048, 2048),
        (facts(600, 700, "characters"), None, 256),
    ],
)
def test_max_length_holds_nearly_all_rows(found, context, limit):
    assert max_length(found, context)[0] == limit


def test_batches_and_epochs_by_the_number_of_rows():
    assert [epochs_for("sft", rows) for rows in (50, 1000, 50_000)] == [5, 3, 2]
    assert [batch_for(rows, 1) for rows in (50, 1000, 2000, 50_000)] == [4, 8, 16, 32]
