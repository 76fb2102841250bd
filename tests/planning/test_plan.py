"""`burnish plan`, as a person runs it, and what it says of other settings."""

import json
import subprocess
import sys

import pytest
import torch

from burnish.cli import main
from burnish.errors import UserError
from burnish.models.rehearsal import Effort, MicroBatch, Moment
from burnish.pipeline.methods import METHODS
from burnish.pipeline.settings import Setting
from burnish.pipeline.stage import Stage
from burnish.planning.devices import named_device
from burnish.planning.fitting import LIMIT, usable_bytes
from burnish.planning.memory import memory
from burnish.planning.predict import predict, predict_stage
from burnish.planning.sheets import SHEETS
from burnish.planning.show import one_line
from burnish.planning.speed import Speed, measured_speed, time_of


def prepared(method, model, data, **options):
    given = {
        "model_name_or_path": str(model),
        "dataset_name": str(data),
        "output_dir": "unused",
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "use_cpu": True,
        "report_to": "none",
        **options,
    }
    return Stage(method, METHODS[method], {k: Setting(v, "test") for k, v in given.items()}).prepare()


@pytest.fixture(scope="module")
def pipeline_file(tmp_path_factory, tiny_model_dir, chats_file, pairs_file):
    file = tmp_path_factory.mktemp("plan") / "pipeline.yaml"
    file.write_text(
        f"""
output_dir: {file.parent}/runs
defaults: {{per_device_train_batch_size: 4, use_cpu: true}}
stages:
  - {{name: sft, method: sft, model: {tiny_model_dir}, dataset: {chats_file}, use_peft: true}}
  - {{name: dpo, method: dpo, model: sft, dataset: {pairs_file}}}
"""
    )
    return file


def run(*words):
    command = [sys.executable, "-m", "burnish", "plan", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_pipeline_is_planned_stage_by_stage_and_nothing_is_written(pipeline_file):
    done = run(pipeline_file, "--json")
    assert done.returncode == 0, done.stderr
    sft, dpo = json.loads(done.stdout)["stages"]
    assert (sft["name"], dpo["name"]) == ("sft", "dpo")
    assert dpo["model"] == sft["model"] and dpo["follows"] == "sft"
    # the adapter goes on: the same weights are trained, and a frozen copy of it is the reference
    assert sft["predicted"]["trained"] == dpo["predicted"]["trained"] < dpo["predicted"]["parameters"]
    assert dpo["predicted"]["reference"] == "frozen adapter"
    assert dpo["predicted"]["parts"]["reference"] == 4 * dpo["predicted"]["trained"]
    assert dpo["fits"]["fits"]
    for stage in (sft, dpo):
        found = stage["predicted"]
        assert found["peak_bytes"] == sum(found["parts"].values())
        assert found["steps"] == 12 and found["tokens"] > 0 and found["seconds"] > 0
    assert not (pipeline_file.parent / "runs").exists()


def test_a_config_of_one_method_on_a_named_gpu(tmp_path, tiny_model_dir, pairs_file):
    file = tmp_path / "dpo.yaml"
    file.write_text(f"method: dpo\nmodel: {tiny_model_dir}\ndataset: {pairs_file}\nmax_steps: 2\n")
    done = run(file, "--device", "h100")
    assert done.returncode == 0, done.stderr
    assert "H100 SXM 80 GB" in done.stdout and "bfloat16" in done.stdout
    assert "base" not in done.stdout  # the process is not on the GPU


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("model: x\ndataset: y\n", [], "neither a pipeline"),
        ("method: dop\n", [], "dpo"),
        ("method: dpo\n", ["--device", "h10"], "h100"),
    ],
)
def test_what_cannot_be_planned_says_why(tmp_path, capsys, text, words, said):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert main(["plan", str(file), *words]) == 2
    assert said in capsys.readouterr().err


def test_full_dpo_scores_in_advance_and_kto_keeps_a_copy(tiny_model_dir, pairs_file):
    dpo = predict(prepared("dpo", tiny_model_dir, pairs_file))
    kto = predict(prepared("kto", tiny_model_dir, pairs_file, bf16=False))
    assert dpo.subject.reference == "precomputed" and dpo.seconds.reference > 0
    assert dpo.memory.parts.reference == 0
    assert kto.subject.reference == "frozen copy" and kto.seconds.reference == 0
    assert kto.memory.parts.reference == 4 * kto.subject.parameters


def test_a_file_counts_where_it_is_converted_in_the_memory_that_is_planned(tiny_model_dir, chats_file):
    """The tiny model is stored in float32."""
    lora = {"use_peft": True, "max_steps": 1}
    kept = predict(prepared("sft", tiny_model_dir, chats_file, **lora, dtype="float32")).subject
    found = predict(prepared("sft", tiny_model_dir, chats_file, **lora, dtype="bfloat16")).subject
    assert kept.file_bytes == 0
    assert found.file_bytes == 4 * found.parameters
    nothing = MicroBatch(Moment(), Moment(), Effort(), Effort())
    on_cpu, on_gpu = (memory(found, nothing, 1, kind, 0) for kind in ("cpu", "cuda"))
    assert on_cpu.when == "loading"
    assert on_cpu.peak - found.file_bytes == found.weight_bytes < on_gpu.peak


def test_more_tokens_take_more_and_checkpointing_takes_less(tiny_model_dir, chats_file):
    def activations(**options):
        return predict(prepared("sft", tiny_model_dir, chats_file, **options)).rehearsed.first.top.total

    usual = activations()
    assert activations(tokens_per_forward=32) < usual
    assert activations(gradient_checkpointing=True) < usual
    assert activations(per_device_train_batch_size=8) > usual


def test_what_fits_is_what_the_limit_allows(tiny_model_dir, chats_file):
    found = predict(prepared("sft", tiny_model_dir, chats_file), "rtx4090")
    fits = found.fitting()
    assert fits.fits and fits.limit_bytes == usable_bytes(named_device("rtx4090"))
    assert fits.limit_bytes == int((24e9 - 1e9) * LIMIT)
    assert fits.max_length == fits.model_limit == 512
    assert fits.tokens_per_forward > 100 * found.micro_batches.tokens


def test_a_stage_that_cannot_be_told_trains_without_a_prediction(tiny_model_dir, chats_file, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such operation")

    monkeypatch.setattr("burnish.planning.predict.rehearsed", fails)
    assert predict_stage(prepared("sft", tiny_model_dir, chats_file)) is None


def test_devices_are_refused_by_name():
    with pytest.raises(UserError, match="rtx4090"):
        named_device("rtx4091")
    assert all(sheet.source for sheet in SHEETS.values())


def test_words():
    parts = {"weights": 4_000_000_000, "reference": 0}
    value, reason = one_line({"peak_bytes": 5e9, "seconds": 70, "parts": parts})
    assert value == "5.00 GB peak, about 1 min 10 s" and reason == "weights 4.00 GB"


def test_time_is_that_of_the_parts_times_what_a_whole_step_loses():
    effort, speed = Effort(operations=1e9, moved=2e9, calls=1000), Speed(1e9, 1e9, 1e-3, slowdown=2.0)
    assert time_of(effort, speed, on_cpu=True) == pytest.approx(2 * (1 + 2 + 1))
    assert time_of(effort, speed, on_cpu=False) == pytest.approx(2 * (1 + 2))


def test_this_machine_is_measured_once(monkeypatch, tmp_path):
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    monkeypatch.setattr("burnish.planning.speed.SPEED_SECONDS", 0.02)
    measured_speed.cache_clear()
    cpu = torch.device("cpu")
    found = measured_speed(cpu, torch.float32, 256)
    assert found.slowdown >= 1 and found.operations_per_second > 1e8
    measured_speed.cache_clear()
    monkeypatch.setattr("burnish.planning.speed._measure", None)
    assert measured_speed(cpu, torch.float32, 256) == found
    measured_speed.cache_clear()
