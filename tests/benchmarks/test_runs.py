"""The benchmarks from end to end on a tiny model: what they report, not how fast it was."""

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import roofline, vs_trl
from benchmarks._operations import least_operations
from benchmarks._rows import generated_rows
from benchmarks._worker import Result, Spec, build, run
from benchmarks.vs_trl import SHARED, check_same_start, with_reward_head
from burnish.demo.folder import write_rows

STEPS, BATCH = 2, 2


@pytest.fixture
def spec(tiny_model_dir, tmp_path, monkeypatch):
    """A run of DPO on four generated rows, with an empty cache."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    write_rows(tmp_path / "rows.jsonl", generated_rows("dpo", STEPS * BATCH))
    return Spec("burnish", "dpo", str(tiny_model_dir), str(tmp_path / "rows.jsonl"), BATCH, STEPS, "float32")


def test_a_run_reports_a_time_for_each_step_and_the_scoring_before_them(spec):
    between = []
    result = run(spec, between=lambda: between.append(1))
    assert len(result.step_seconds) == len(result.step_cpu_seconds) == len(between) == STEPS
    assert min(result.step_seconds) > 0 < result.advance_seconds
    assert result.peak_bytes > 10**8
    assert result.logical_tokens > 0
    assert math.isclose(result.first_step["loss"], math.log(2), rel_tol=1e-5)


def test_a_reward_model_gets_the_same_head_every_time(spec, tiny_model_dir, tmp_path):
    first, second = (with_reward_head(tiny_model_dir, tmp_path / name) for name in ("first", "second"))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    result = run(replace(spec, method="reward", model=str(first), steps=1))
    assert result.first_step["mean_reward"] != 0


@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_roofline(method, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        roofline, "load_rows", lambda method, count, _: (generated_rows(method, count), "generated")
    )
    monkeypatch.setattr(roofline, "TRIAD_BYTES", 2**20)
    file = tmp_path / "out.json"
    words = [method, "--batch", str(BATCH), "--steps", str(STEPS), "--dtype", "float32"]
    roofline.main([*words, "--model", str(tiny_model_dir), "--json", str(file)])
    found = json.loads(file.read_text())
    assert 0.5 < found["work_ratio"] <= 1.0
    assert 0 < found["share_of_limit"] < 1
    assert found["least_seconds"] < found["step_seconds"]
    assert len(found["samples"]["bandwidths"]) == STEPS


def test_outside_of_attention_sft_executes_the_least_there_is(spec, monkeypatch):
    """Attention multiplies in batches, everything else does not. Nothing is recomputed, nothing left out."""
    counter = roofline.counter
    counted = []

    def counting():
        counted.append(counter())
        return counted[-1]

    monkeypatch.setattr(roofline, "counter", counting)
    rows = generated_rows("sft", BATCH)
    write_rows(Path(spec.rows), rows)
    sft = replace(spec, method="sft", steps=1)
    roofline.executed_operations(sft)
    plain = sum(
        operations
        for mode in counted
        for name, operations in mode.get_flop_counts()["Global"].items()
        if "bmm" not in str(name)
    )
    subject = roofline.Subject("sft")
    with tempfile.TemporaryDirectory() as output:
        subject.look_at(build(sft, output))
    work = replace(subject.work, pairs=0)
    assert plain == least_operations(subject.shape, work, "sft")


def test_runs_that_start_apart_are_refused():
    ours = Result(first_step={"loss": 2.0})
    near, far = Result(first_step={"loss": 2.01}), Result(first_step={"loss": 2.5})
    check_same_start({"burnish": [ours], "default": [near], "tuned": [near]}, "sft", "bf16")
    with pytest.raises(SystemExit, match="tuned do not start from the same loss"):
        check_same_start({"burnish": [ours], "default": [near], "tuned": [far]}, "sft", "bf16")


@pytest.mark.slow
def test_against_trl(tiny_model_dir, tmp_path):
    pytest.importorskip("trl")
    file, data = tmp_path / "out.json", tmp_path / "rows.jsonl"
    write_rows(data, generated_rows("dpo", STEPS * BATCH))
    words = ["dpo", "--batch", str(BATCH), "--steps", str(STEPS), "--repeats", "1", "--dtype", "float32"]
    vs_trl.main([*words, "--data", str(data), "--model", str(tiny_model_dir), "--json", str(file)])
    found = json.loads(file.read_text())
    for ratio in ("step_time_ratio", "peak_memory_ratio"):
        assert set(found[ratio]) == {"default", "tuned"}
        assert min(found[ratio].values()) > 0
    assert {name: len(runs) for name, runs in found["samples"].items()} == {
        "burnish": 1,
        "default": 1,
        "tuned": 1,
    }


def test_options_of_all_contenders_are_shared(tiny_model_dir):
    options = vs_trl.arguments(["sft", "--steps", "2"])
    specs = vs_trl.contenders(options, str(tiny_model_dir), "rows.jsonl")
    assert specs["burnish"].options == specs["default"].options == SHARED["sft"]
    beside = {"gradient_checkpointing": False}
    assert specs["tuned"].options == SHARED["sft"] | beside | vs_trl.TUNED["sft"]
    assert {specs[name].library for name in ("default", "tuned")} == {"trl"}
    options.untuned = True
    assert list(vs_trl.contenders(options, str(tiny_model_dir), "rows.jsonl")) == ["burnish", "default"]


def test_one_step_cannot_be_timed(capsys):
    with pytest.raises(SystemExit):
        vs_trl.arguments(["dpo", "--steps", "1"])
    assert "--steps must be more than 1" in capsys.readouterr().err
