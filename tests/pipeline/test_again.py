"""A pipeline run again: what is skipped, resumed and trained anew, and what becomes of the results before."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from burnish.cli import main
from tests.conftest import write_rows

FAST = "max_steps: 2, per_device_train_batch_size: 4, logging_steps: 1, save_strategy: no, report_to: none"


def pairs(count=8):
    return [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}."} for n in range(count)]


def chats(count=8):
    texts = [("user", "Count."), ("assistant", "1 2 3")]
    turns = [{"role": role, "content": text} for role, text in texts]
    return [{"messages": [*turns, {"role": "user", "content": str(n)}, *turns[1:]]} for n in range(count)]


@pytest.fixture
def folder(tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "chats.jsonl", chats())
    write_rows(tmp_path / "pairs.jsonl", pairs())
    write_rows(tmp_path / "judged.jsonl", pairs(10))
    (tmp_path / "chat.yaml").write_text(
        f"output_dir: out\ndefaults: {{{FAST}, model: {tiny_model_dir}}}\nstages:\n"
        "- {name: sft, dataset: chats.jsonl}\n"
        "- {name: dpo, model: sft, dataset: pairs.jsonl}\n"
        "- {name: judge, method: reward, dataset: judged.jsonl}\n"
    )
    return tmp_path


def run(capsys, *words):
    """What `burnish run --json` says that it did: {stage: action}, and its reasons."""
    assert main(["run", "chat.yaml", "--json", *words]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    return {stage["name"]: stage["action"] for stage in stages}, {s["name"]: s["why"] for s in stages}


def record(folder, stage):
    return json.loads((folder / "out" / stage / "run.json").read_text())


def test_only_what_depends_on_a_changed_row_is_trained_again(folder, capsys):
    assert set(run(capsys)[0].values()) == {"run"}
    first = {stage: record(folder, stage) for stage in ("sft", "dpo", "judge")}
    actions, why = run(capsys)
    assert set(actions.values()) == {"skip"} and "of the same rows, model, template" in why["sft"]

    rows = pairs()
    rows[3]["rejected"] += " I think."
    write_rows(folder / "pairs.jsonl", rows)
    actions, why = run(capsys)
    assert actions == {"sft": "skip", "dpo": "run", "judge": "skip"}
    assert why["dpo"] == "rows of pairs.jsonl changed"
    assert json.loads((folder / "out" / "dpo.1" / "run.json").read_text()) == first["dpo"]
    assert record(folder, "sft") == first["sft"] and record(folder, "judge") == first["judge"]

    write_rows(folder / "chats.jsonl", chats(9))
    actions, why = run(capsys)
    assert actions == {"sft": "run", "dpo": "run", "judge": "skip"}
    assert why["sft"] == "rows of chats.jsonl changed (8 then, 9 now)"
    assert why["dpo"] == "'sft', which it starts from, is another run now"
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        *("dpo", "dpo.1", "dpo.2", "judge", "pipeline.json", "report.html", "sft", "sft.1")
    ]
    assert set(run(capsys)[0].values()) == {"skip"}


def test_a_dry_run_says_what_a_run_does_and_touches_nothing(folder, capsys):
    run(capsys)
    assert "dpo" in (folder / "out" / "report.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}
    words = ["--set", "dpo.beta=0.3", "--set", "judge.logging_steps=2"]
    said = run(capsys, "--dry-run", *words)
    assert said[0] == {"sft": "skip", "dpo": "run", "judge": "skip"}
    assert said[1]["dpo"] == "beta was 0.1 and is 0.3"
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}
    assert run(capsys, *words) == said
    assert record(folder, "dpo")["command"] == (
        "burnish run chat.yaml --set dpo.beta=0.3 --set judge.logging_steps=2"
    )


def test_a_model_that_was_changed_by_hand_is_trained_again(folder, capsys):
    run(capsys)
    (folder / "out" / "judge" / "model.safetensors").write_bytes(b"other")
    actions, why = run(capsys, "--dry-run")
    assert actions["judge"] == "run" and "is not the one that was saved" in why["judge"]


def test_the_record_says_what_a_run_was_made_from(folder, capsys, tiny_model_dir):
    run(capsys)
    found = record(folder, "dpo")
    assert (found["format"], found["status"], found["method"], found["steps"]) == (1, "finished", "dpo", 2)
    (train,) = found["inputs"]["data"]["train"]
    assert (train["name"], train["rows"], len(train["sha256"])) == ("pairs.jsonl", 8, 64)
    assert found["inputs"]["model"]["stage"] == "sft"
    assert found["inputs"]["model"]["sha256"] == record(folder, "sft")["output"]["sha256"]
    assert found["given"]["max_steps"] == 2 and found["defaults"]["max_steps"] == -1
    assert found["config"]["beta"] == 0.1 and found["seed"] == 42
    assert ["reference", "precomputed"] in [row[:2] for row in found["plan"]]
    assert found["measured"]["peak_bytes"] > 1e7 and found["measured"]["step_seconds"] > 0
    assert found["metrics"]["rewards/margins"] != 0
    assert record(folder, "sft")["inputs"]["model"]["name"] == str(tiny_model_dir)
    board = json.loads((folder / "out" / "pipeline.json").read_text())
    assert [(s["name"], s["folder"], s["follows"], s["status"]) for s in board["stages"]] == [
        *(("sft", "sft", None, "finished"), ("dpo", "dpo", "sft", "finished")),
        ("judge", "judge", None, "finished"),
    ]
    assert board["text"] == (folder / "chat.yaml").read_text() and board["file"] == "chat.yaml"


def test_a_stage_that_fails_is_written_down_and_run_again(folder, capsys, monkeypatch):
    from burnish.methods.dpo import DPOTrainer

    with monkeypatch.context() as broken:
        broken.setattr(DPOTrainer, "objective", lambda *rest: 1 / 0)
        assert main(["run", "chat.yaml"]) == 1
    assert record(folder, "dpo")["status"] == "failed" and "ZeroDivision" in record(folder, "dpo")["error"]
    board = json.loads((folder / "out" / "pipeline.json").read_text())
    assert [stage["status"] for stage in board["stages"]] == ["finished", "failed", "waiting"]
    capsys.readouterr()
    actions, why = run(capsys)
    assert actions == {"sft": "skip", "dpo": "run", "judge": "run"}
    assert why["dpo"] == "it failed before a checkpoint was complete, so it starts over"


def test_a_pipeline_that_is_killed_in_its_second_stage_goes_on_there(folder):
    """Killed after a checkpoint; in the end the weights are those of a run nobody killed, to the byte."""
    text = (folder / "chat.yaml").read_text().replace("- {name: judge", "# - {name: judge")
    more = "pairs.jsonl, max_steps: 16, save_strategy: steps, save_steps: 3"
    (folder / "chat.yaml").write_text(text.replace("pairs.jsonl", more))
    (folder / "whole.yaml").write_text((folder / "chat.yaml").read_text().replace("out\n", "whole\n"))
    command = [sys.executable, "-m", "burnish", "run"]
    with subprocess.Popen(
        [*command, "chat.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        wait_for(folder / "out" / "dpo" / "checkpoint-3" / "trainer_state.json", process)
        os.kill(process.pid, signal.SIGKILL)
    assert record(folder, "dpo")["status"] == "running"
    first = record(folder, "sft")
    done = subprocess.run([*command, "chat.yaml"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "skip: finished on" in done.stdout and "resume: it was interrupted; checkpoint-" in done.stdout
    assert record(folder, "sft") == first and record(folder, "dpo")["status"] == "finished"
    assert main(["run", "whole.yaml"]) == 0
    once, twice = ((folder / name / "dpo" / "model.safetensors").read_bytes() for name in ("whole", "out"))
    assert once == twice


def wait_for(path, process, seconds=200):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()
        time.sleep(0.005)


# Single verbs


def dpo(folder, model, *words):
    flags = "--max_steps 2 --per_device_train_batch_size 4 --save_strategy no --report_to none".split()
    data = ["--model_name_or_path", str(model), "--dataset_name", "pairs.jsonl", "--output_dir", "alone"]
    return main(["dpo", *data, *flags, *words])


def test_a_verb_writes_its_record_and_never_over_another_run(folder, tiny_model_dir, capsys):
    assert dpo(folder, tiny_model_dir) == 0
    found = json.loads((folder / "alone" / "run.json").read_text())
    assert found["status"] == "finished" and found["command"].startswith("burnish dpo --model_name_or_path")
    assert dpo(folder, tiny_model_dir, "--beta", "0.5") == 0
    assert "what was in alone is kept as alone.1" in capsys.readouterr().out
    assert json.loads((folder / "alone.1" / "run.json").read_text()) == found
    assert json.loads((folder / "alone" / "run.json").read_text())["config"]["beta"] == 0.5


def test_a_folder_that_is_read_is_not_moved_away(folder, tiny_model_dir, capsys):
    assert dpo(folder, tiny_model_dir) == 0
    assert dpo(folder, "alone") == 2
    assert "would be renamed, and alone is in it, which is read now" in capsys.readouterr().err
    assert (folder / "alone" / "model.safetensors").is_file() and not (folder / "alone.1").exists()


def test_a_folder_that_another_process_trains_into_is_refused(folder, tiny_model_dir, capsys):
    from burnish.pipeline.folders import locked

    assert dpo(folder, tiny_model_dir) == 0
    with locked(folder / "alone"):
        assert dpo(folder, tiny_model_dir, "--beta", "0.5") == 2
    assert "another process is training into this folder" in capsys.readouterr().err


def test_a_lock_goes_with_whatever_ends_it(tmp_path):
    from burnish.pipeline.folders import LOCK, is_locked, locked

    with pytest.raises(ZeroDivisionError), locked(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
        raise ZeroDivisionError
    assert not (tmp_path / "run" / LOCK).exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "run.1")
        with locked(tmp_path / "run"):
            pass
        with locked(tmp_path / "run"):  # the outer one leaves this alone
            assert is_locked(tmp_path / "run")


def test_a_folder_that_is_locked_after_the_judgement_is_left_alone(
    folder, tiny_model_dir, capsys, monkeypatch
):
    """Another process takes the folder while this one loads its model."""
    from burnish.pipeline import jobs
    from burnish.pipeline.folders import LOCK, locked

    assert dpo(folder, tiny_model_dir) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "alone").iterdir()}
    merged_first = jobs.merged_first
    with contextlib.ExitStack() as other:

        def late(*given):
            other.enter_context(locked(folder / "alone"))
            return merged_first(*given)

        monkeypatch.setattr(jobs, "merged_first", late)
        assert dpo(folder, tiny_model_dir, "--beta", "0.5") == 2
        assert "another process is training into this folder" in capsys.readouterr().err
        left = {path.name: path.stat().st_mtime_ns for path in (folder / "alone").iterdir()}
        assert left.pop(LOCK) and left == before and not (folder / "alone.1").exists()


OVER = "starts over: no checkpoint was complete\n"
CHECKPOINTS = "--max_steps 3 --save_strategy steps --save_steps 3 --logging_steps 1".split()
CHECKPOINTS += ["--per_device_train_batch_size", "2"]


def test_a_run_that_died_after_its_last_checkpoint_takes_no_step_more(folder, tiny_model_dir, capsys):
    """In the middle of an epoch: a step of the four of an epoch is left."""
    words = [*CHECKPOINTS, "--eval_dataset_name", "pairs.jsonl", "--eval_strategy", "no"]
    assert dpo(folder, tiny_model_dir, *words) == 0
    weights, found = folder / "alone" / "model.safetensors", folder / "alone" / "run.json"
    whole, first = weights.read_bytes(), json.loads(found.read_text())
    weights.unlink()
    found.write_text(json.dumps({**first, "status": "running", "metrics": {}}))
    capsys.readouterr()
    assert dpo(folder, tiny_model_dir, *words) == 0
    assert "resume it was interrupted; checkpoint-3 is complete" in capsys.readouterr().out
    again = json.loads(found.read_text())
    assert weights.read_bytes() == whole and again["steps"] == 3 and again["status"] == "finished"
    assert again["metrics"]["eval_loss"] == first["metrics"]["eval_loss"]
    assert again["metrics"]["loss"] == first["metrics"]["loss"] and "train_loss" not in again["metrics"]


def test_ctrl_c_says_where_and_how_to_go_on(folder, tiny_model_dir, capsys, monkeypatch):
    from burnish.methods.dpo import DPOTrainer

    step = DPOTrainer.training_step

    def interrupted(trainer, *given):
        if trainer.state.global_step == at:
            raise KeyboardInterrupt
        return step(trainer, *given)

    words = [*CHECKPOINTS, "--save_steps", "1"]
    with monkeypatch.context() as pressed:
        pressed.setattr(DPOTrainer, "training_step", interrupted)
        at = 0
        assert dpo(folder, tiny_model_dir, *words) == 130
        said = capsys.readouterr()
        assert "\nstopped\n" in said.err and said.out.endswith("at step 0; the same command " + OVER)
        at = 2
        assert dpo(folder, tiny_model_dir, *words) == 130
        said = capsys.readouterr()
        assert said.out.endswith(
            "dpo was interrupted at step 2; the same command resumes from checkpoint-2\n"
        )
    found = json.loads((folder / "alone" / "run.json").read_text())
    assert found["status"] == "interrupted" and "error" not in found
    assert not (folder / "alone" / "run.lock").exists()
    assert main(["report", "alone"]) == 0
    assert "was interrupted at step 2" in (folder / "alone" / "report.html").read_text()
    assert dpo(folder, tiny_model_dir, *words) == 0
    assert "resume it was interrupted; checkpoint-2 is complete" in capsys.readouterr().out
    for name in ("model.safetensors", "checkpoint-3/model.safetensors"):
        file = folder / "alone" / name
        assert file.stat().st_mode == (folder / "alone" / "config.json").stat().st_mode
