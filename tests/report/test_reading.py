"""What is read of a folder: whole ones, ones of which files are missing, and what a killed run left."""

from __future__ import annotations

import json

import pytest

from burnish.errors import UserError
from burnish.pipeline.folders import LOCK, locked
from burnish.report.data import prepared_rows
from burnish.report.folder import read_folder, read_lines
from burnish.report.history import histories, metric_of
from burnish.report.provenance import cost, decisions, error, inputs, options, plan
from burnish.report.samples import over_time, sampled_prompts
from tests.report.folders import preparation, record, write_lines, write_pipeline, write_run


def test_a_pipeline_has_its_stages_in_their_order(tmp_path):
    folder = read_folder(write_pipeline(tmp_path / "bakery"))
    assert folder.is_pipeline and folder.name == "bakery" and not folder.faults
    assert [(stage.name, stage.method, stage.follows) for stage in folder.stages] == [
        ("sft", "sft", ""),
        ("reward", "reward", "sft"),
        ("dpo", "dpo", "sft"),
    ]
    assert len(folder.stages[0].samples.rows) == 10


def test_a_pipeline_can_be_moved_and_its_stages_still_be_found(tmp_path):
    path = write_pipeline(tmp_path / "bakery")
    listing = json.loads((path / "pipeline.json").read_text())
    for stage in listing["stages"]:
        stage["folder"] = f"/elsewhere/runs/{stage['name']}"
    (path / "pipeline.json").write_text(json.dumps(listing))
    path = path.rename(tmp_path / "moved")
    assert all(stage.metrics.rows for stage in read_folder(path).stages)


def test_runs_side_by_side_without_a_pipeline(tmp_path):
    for name, started in (("b", "2026-01-01T00:00:00+00:00"), ("a", "2026-01-02T00:00:00+00:00")):
        folder = write_run(tmp_path / name, name, "sft", 4)
        (folder / "run.json").write_text(json.dumps(record(name, "sft", 4) | {"started": started}))
    found = read_folder(tmp_path)
    assert found.is_pipeline and [stage.name for stage in found.stages] == ["b", "a"]


@pytest.mark.parametrize("kind", ["nothing", "folder", "file"])
def test_a_folder_without_a_run_is_refused(tmp_path, kind):
    if kind == "folder":
        (tmp_path / "x").mkdir()
    if kind == "file":
        (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match=r"x: .*\n  fix: give the output_dir"):
        read_folder(tmp_path / "x")


def test_a_run_that_was_killed_is_stopped_and_one_that_goes_on_is_not(tmp_path):
    going = {"name": "a", "method": "sft", "status": "running"}
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(going))
    with locked(tmp_path / "here"):
        assert read_folder(tmp_path / "here").stages[0].status == "running"
    (tmp_path / "here" / LOCK).write_text("")  # left behind, and held by nobody
    for _ in range(2):
        assert read_folder(tmp_path / "here").stages[0].status == "stopped"
    assert read_folder(tmp_path / "elsewhere").stages[0].status == "running"  # nothing is known of it


def test_half_a_line_of_a_killed_run_is_counted(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n[1]\n\n{"step": 2, "lo')
    faults: list[str] = []
    lines = read_lines(path, faults)
    assert (list(lines.rows), lines.broken) == ([{"step": 1, "loss": 2.0}], 2)
    assert faults == ["metrics.jsonl has 2 broken lines, left out here"]


def test_a_broken_object_is_told_and_the_rest_is_read(tmp_path):
    folder = write_run(tmp_path / "sft", "sft", "sft", 4)
    (folder / "run.json").write_text('{"format": 1, "na')
    (folder / "preparation.json").write_text("[]")
    run = read_folder(folder).stages[0]
    assert run.name == "sft" and len(run.metrics.rows) == 5
    assert [fault.split(":")[0] for fault in run.faults] == [
        "run.json cannot be read",
        "preparation.json holds no object",
    ]


# Metrics


def test_training_and_evaluation_are_one_history():
    rows = [
        {"step": 0, "eval_loss": 2.0, "eval_runtime": 1.0, "eval_samples_per_second": 3.0},
        {"step": 2, "loss": 1.5, "epoch": 0.1, "learning_rate": 1e-5, "note": "x", "flag": True},
        {"step": 1, "loss": 1.9},
        {"step": 2, "loss": 1.4},  # a resumed run logs the step again
        {"step": 3, "loss": float("nan")},
        {"loss": 9.0},
        {"step": 4, "train_loss": 1.0, "train_runtime": 4.0},
    ]
    found = histories(rows)
    assert list(found) == ["loss", "learning_rate"]
    assert found["loss"].training == [(1.0, 1.9), (2.0, 1.4)]
    assert found["loss"].evaluation == [(0.0, 2.0)]
    assert found["loss"].broken == 1


def test_where_policy_and_reference_are_equal_no_pair_is_ranked():
    names = ("eval_rewards/accuracies", "eval_rewards/margins")
    rows = [
        {"step": i, **dict(zip(names, pair, strict=True))} for i, pair in enumerate([(0, 0), (0, -1), (1, 2)])
    ]
    assert histories(rows)["rewards/accuracies"].evaluation == [(1.0, 0.0), (2.0, 1.0)]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("eval_rewards/margins", "rewards/margins"),
        ("eval_runtime", None),
        ("eval_num_tokens", None),
        ("eval_steps_per_second", None),
        ("tokens_per_second", "tokens_per_second"),
        ("seconds", None),
        ("train_loss", None),
    ],
)
def test_which_keys_are_metrics(key, name):
    assert metric_of(key) == name


# Data, config, cost, lineage


def test_every_row_read_is_kept_or_has_a_reason():
    train, evaluation = prepared_rows(preparation("sft.jsonl", 600))
    assert (train.name, train.use, train.read, train.kept) == ("train_sft.jsonl", "trained on", 609, 600)
    assert [(part.name, part.value) for part in train.parts] == [("kept", 600), ("left out", 9)]
    assert [(each.text, each.kind, each.count, each.rows) for each in train.reasons] == [
        ("the answer is empty", "left out", 7, "12, 44, 80, 121, 130, 2 more"),
        ("longer than max_length", "left out", 2, "61, 300"),
        ("it does not end in the stop token", "warning", 1, "5"),
    ]
    assert (evaluation.use, evaluation.read, evaluation.reasons) == ("evaluated on", 60, [])


def test_options_that_were_given_stand_beside_their_defaults():
    given, others = options(record("sft", "sft", 4))
    assert [(each.name, each.value, each.default) for each in given] == [
        ("learning_rate", "0.0002", "2e-05"),
        ("num_train_epochs", "2.0", "3.0"),
        ("use_peft", "true", "false"),
        ("max_length", "512", "1024"),
    ]
    assert {each.name for each in others} & {each.name for each in given} == set()
    assert ("weight_decay", "0.0") in [(each.name, each.value) for each in others]


def test_predicted_and_measured_cost():
    found = cost(record("sft", "sft", 240))
    assert [(row.name, row.predicted, row.measured, row.error) for row in found.rows] == [
        ("Peak memory", "1.36 GB", "1.47 GB", "−7 %"),
        ("Time", "2 min 19 s", "2 min 27 s", "−6 %"),
        ("Steps", "240", "240", "exact"),
        ("Tokens", "171,600", "–", ""),
        ("Time of a step, median", "–", "1.4 s", ""),
        ("Tokens per second", "–", "2,312", ""),
    ]
    assert [bar.name for bar in found.memory] == [
        *(
            "weights",
            "gradients",
            "optimizer",
            "activations",
            "Python, its libraries",
        ),  # no reference: it takes nothing
        *("predicted peak", "measured peak"),
    ]
    assert cost({"predicted": None}) is None
    assert error(110.0, 100.0) == "+10 %" and error(None, 1.0) == ""


def test_what_is_not_as_expected_is_left_out(tmp_path):
    odd = {
        "decisions": "no",
        "plan": [["a"], 3],
        "config": None,
        "given": [1],
        "measured": {"peak_bytes": "x"},
    }
    assert (decisions(odd), plan(odd), options(odd)) == ([], [("a", "", "")], ([], []))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(odd | {"inputs": 3, "seconds": None}))
    assert inputs(read_folder(folder).stages[0]) == []


# Samples


def test_equal_answers_in_a_row_are_one():
    found = over_time("p", {0: "a", 10: "b", 20: "b", 30: "a"})
    assert [(each.when, each.text) for each in found.answers] == [
        ("step 0", "a"),
        ("steps 10 to 20", "b"),
        ("step 30", "a"),
    ]


def test_of_many_answers_the_first_and_the_last_are_among_those_shown():
    found = over_time("p", {step: f"{step}" for step in range(50)})
    assert len(found.answers) == 6 and found.left_out == 44
    assert (found.answers[0].text, found.answers[-1].text) == ("0", "49")


def test_samples_go_by_prompt(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    path = tmp_path / "samples.jsonl"
    rows = [(0, "text", "x"), (1, chat, "y"), (0, "text", "z")]
    write_lines(path, [{"step": i, "index": n, "prompt": p, "answer": a} for i, (n, p, a) in enumerate(rows)])
    found = sampled_prompts(read_lines(path, []).rows)
    assert [each.prompt for each in found] == ["text", "system: Be brief.\nuser: Hi"]
    assert [answer.text for answer in found[0].answers] == ["x", "z"]
