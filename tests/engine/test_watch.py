"""What is said of real runs that go wrong, what is written down, and that it is said once."""

import pytest
from peft import LoraConfig

from burnish import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer, UserError
from burnish.data.example import TokenizedExample
from burnish.engine.logs import read_lines
from tests.conftest import tiny_tokenizer, write_rows

ROWS = [{"text": f"text number {n} of them", "id": f"t{n}"} for n in range(96)]
LORA = LoraConfig(r=4, target_modules="all-linear")


def sft(model, folder, rows=ROWS, peft=None, **more):
    options = {"max_steps": 24, "logging_steps": 1, "per_device_train_batch_size": 2, "save_strategy": "no"}
    options |= {
        "bf16": False,
        "lr_scheduler_type": "constant",
        "output_dir": str(folder),
        "disable_tqdm": True,
    }
    return SFTTrainer(
        str(model),
        SFTConfig(**(options | more)),
        train_dataset=rows,
        processing_class=tiny_tokenizer(),
        peft_config=peft,
    )


def notices(folder):
    return {line["rule"]: line for line in read_lines(folder / "notices.jsonl")}


def test_a_healthy_run_is_left_in_peace(tiny_model_dir, tmp_path, capsys):
    sft(tiny_model_dir, tmp_path, learning_rate=1e-3).train()
    assert (tmp_path / "notices.jsonl").read_text() == "" and "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("peft", [None, LORA], ids=["all weights", "adapter"])
def test_a_learning_rate_of_zero_moves_nothing(peft, tiny_model_dir, tmp_path, capsys):
    sft(tiny_model_dir, tmp_path, peft=peft, learning_rate=0.0, max_steps=12).train()
    found = notices(tmp_path)
    assert set(found) == {"nothing_moves", "learning_rate_is_zero"}
    looked_at = 14 if peft else 15  # of two layers; the output head has no adapter
    text = f"{looked_at} of {looked_at} trained matrices have not changed"
    assert found["nothing_moves"]["step"] == 2 and found["nothing_moves"]["text"].startswith(text)
    assert f"error   step=2  {text}" in capsys.readouterr().out


def test_a_learning_rate_far_too_high_is_noticed(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path, max_grad_norm=0.0)
    trainer.args.learning_rate = 30.0  # more than a config takes
    trainer.train()
    assert "loss_rises" in notices(tmp_path)


def test_a_spike_names_the_rows_of_its_step(tiny_model_dir, tmp_path, capsys):
    file = write_rows(tmp_path / "rows.jsonl", ROWS)
    trainer = sft(tiny_model_dir, tmp_path, str(file), learning_rate=1e-5, max_steps=30)
    plain, calls = trainer.loss, []

    def spoilt(logprob):
        calls.append(1)
        return plain(logprob) * (1000.0 if len(calls) == 25 else 1.0)

    trainer.loss = spoilt
    trainer.train()
    found = [line for line in read_lines(tmp_path / "notices.jsonl") if line["rule"] == "gradient_spikes"]
    (spike,) = found  # once, though the rule is asked at every step
    assert spike["step"] == 25 and len(spike["rows"]) == 2
    assert all(row.startswith(f"{file}, row ") and "(id t" in row for row in spike["rows"])
    assert "times the median of the last 24; " in spike["text"] and "rows.jsonl, rows " in spike["text"]
    assert "warning step=25  gradient norm" in capsys.readouterr().out


def test_pairs_without_doubt_are_noticed(tiny_model_dir, pairs_file, tmp_path):
    options = {"logging_steps": 8, "save_strategy": "no", "disable_tqdm": True, "bf16": False}
    trainer = DPOTrainer(
        str(tiny_model_dir),
        args=DPOConfig(output_dir=str(tmp_path), learning_rate=1e-2, beta=1.0, max_steps=64, **options),
        train_dataset=str(pairs_file),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    found = notices(tmp_path)
    assert "perfect_from_the_start" in found and "margin_explodes" in found


def test_what_was_said_before_a_checkpoint_is_not_said_again(tiny_model_dir, tmp_path):
    options = {"learning_rate": 0.0, "max_steps": 12, "save_strategy": "steps", "save_steps": 6}
    sft(tiny_model_dir, tmp_path, **options).train()
    before = read_lines(tmp_path / "notices.jsonl")
    sft(tiny_model_dir, tmp_path, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    after = read_lines(tmp_path / "notices.jsonl")
    assert [line["rule"] for line in before] == ["nothing_moves", "learning_rate_is_zero"]
    assert after == [line for line in before if line["step"] <= 6]


def test_it_speaks_again_when_it_has_become_twice_as_bad(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path)
    watch = trainer.watch
    watch.lines.begin(0)
    for step, norm in ((1, 30.0), (2, 50.0), (3, 60.0), (4, 100.0)):
        watch.history.step, watch.history.norms = step, [2.0] * 30 + [norm]
        watch.on_step_end(trainer.args, trainer.state, trainer.control)
        watch.history.step = step
    said = read_lines(tmp_path / "notices.jsonl")
    assert [line["size"] for line in said] == [15.0, 30.0]


def test_logs_between_the_first_and_the_last_are_forgotten(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path)
    for step in range(1000):
        trainer.watch._remember({"step": step, "loss": 1.0})
    steps = [log["step"] for log in trainer.watch.history.logs]
    assert steps == [*range(20), *range(800, 1000)]


def test_what_deepspeed_has_applied_already_ends_the_run(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path)
    assert trainer.watch.gradient(float("nan"), trainer.last_step) is False
    trainer.is_deepspeed_enabled = True
    with pytest.raises(UserError, match="step 1 was applied by DeepSpeed"):
        trainer.watch.gradient(float("nan"), trainer.last_step)


def test_deepspeed_does_not_divide_the_loss_once_more(tiny_model_dir, tmp_path, monkeypatch):
    trainer, given = sft(tiny_model_dir, tmp_path), []
    monkeypatch.setattr(trainer.accelerator, "backward", lambda loss, **options: given.append(options))
    trainer.get_ready()
    step = [TokenizedExample.from_row(trainer.train_dataset[0])]
    for trainer.is_deepspeed_enabled in (False, True):
        trainer._micro_batch(trainer.model, step, None)
    assert given == [{}, {"scale_wrt_gas": False}]
