"""`burnish demo --quick` from end to end: the path of the real demo on a tiny random model."""

import io
import json

import pytest
from rich.console import Console

from burnish.cli import main
from burnish.demo import comparison, table
from burnish.demo.answers import Score
from burnish.demo.task import make_rows


@pytest.mark.slow
def test_quick_demo(tmp_path, capfd):
    assert main(["demo", "--quick", "--output_dir", str(tmp_path), "--seed", "1"]) == 0
    printed = capfd.readouterr().out
    found = json.loads((tmp_path / "demo.json").read_text())
    base, sft, dpo = found["models"]
    assert [model["name"] for model in found["models"]] == ["base", "after SFT", "after DPO"]
    assert base["score"]["valid"] < 0.1 < 0.5 < sft["score"]["valid"]  # a random model learns the form
    assert sft["eval_loss"] < base["eval_loss"] / 2
    assert dpo["eval_loss"] != sft["eval_loss"]  # DPO trained something
    assert len({model["reward"] for model in found["models"]}) > 1
    assert found["reward_model"].keys() == {"accuracy_before", "accuracy"}  # so tiny a one learns no ranking
    for name in ("base", "after SFT", "after DPO", "right tickets", "This was the quick run"):
        assert name in printed
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    for folder in ("sft", "dpo"):
        AutoModelForCausalLM.from_pretrained(tmp_path / folder)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").num_labels == 1


def outcome():
    """Three models: nothing right, the plain half right, all right."""
    rows = make_rows(0, 0, 0, 6)
    tickets = [row["expected"] for row in rows.held_out]
    mixed = [ticket if index % 2 == 0 else "{}" for index, ticket in enumerate(tickets)]
    models = [
        comparison.Measured("base", Score(0.0, 0.0, 0.0), 2.5, ["[bold]hm"] * 6, -1.0),
        comparison.Measured("after SFT", Score(0.5, 0.5, 0.5), 0.25, mixed, 0.5),
        comparison.Measured("after DPO", Score(1.0, 1.0, 1.0), 0.125, tickets, 2.0),
    ]
    return comparison.Outcome(rows, models, comparison.RewardModel(0.5, 0.75), 125.0)


def test_the_table_shows_the_measured_numbers():
    screen = Console(file=io.StringIO(), width=160)
    table.show(outcome(), screen)
    printed = screen.file.getvalue()
    for cell in (
        "50%",
        "100%",
        "2.500",
        "0.250",
        "0.125",
        "-1.00",
        "+2.00",
        "75%",
        "2 min 5 s",
        "6 held-out notes",
    ):
        assert cell in printed
    assert "[bold]hm" in printed  # an answer is never taken for markup


def test_notes_on_which_models_differ_are_shown_first():
    assert table.chosen_notes(outcome()) == [1, 3, 5, 0]


def test_long_answers_are_cut():
    assert table.shortened("a\nb") == "a b"
    assert len(table.shortened("x" * 500)) == table.LONGEST


def test_the_outcome_is_saved_as_json(tmp_path):
    outcome().save(tmp_path / "demo.json")
    saved = json.loads((tmp_path / "demo.json").read_text())
    assert saved["models"][1]["score"] == {"right": 0.5, "fields": 0.5, "valid": 0.5}
    assert saved["reward_model"] == {"accuracy_before": 0.5, "accuracy": 0.75}
    assert len(saved["held_out"]) == 6
