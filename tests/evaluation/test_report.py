"""Rows of every layout, scored and summed up; nothing is lost without a word."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from burnish import RewardModel, UserError
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.report import PreparationReport
from burnish.data.reading.graded import GRADED
from burnish.data.sources.source import load_rows
from burnish.evaluation import words
from burnish.evaluation.report import ScoredRow, evaluate, summed_up

USER = [{"role": "user", "content": "q"}]


def said(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("row", "completions", "grades"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, ("a", "b"), [1, 0]),
        ({"prompt": "q", "chosen": ["a"], "rejected": ["b", "c", "d"]}, tuple("abcd"), [1, 0, 0, 0]),
        ({"prompt": "q", "chosen": "a", "rejected": ["b", "c"]}, tuple("abc"), [1, 0, 0]),
        (
            {"prompt": USER, "chosen": said("a"), "rejected": [said("b"), said("c")]},
            (said("a"), said("b"), said("c")),
            [1, 0, 0],
        ),
        ({"prompt": "q", "completions": ["a", "b"], "scores": [0.5, -2]}, ("a", "b"), [0.5, -2]),
        ({"prompt": "q", "completions": ["a", "b"], "labels": [False, True]}, ("a", "b"), [0, 1]),
        (
            {"prompt": USER, "completions": ["a", said("b")], "scores": [1, 2]},
            (said("a"), said("b")),
            [1, 2],
        ),
        ({"prompt": "q", "completions": '["a", "b"]', "scores": "[1, 2]"}, ("a", "b"), [1, 2]),  # of CSV
        ({"prompt": "q", "chosen": "a", "rejected": ["[1]"]}, ("a", "[1]"), [1, 0]),
    ],
)
def test_rows_of_every_layout(row, completions, grades):
    example = GRADED(row)
    assert example.completions == completions
    assert example.columns == {"labels": grades}
    assert GRADED.recognise({**row, "subset": "x", "id": 3}).unused == ("id",)


def test_other_layouts_of_pairs_are_read_as_for_training():
    example = GRADED({"question": "q", "chosen": "a", "rejected": "b", "margin": 3.0})
    assert example.columns == example.plain.columns == {"labels": [1.0, 0.0]}
    assert example.is_chat and example.plain.completions == ("a", "b")


def test_plain_texts_as_chats():
    example = GRADED({"prompt": "q", "chosen": "a", "rejected": "b"}, as_chats=True)
    assert (example.prompt, example.completions) == (USER, (said("a"), said("b")))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"prompt": "q", "completions": ["a", "b"], "scores": [1]}, "2 completions, but 1 scores"),
        ({"prompt": "q", "completions": ["a"], "scores": [1]}, "two completions or more"),
        ({"prompt": "q", "completions": ["a", "b"], "scores": [1, None]}, "column 'scores'"),
        ({"prompt": "q", "completions": ["a", "b"], "labels": [1, "x"]}, "column 'labels'"),
        ({"prompt": "q", "completions": "a", "scores": [1]}, "column 'completions'"),
        ({"prompt": "q", "chosen": ["a"], "rejected": []}, "column 'rejected'"),
        ({"prompt": "q", "answers": ["a"]}, "no known format"),
    ],
)
def test_faults_name_the_column(row, what):
    with pytest.raises(UserError, match=what):
        GRADED(row)


# Summed up


def report_of(*rows: ScoredRow, **given):
    prepared = PreparationReport("rows.jsonl", "preference", read=len(rows), kept=len(rows), **given)
    return summed_up(rows, prepared, "model")


def pair(margin: float, subset: str = "", lengths=(5, 5)) -> ScoredRow:
    return ScoredRow(0, subset, [margin, 0.0], [1.0, 0.0], list(lengths))


def test_a_subset_counts_its_rows_and_the_mean_counts_subsets():
    report = report_of(pair(1, "b"), pair(1, "b"), pair(-1, "b"), pair(1, "a"), pair(0, "a"), pair(1))
    assert {name: (e.value, e.rows) for name, e in report.subsets.items()} == {
        "(none)": (1, 1),
        "a": (0.75, 2),
        "b": (pytest.approx(2 / 3), 3),
    }
    assert report.mean_of_subsets == pytest.approx((1 + 0.75 + 2 / 3) / 3)
    assert report.accuracy.value == pytest.approx(4.5 / 6)
    assert report.tied == pytest.approx(1 / 6)


def test_rows_without_a_preference_are_counted():
    report = report_of(pair(1), ScoredRow(1, "", [1.0, 2.0], [3.0, 3.0], [1, 1]))
    assert (report.undecided, report.pairs, report.accuracy.rows) == (1, 1, 1)
    assert words.lost(report) == "1 row without a better completion"
    with pytest.raises(UserError, match="no row has a better"):
        report_of(ScoredRow(1, "", [1.0, 2.0], [3.0, 3.0], [1, 1]))


def test_json_has_no_nan():
    found = report_of(pair(1), pair(2)).to_dict()
    json.dumps(found, allow_nan=False)
    assert found["length"]["correlation"]["value"] is None
    assert "mean_of_subsets" not in found


@pytest.mark.parametrize(
    ("right", "of", "end"),
    [
        (50, 60, "%)."),
        (31, 60, "not significantly different from chance (50 %)."),
        (10, 60, "worse than chance."),
    ],
)
def test_the_verdict(right, of, end):
    report = report_of(*[pair(1)] * right, *[pair(-1)] * (of - right))
    assert words.verdict(report).startswith(f"Right on {100 * right / of:.1f} % of 60 rows (95 % interval ")
    assert words.verdict(report).endswith(end)


def test_a_model_that_follows_length_is_told_from_one_that_guesses():
    from random import Random

    random = Random(0)
    lengths = [(random.randrange(5, 50), random.randrange(5, 50)) for _ in range(300)]
    by_length = [pair(a - b + random.gauss(0, 9), lengths=(a, b)) for a, b in lengths]
    guessing = [pair(random.gauss(0, 9), lengths=(min(a, b), max(a, b) + 1)) for a, b in lengths]
    assert "the longer one gets the higher reward" in words.length_meaning(report_of(*by_length))
    brief = [replace(each, rewards=[-r for r in each.rewards]) for each in by_length]
    assert "the shorter one gets the higher reward" in words.length_meaning(report_of(*brief))
    assert "No significant length bias" in words.length_meaning(report_of(*guessing))
    assert "equally long" in words.length_meaning(report_of(pair(1)))


# Scored by a model


@pytest.fixture(scope="module")
def model(reward_dir) -> RewardModel:
    return RewardModel.load(str(reward_dir), device="cpu")


def rows_of(count: int) -> list[dict]:
    return [
        {
            "prompt": f"{n} plus 1 is",
            "chosen": f" {n + 1}.",
            "rejected": f" {n}, I think.",
            "subset": "even" if n % 2 == 0 else "odd",
        }
        for n in range(count)
    ]


def test_a_data_set_has_the_rewards_that_the_function_gives(model):
    rows = rows_of(9)
    report = evaluate(model, load_rows(rows), PreparationOptions(max_length=512, truncation_mode="drop"))
    prompts = [row["prompt"] for row in rows]
    chosen, rejected = (model(prompts, [row[name] for row in rows]) for name in ("chosen", "rejected"))
    margins = [a - b for a, b in zip(chosen, rejected, strict=True)]
    assert report.accuracy.value == pytest.approx(sum(m > 0 for m in margins) / 9)
    loss = sum(math.log1p(math.exp(-m)) for m in margins) / 9
    assert report.log_loss == pytest.approx(loss, abs=1e-5)
    assert {name: each.rows for name, each in report.subsets.items()} == {"even": 5, "odd": 4}


def test_subsets_follow_their_rows_through_a_sample_and_dropped_rows(model, tmp_path):
    rows = rows_of(40)
    for row in rows[:30:3]:
        row["rejected"] = "x" * 600
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = load_rows(f"{file}#20")
    report = evaluate(model, source, PreparationOptions(max_length=512, truncation_mode="drop"))
    kept = [row for row in source.dataset if len(row["rejected"]) < 600]
    assert 0 < len(kept) < 20
    assert report.subsets["even"].rows == sum(row["subset"] == "even" for row in kept)
    assert report.read == 20 and report.kept == len(kept)
    assert report.dropped == {"longer than max_length": 20 - len(kept)}
