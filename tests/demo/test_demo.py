"""`burnish demo --quick` from end to end: the path of the real demo on a tiny random model."""

from __future__ import annotations

import json

import pytest

from burnish.cli import main
from burnish.demo.folder import QUICK, furnish
from burnish.demo.task import fields, right
from burnish.pipeline.run import read_pipeline
from burnish.pipeline.settings import read_document


@pytest.mark.slow
def test_quick_demo(tmp_path, capfd):
    assert main(["demo", "--quick", "--output_dir", str(tmp_path), "--seed", "1"]) == 0
    printed = capfd.readouterr().out
    for verb in ("inspect", "plan", "run"):
        assert f"$ burnish {verb} {tmp_path}" in printed
    found = json.loads((tmp_path / "runs" / "comparison.json").read_text())
    assert [model["name"] for model in found["models"]] == ["base", "sft", "dpo"]
    measures = {
        measure["name"]: [each["mean"] for each in measure["models"]] for measure in found["measures"]
    }
    assert measures["finished"][0] < 0.2 < 0.8 < measures["finished"][1]  # a random model learns to stop
    base, sft, dpo = measures["loss"]
    assert sft < base / 2 and dpo != sft  # DPO trained something
    assert {"score:burnish.demo.task:right", "score:burnish.demo.task:fields"} < measures.keys()
    assert len(set(measures["reward"])) == 3
    report = tmp_path / "runs" / "report.html"
    assert report.is_file()
    assert printed.rstrip().splitlines()[-1].split() == ["report", str(report)]

    assert main(["run", str(tmp_path / "pipeline.yaml")]) == 0
    again = capfd.readouterr().out
    assert again.count("skip: finished on") == 3  # what the demo leaves is an ordinary pipeline


def test_the_folder_is_a_pipeline_over_its_own_rows(tmp_path):
    folder = furnish(tmp_path, "MODEL", QUICK, seed=0)
    pipeline = read_pipeline(read_document(str(folder.pipeline)))
    assert [stage.name for stage in pipeline.stages] == ["sft", "reward", "dpo"]
    assert dict(pipeline.follows) == {"reward": "sft", "dpo": "sft"}
    counts = {file.name: len(file.read_text().splitlines()) for file in tmp_path.glob("*.jsonl")}
    assert counts == {
        "chats.jsonl": QUICK.lessons,
        "pairs.jsonl": QUICK.preferences,
        "held_out.jsonl": QUICK.held_out,
        "held_out_pairs.jsonl": QUICK.held_out,
    }


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    one = furnish(tmp_path / "folder", "MODEL", QUICK, seed=3)
    before = {file.name: file.read_bytes() for file in one.path.iterdir()}
    again = furnish(tmp_path / "folder", "MODEL", QUICK, seed=3)
    assert {file.name: file.read_bytes() for file in again.path.iterdir()} == before


def test_answers_are_graded_for_compare():
    expected = '{"name": "Maya", "item": "lemon tart", "count": 6, "day": "Saturday"}'
    assert right(answer=f" {expected}\n", expected=expected, prompt=[]) == 1.0
    other = expected.replace("6", "7")
    assert (right(answer=other, expected=expected), fields(answer=other, expected=expected)) == (0.0, 0.75)
    assert fields(answer="Sure!", expected=expected) == 0.0
