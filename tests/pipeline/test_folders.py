"""Run folders: which checkpoint can be gone on from, and where folders are moved."""

import json

import pytest
import torch
from safetensors.torch import save_file

from burnish.engine.checkpoints import newest_complete, what_is_wrong
from burnish.pipeline.folders import make_room


def checkpoint(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"weight": torch.zeros(64)}, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.zeros(64)}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


DAMAGES = {
    "was not written to its end": lambda path: (path / "trainer_state.json").unlink(),
    "says that it is of another step": lambda path: (path / "trainer_state.json").write_text(
        '{"global_step": 1}'
    ),
    "has no weights that can be read": lambda path: cut(path / "model.safetensors"),
    "has half of an optimizer.pt": lambda path: cut(path / "optimizer.pt"),
    "has no scheduler.pt": lambda path: (path / "scheduler.pt").unlink(),
    "has no state of the random numbers": lambda path: (path / "rng_state.pth").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(damage, tmp_path):
    older, newer = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert what_is_wrong(newer) == "" and newest_complete(tmp_path) == (newer, [])
    DAMAGES[damage](newer)
    assert newest_complete(tmp_path) == (older, [f"checkpoint-10 {damage}"])


def test_a_missing_shard_is_noticed(tmp_path):
    path = checkpoint(tmp_path, 1)
    index = {"weight_map": {"weight": "model.safetensors", "other": "model-2.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert what_is_wrong(path) == "has no weights that can be read"


def test_a_run_is_moved_and_what_is_no_run_is_left_alone(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    for number in (1, 2):
        checkpoint(run, 1)
        assert make_room(run) == tmp_path / f"run.{number}" and not run.exists()
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert make_room(other) is None and (other / "notes.txt").is_file()
    assert make_room(tmp_path / "nothing") is None


def test_a_run_that_left_notes_only_is_not_kept(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("run.json", "preparation.json"):
        (tmp_path / "run" / name).write_text("{}")
    assert make_room(tmp_path / "run") is None and not list((tmp_path / "run").iterdir())


def test_adapters_on_a_model_that_moves_name_its_new_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, base in {"sft": "base-model", "dpo": "out/sft", "kto": "out/kto/base"}.items():
        checkpoint(tmp_path / "out" / name, 1)
        for folder in (tmp_path / "out" / name, tmp_path / "out" / name / "checkpoint-1"):
            (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base, "r": 1}))
    make_room(tmp_path / "out" / "sft")
    make_room((tmp_path / "out" / "kto").relative_to(tmp_path))

    def base(path):
        return json.loads((tmp_path / "out" / path / "adapter_config.json").read_text())

    moved = {"base_model_name_or_path": str(tmp_path / "out" / "sft.1"), "r": 1}
    assert base("dpo") == {**moved, "base_model_name_or_path": base("dpo")["base_model_name_or_path"]}
    assert (tmp_path / base("dpo")["base_model_name_or_path"]).resolve() == tmp_path / "out" / "sft.1"
    assert base("dpo/checkpoint-1") == base("dpo")
    assert base("kto.1")["base_model_name_or_path"] == "out/kto.1/base"
    assert base("sft.1")["base_model_name_or_path"] == "base-model"
