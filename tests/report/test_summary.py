"""The report in a sentence and a table: what counts as better, and what is said of runs that did not end."""

from __future__ import annotations

import json

import pytest

from burnish import units
from burnish.pipeline.folders import LOCK
from burnish.report.comparison import comparison_of, duel_of, measure_name
from burnish.report.curves import curve_charts
from burnish.report.folder import read_folder
from burnish.report.history import histories
from burnish.report.measures import main_number
from burnish.report.stage import stage_view, status_of, warned
from burnish.report.summary import summary_of, text_of, to_dict, told
from tests.report.folders import comparison, metrics, write_json, write_pipeline, write_run

GOLDEN = """\
bakery: 3 stages · from SmolLM2-135M-Instruct · 7 min 22 s · cpu
It worked. Score by right_ticket rose from 0 % (base) to 84.4 % (dpo) on 96 prompts.

stage   status    measure          before  after   answers  time
base                                               0 %
sft     finished  loss (eval)      0.795   0.0972  58.3 %   2 min 27 s
reward  finished  accuracy (eval)  55.1 %  99.3 %           2 min 27 s
dpo     finished  accuracy (eval)  48.7 %  96.3 %  84.4 %   2 min 27 s"""


def summary(folder):
    found = read_folder(folder)
    stages = [stage_view(run, look_at_rows=False) for run in found.stages]
    return summary_of(found, stages, comparison_of(found.comparison))


@pytest.fixture
def pipeline(tmp_path):
    return write_pipeline(tmp_path / "bakery")


def set_status(folder, **statuses: str):
    path = folder / "pipeline.json"
    listing = json.loads(path.read_text())
    for stage in listing["stages"]:
        stage["status"] = statuses.get(stage["name"], stage["status"])
        stage["why"] = ""
    write_json(path, listing)
    return folder


def test_the_summary_of_a_pipeline(pipeline):
    assert text_of(summary(pipeline)) == GOLDEN


def test_as_json_the_numbers_are_those_of_the_files(pipeline):
    found = to_dict(summary(pipeline), "report.html")
    logged = [json.loads(line) for line in (pipeline / "sft" / "metrics.jsonl").read_text().splitlines()]
    evaluated = [row["eval_loss"] for row in logged if "eval_loss" in row]
    assert found["stages"][0] == {
        "name": "sft",
        "method": "sft",
        "status": "finished",
        "measure": "loss",
        "source": "evaluation",
        "before": evaluated[0],
        "after": evaluated[-1],
    }
    assert found["verdict"]["kind"] == "good"
    assert found["answers"]["dpo"] == {"mean": 0.844, "low": 0.76, "high": 0.91}
    assert json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("statuses", "kind", "text"),
    [
        ({"dpo": "running"}, "running", "dpo was still running at step 400 of 400 when this was written."),
        ({"reward": "failed", "dpo": "waiting"}, "failed", "reward failed."),
        ({"dpo": "skipped"}, "good", "Score by right_ticket rose"),
    ],
)
def test_what_did_not_end_is_said_first(pipeline, statuses, kind, text):
    found = summary(set_status(pipeline, **statuses)).verdict
    assert found.kind == kind and found.text.startswith(text)


def test_a_stage_that_was_killed_is_said_so(pipeline):
    (pipeline / "dpo" / LOCK).write_text("")
    found = summary(set_status(pipeline, dpo="running")).verdict
    assert (found.badge, found.kind) == ("Stopped", "failed")
    assert found.text == "dpo was killed at step 400 of 400. The same command takes it up again."


def test_without_a_comparison_nothing_is_said_to_have_worked(pipeline):
    (pipeline / "comparison.json").unlink()
    found = summary(pipeline)
    assert found.verdict.badge == "Trained" and not found.answers_name
    assert found.verdict.text == (
        "All 3 stages finished. Accuracy in evaluation rose from 48.7 % to 96.3 % on 60 rows "
        "(95 % interval 88.1 to 98.9 %). "
        "The answers before and after were not compared."
    )
    (pipeline / "dpo" / "metrics.jsonl").unlink()
    assert "55" in summary(pipeline).verdict.text


def test_stages_that_never_began(pipeline):
    found = summary(set_status(pipeline, reward="waiting", dpo="waiting"))
    (pipeline / "comparison.json").unlink()
    found = summary(pipeline)
    assert found.verdict.text == "1 of 3 stages finished." and found.verdict.badge == "Unfinished"


# Before and after


def compared(before, after, higher=True, pairs=()):
    def mean(low, high):
        return {"mean": (low + high) / 2, "low": low, "high": high}

    measure = {"name": "reward", "higher_is_better": higher, "models": [mean(*before), mean(*after)]}
    return comparison_of(
        {"models": [{"name": "a"}, {"name": "b"}], "measures": [measure | {"pairs": list(pairs)}]}
    )


@pytest.mark.parametrize(
    ("before", "after", "higher", "way"),
    [
        ((1, 2), (3, 4), True, "better"),
        ((3, 4), (1, 2), True, "worse"),
        ((3, 4), (1, 2), False, "better"),
        ((1, 3), (2, 4), True, "not significant"),
    ],
)
def test_intervals_that_overlap_say_nothing(before, after, higher, way):
    assert compared(before, after, higher).outcome.way == way


@pytest.mark.parametrize(
    ("pair", "way"),
    [
        ({"a": "b", "b": "a", "win_rate": 0.7, "low": 0.6, "high": 0.8}, "better"),
        ({"a": "a", "b": "b", "win_rate": 0.7, "low": 0.6, "high": 0.8}, "worse"),
        ({"a": "b", "b": "a", "win_rate": 0.55, "low": 0.45, "high": 0.65}, "not significant"),
        ({"a": 1, "b": 0, "win_rate": 0.7, "low": 0.6, "high": 0.8}, "better"),
    ],
)
def test_the_same_prompts_compared_say_more_than_means(pair, way):
    assert compared((1, 3), (2, 4), pairs=[pair]).outcome.way == way


def test_a_pair_is_told_of_the_later_model():
    duel = duel_of(
        {"a": "base", "b": "dpo", "win_rate": 0.2, "low": 0.1, "high": 0.3, "n": 40}, ["base", "dpo"]
    )
    assert (duel.names, duel.rate, duel.verdict) == ("dpo against base", "80 %", "better")
    assert duel.range == "70 to 90 %"


def test_equal_answers_are_no_difference():
    pair = {"a": "b", "b": "a", "win_rate": 0.5, "low": 0.3, "high": 0.7, "n": 9}
    found = told(compared((1, 3), (1, 3), pairs=[pair]).outcome)
    assert (found.badge, found.text) == (
        "No difference",
        "Reward of the answers is 2.00 for a and for b on 0 prompts.",
    )
    near = told(compared((1, 3), (1.2, 3.2), pairs=[pair]).outcome)
    assert near.text == "Reward of the answers rose from 2.00 (a) to 2.20 (b) on 0 prompts: not significant."


def test_a_pair_without_a_win_rate_is_left_out():
    pairs = [{"a": "b", "b": "a", "win_rate": None, "low": None, "high": None, "n": 9}]
    assert compared((1, 2), (3, 4), pairs=pairs).measures[0].duels == []


def test_length_never_decides():
    found = comparison()
    found["measures"] = [each for each in found["measures"] if each["name"] == "length"]
    view = comparison_of(found)
    assert view.outcome is None and view.main is None
    assert [each.name for each in comparison_of(comparison()).measures] == [
        "score by right_ticket",
        "reward of the answers",
        "length of the answers",
    ]


def test_names_of_measures():
    assert measure_name("score:tasks/task.py:grade") == "score by grade"
    assert measure_name("something") == "something"


# Main numbers


def test_the_main_number_is_that_of_the_method():
    found = {name: main_number(name, histories(metrics(name, 40))) for name in ("sft", "reward", "dpo")}
    assert {name: each.measure.metric for name, each in found.items()} == {
        "sft": "loss",
        "reward": "accuracy",
        "dpo": "rewards/accuracies",
    }
    assert all(each.source == "evaluation" and each.change == "better" for each in found.values())
    assert (found["sft"].first_step, found["sft"].last_step) == (0, 40)


def test_numbers_that_differ_are_not_shown_as_equal():
    number = main_number(
        "sft", histories([{"step": i, "eval_loss": n} for i, n in enumerate((5.57682, 5.57613))])
    )
    assert (number.before_text, number.after_text, number.change) == ("5.577", "5.576", "better")
    same = main_number("sft", histories([{"step": i, "eval_loss": 5.0} for i in range(2)]))
    assert (same.before_text, same.sentence()) == ("5.00", "Loss in evaluation stayed at 5.00.")


def test_an_evaluation_at_the_end_alone_has_no_before():
    number = main_number("sft", histories([{"step": 1, "loss": 3.0}, {"step": 9, "eval_loss": 1.0}]))
    assert (number.before, number.after, number.change) == (None, 1.0, "")
    assert number.sentence() == "Loss in evaluation: 1.00."
    assert main_number("sft", {}) is None


def test_a_chart_for_every_metric(tmp_path):
    found = histories([*metrics("dpo", 40), {"step": 3, "my_metric": 1.0}])
    charts = curve_charts(found)
    assert [chart.title for chart in charts if not chart.folded] == [
        "Loss",
        "Accuracy",
        "Margin",
        "Rewards",
        "Learning rate",
        "Gradient norm",
    ]
    assert charts[-1].title == "my_metric" and charts[-1].folded
    loss = charts[0]
    assert loss.head == ["step", "training", "evaluation"]
    assert [row[0] for row in loss.table] == ["0", "20", "40"]
    evaluated = dict(found["loss"].evaluation)
    assert loss.table[-1] == [
        "40",
        units.metric(found["loss"].training[-1][1]),
        units.metric(evaluated[40.0]),
    ]
    assert loss.table[0][1] == "–"
    assert loss.svg.count("<polyline") == 3 and 'aria-label="Loss over 40 steps: training from' in loss.svg


def test_values_that_are_no_numbers_are_told():
    found = histories([{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("inf")}, {"step": 3, "loss": 0.5}])
    assert curve_charts(found)[0].note == "1 value not finite and left out"


def test_a_run_without_any_step_is_reported(tmp_path):
    folder = write_run(tmp_path / "sft", "sft", "sft", 4)
    (folder / "metrics.jsonl").unlink()
    assert summary(folder).verdict.text == "The answers before and after were not compared."


def test_warnings_of_settings_come_before_what_was_noticed():
    found = warned(
        {"warnings": [{"key": "learning_rate", "where": "a.yaml:3", "text": "ten times the usual"}]}
    )
    assert [(each.rule, each.step, each.kind) for each in found] == [("learning_rate", "a.yaml:3", "warning")]
    assert warned({"warnings": None}) == []


# Words


def test_states():
    assert [
        status_of(word).state for word in ("finished", "skipped", "running", "failed", "waiting", "")
    ] == [*("finished", "finished", "running", "failed", "waiting", "waiting")]
