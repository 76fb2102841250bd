"""A run as a person sees it: on terminals of two widths, in a pipe, and what it writes down."""

import json
import re
import subprocess
import sys

import pytest

from burnish import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from burnish.engine.logs import read_lines
from tests.conftest import tiny_tokenizer, write_rows
from tests.terminal import shown

STEPS = 12


def command(model, rows, *more):
    words = f"dpo --model_name_or_path {model} --dataset_name {rows} --output_dir out --max_steps {STEPS}"
    rest = "--logging_steps 2 --test_split_size 0.25 --eval_strategy steps --eval_steps 6 --save_strategy no"
    return [sys.executable, "-m", "burnish", *words.split(), *rest.split(), "--max_length", "512", *more]


NUMBER = r"-?\d[\d.,e-]*"
HEADER = re.compile(r"^ +step +loss +margin +accuracy +grad norm +lr +tokens/s")
ROW = re.compile(rf"^(eval)? +(\d+)(?: +({NUMBER}(?: [MG]B)?))+$")


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 200])
def test_on_a_terminal(width, tiny_model_dir, pairs_file, tmp_path):
    shots = shown(command(tiny_model_dir, pairs_file), tmp_path, width)
    lines = shots.last.splitlines()
    assert all(len(text) <= width for text in lines)
    (header,) = [index for index, text in enumerate(lines) if HEADER.match(text)]
    assert ("logp rejected" in lines[header]) == (width == 200)
    end = next(index for index, text in enumerate(lines) if text.startswith(f"trained {STEPS} steps in "))
    rows = [ROW.match(text) for text in lines[header + 1 : end]]
    assert all(rows), "\n".join(lines[header:end])
    steps = [(row[1], int(row[2])) for row in rows]
    trained = [(None, step) for step in range(2, STEPS + 1, 2)]
    assert steps == [*trained[:3], ("eval", 6), *trained[3:], ("eval", 12)]
    took = r"(\d+ min )?[\d.]+ s"
    assert re.fullmatch(rf"trained {STEPS} steps in {took}, [\d,]+ tokens/s, peak [\d.]+ [MG]B", lines[end])
    assert not any(mark in shots.last for mark in ("━", "it/s", "Writing model shards", "Warning", "{'loss'"))
    moving = [text for shot in shots for text in shot.splitlines() if "━" in text or "─" in text]
    assert any(re.search(rf"\d+/{STEPS}  +[<>]?\d+ %  +\d+:\d\d left$", text) for text in moving), moving
    facts = [text for shot in shots for text in shot.splitlines() if text.startswith("loss 0.")]
    assert any(re.search(r"lr .*grad norm .* tokens/s  peak \d", text) for text in facts), shots[-2]


def test_in_a_pipe(tiny_model_dir, pairs_file, tmp_path):
    result = subprocess.run(
        command(tiny_model_dir, pairs_file), capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert result.returncode == 0 and result.stderr == ""
    assert "\x1b" not in result.stdout and "\r" not in result.stdout
    lines = result.stdout.splitlines()
    train = [text for text in lines if text.startswith("train   step=")]
    evaluations = [text for text in lines if text.startswith("eval    step=")]
    assert len(train) == STEPS // 2 and len(evaluations) == 2
    values = dict(pair.split("=") for pair in train[-1].split()[1:])
    written = read_lines(tmp_path / "out" / "metrics.jsonl")
    last = [line for line in written if "loss" in line][-1]
    assert values["step"] == f"{STEPS}/{STEPS}" and values["seconds_left"] == "0"
    assert float(values["loss"]) == pytest.approx(last["loss"], rel=1e-3)
    assert float(values["rewards/margins"]) == pytest.approx(last["rewards/margins"], rel=0.05)
    for group in (train, evaluations):  # one under the other
        assert len({tuple(match.start() for match in re.finditer("=", text)) for text in group}) == 1
    assert any(text.startswith(f"trained {STEPS} steps in ") for text in lines)


def test_disable_tqdm_gives_plain_lines_on_a_terminal(tiny_model_dir, pairs_file, tmp_path):
    shots = shown(command(tiny_model_dir, pairs_file, "--disable_tqdm", "true"), tmp_path, 80)
    assert "train   step= 2/12" in shots.last or "train   step=2/12" in shots.last
    assert not any("━" in shot for shot in shots)


# What it writes down

ROWS = [{"text": f"text number {n} of them"} for n in range(24)]


def sft(model_dir, folder, **more):
    options = {"max_steps": 4, "logging_steps": 1, "per_device_train_batch_size": 2, "save_strategy": "no"}
    return SFTTrainer(
        str(model_dir),
        SFTConfig(output_dir=str(folder), bf16=False, **(options | more)),
        train_dataset=ROWS[:16],
        eval_dataset=ROWS[16:],
        processing_class=tiny_tokenizer(),
    )


def test_every_log_is_a_line(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path, eval_strategy="steps", eval_steps=2)
    trainer.evaluate()
    assert not (tmp_path / "metrics.jsonl").exists()  # it waits until something is trained
    trainer.train()
    trainer.evaluate()
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [(line["step"], "eval_loss" in line, "train_loss" in line) for line in lines] == [
        (0, True, False),
        (1, False, False),
        (2, False, False),
        (2, True, False),
        (3, False, False),
        (4, False, False),
        (4, True, False),
        (4, False, True),
        (4, True, False),
    ]
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    written = [line for line in lines if "loss" in line]
    own = ("seconds", "tokens_per_second", "peak_bytes")
    assert [{k: v for k, v in line.items() if k not in own} for line in written] == logged
    assert all(line["tokens_per_second"] > 0 and line["peak_bytes"] > 2**20 for line in written)
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] == 0


def test_a_run_that_goes_on_continues_after_the_checkpoint(tiny_model_dir, tmp_path):
    sft(tiny_model_dir, tmp_path, max_steps=6, save_strategy="steps", save_steps=2).train()
    whole = read_lines(tmp_path / "metrics.jsonl")
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 7, "lo')  # cut off as it was written
    again = sft(tiny_model_dir, tmp_path, max_steps=6, save_strategy="no")
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    resumed = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in resumed] == [1, 2, 3, 4, 5, 6, 6]
    assert resumed[:4] == whole[:4]
    assert [line.get("loss") for line in resumed[:6]] == [line.get("loss") for line in whole[:6]]
    assert resumed[4]["seconds"] > whole[3]["seconds"]


def test_a_new_run_in_the_same_folder_starts_anew(tiny_model_dir, tmp_path):
    for _ in range(2):
        sft(tiny_model_dir, tmp_path, max_steps=2).train()
    assert [line["step"] for line in read_lines(tmp_path / "metrics.jsonl")] == [1, 2, 2]


def test_the_bars_of_transformers_are_gone_and_an_own_callback_stays(tiny_model_dir, tmp_path):
    from transformers import PrinterCallback, ProgressCallback

    class Own(ProgressCallback):
        pass

    trainer = sft(tiny_model_dir, tmp_path)
    kinds = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert PrinterCallback not in kinds and ProgressCallback not in kinds
    trainer = SFTTrainer(
        str(tiny_model_dir), SFTConfig(output_dir=str(tmp_path)), callbacks=[Own], train_dataset=ROWS
    )
    assert Own in [type(callback) for callback in trainer.callback_handler.callbacks]


def test_a_value_that_is_not_finite_is_null(tiny_model_dir, pairs_file, tmp_path):
    trainer = DPOTrainer(
        str(tiny_model_dir),
        args=DPOConfig(output_dir=str(tmp_path), max_steps=1, logging_steps=1, save_strategy="no"),
        train_dataset=str(pairs_file),
        processing_class=tiny_tokenizer(),
    )
    trainer.loss = lambda pair: pair.margin * float("nan")
    trainer.train()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text and json.loads(text.splitlines()[0])["loss"] is None


def test_an_error_gives_the_terminal_back(tiny_model_dir, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    code = (
        "from burnish import *; from transformers import TrainerCallback\n"
        "class Break(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **rest):\n"
        "        if state.global_step == 3: raise RuntimeError('broken in the middle')\n"
        f"trainer = SFTTrainer({str(tiny_model_dir)!r}, SFTConfig(output_dir='out', max_steps=9), "
        f"train_dataset={str(rows)!r}, callbacks=[Break()])\n"
        "try: trainer.train()\n"
        "except RuntimeError as error: print('so it was', error)\n"
    )
    shots = shown([sys.executable, "-c", code], tmp_path, 80)
    assert shots.last.splitlines()[-1] == "so it was broken in the middle"
    assert "0:00 left" not in shots.last and "━" not in shots.last
