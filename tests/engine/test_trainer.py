"""What the engine promises beside the mathematics: evaluation, bad steps, saving, resuming, callbacks."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from burnish import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer, UserError
from burnish.engine.plan import _compute_as_stored
from burnish.losses.margin import sigmoid
from tests.invariants.conftest import documents, llama, pairs

QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no"}


def sft(model, folder, tokenizer, rows=None, **options):
    args = SFTConfig(output_dir=str(folder), **{**QUIET, **options})
    return SFTTrainer(model, args, train_dataset=rows or documents(), processing_class=tokenizer)


@pytest.fixture
def tokenizer(tiny_model_dir):
    return AutoTokenizer.from_pretrained(tiny_model_dir)


def test_eval_loss_is_exact_over_unequal_batches(tokenizer, tmp_path):
    rows = documents(9)
    losses = []
    for batch in (1, 2, 9):
        trainer = sft(llama(), tmp_path, tokenizer, per_device_eval_batch_size=batch, tokens_per_forward=25)
        metrics = trainer.evaluate(rows)
        losses.append(metrics["eval_loss"])
        assert {"eval_entropy", "eval_mean_token_accuracy"} <= metrics.keys()
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-12)


def test_packing_counts_packs_and_trains_every_row_once(tokenizer, tmp_path):
    """A step of all packs is the step of all rows; a step of one pack has as many rows as fit."""
    rows = documents(9)
    first_losses, steps = [], []
    for batch_size, packing in ((9, False), (9, True), (1, True)):
        trainer = sft(
            llama(),
            tmp_path,
            tokenizer,
            rows,
            packing=packing,
            max_length=24,
            per_device_train_batch_size=batch_size,
            num_train_epochs=1,
            logging_steps=1,
        )
        trainer.train()
        first_losses.append(trainer.state.log_history[0]["loss"])
        steps.append(trainer.state.global_step)
    packs = trainer.train_dataset
    assert first_losses[1] == pytest.approx(first_losses[0], rel=1e-12)
    assert steps == [1, 1, len(packs)] and 1 < len(packs) < 9
    assert any(f"9 rows in {len(packs)} packs" in choice for _, choice, _ in trainer.plan.rows)


def test_packing_needs_a_length_to_fill():
    with pytest.raises(UserError, match="packing: needs a max_length"):
        SFTConfig(packing=True, max_length=None)


def test_a_step_without_finite_gradient_is_not_applied(tokenizer, tmp_path, caplog):
    def spoilt(logprob):
        return -logprob * (float("nan") if spoil else 1.0)

    model = llama()
    args = SFTConfig(
        output_dir=str(tmp_path),
        **QUIET,
        max_steps=3,
        logging_steps=1,
        weight_decay=0.1,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
    )
    trainer = SFTTrainer(model, args, train_dataset=documents(), processing_class=tokenizer, loss=spoilt)

    spoil, weights = False, []

    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            nonlocal spoil
            weights.append(torch.cat([p.detach().flatten().clone() for p in model.parameters()]))
            spoil = state.global_step == 1

    trainer.add_callback(Spoil())
    trainer.train()
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert "step 2 was not applied" in caplog.text and "rows " in caplog.text
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert [math.isfinite(loss) for loss in losses] == [True, False, True]
    (total,) = [entry["train_loss"] for entry in trainer.state.log_history if "train_loss" in entry]
    assert total == pytest.approx((losses[0] + losses[2]) / 2)


def test_training_stops_after_several_bad_steps_in_a_row(tokenizer, tmp_path):
    args = SFTConfig(output_dir=str(tmp_path), **QUIET, max_steps=20)
    spoilt = lambda logprob: logprob * float("inf")
    trainer = SFTTrainer(llama(), args, train_dataset=documents(), processing_class=tokenizer, loss=spoilt)
    with pytest.raises(UserError, match="5th in a row"):
        trainer.train()


def test_compute_metrics_gets_tokens_or_rewards(tokenizer, tmp_path):
    seen = {}

    def metrics(prediction):
        seen["shapes"] = prediction.predictions.shape, prediction.label_ids.shape
        trained = prediction.label_ids != -100
        return {"hits": float((prediction.predictions == prediction.label_ids)[trained].mean())}

    args = SFTConfig(output_dir=str(tmp_path), **QUIET, per_device_eval_batch_size=4)
    trainer = SFTTrainer(
        llama(), args, eval_dataset=documents(), processing_class=tokenizer, compute_metrics=metrics
    )
    found = trainer.evaluate()
    assert seen["shapes"][0] == seen["shapes"][1] and seen["shapes"][0][0] == 8
    assert found["eval_hits"] == pytest.approx(found["eval_mean_token_accuracy"])

    args = RewardConfig(output_dir=str(tmp_path), **QUIET)
    accuracy = lambda p: {"mine": float((p.predictions[:, 0] > p.predictions[:, 1]).mean())}
    trainer = RewardTrainer(
        llama(reward=True), args, eval_dataset=pairs(), processing_class=tokenizer, compute_metrics=accuracy
    )
    found = trainer.evaluate()
    assert found["eval_mine"] == pytest.approx(found["eval_accuracy"])
    assert trainer.predict(pairs()).predictions.shape == (8, 2)


@pytest.mark.parametrize(
    "adapter", ["", "SEQ_CLS", "CAUSAL_LM"], ids=["full", "adapter", "adapter of another task"]
)
def test_a_saved_reward_model_gives_the_rewards_it_gave_in_training(
    adapter, tiny_model_dir, pairs_file, tmp_path
):
    args = RewardConfig(output_dir=str(tmp_path / "out"), **QUIET, max_steps=3, learning_rate=1e-2)
    trainer = RewardTrainer(
        str(tiny_model_dir),
        args,
        train_dataset=Dataset.from_json(str(pairs_file)),
        peft_config=LoraConfig(target_modules="all-linear", task_type=adapter) if adapter else None,
    )
    trainer.train()
    reported = any("task_type=CAUSAL_LM has no effect" in row[1] for row in trainer.plan.rows)
    assert reported == (adapter == "CAUSAL_LM")
    expected = torch.tensor(trainer.predict(trainer.train_dataset).predictions)
    trainer.save_model()
    if adapter:
        from peft import AutoPeftModelForSequenceClassification

        loaded = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "out", num_labels=1)
    else:
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    loaded.eval()
    assert loaded.config._attn_implementation != "forest"
    for row, rewards in zip(trainer.train_dataset, expected, strict=True):
        for ids, reward in zip(row["completion_ids"], rewards, strict=True):
            found = loaded(torch.tensor([row["prompt_ids"] + ids])).logits[0, 0]
            torch.testing.assert_close(found, reward, rtol=1e-4, atol=1e-5)


def test_a_saved_policy_loads_and_generates(tiny_model_dir, chats_file, tmp_path):
    args = SFTConfig(output_dir=str(tmp_path), **QUIET, max_steps=2)
    trainer = SFTTrainer(str(tiny_model_dir), args, train_dataset=Dataset.from_json(str(chats_file)))
    trainer.train()
    trainer.save_model()
    files = {path.name for path in tmp_path.iterdir()}
    assert "training_args.bin" not in files and {"training_args.json", "model.safetensors"} <= files
    assert json.loads((tmp_path / "training_args.json").read_text())["max_steps"] == 2
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("Count", return_tensors="pt").input_ids
    expected = trainer.model.generate(ids, max_new_tokens=5, do_sample=False)
    assert torch.equal(loaded.generate(ids, max_new_tokens=5, do_sample=False), expected)


def test_resuming_gives_the_run_that_was_not_interrupted(tokenizer, tmp_path):
    options = {"max_steps": 6, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "logging_steps": 1}
    whole = sft(llama(), tmp_path / "whole", tokenizer, **options)
    whole.train()

    saving = {**options, "save_strategy": "steps", "save_steps": 3}
    sft(llama(), tmp_path / "parts", tokenizer, **saving).train()
    resumed = sft(llama(), tmp_path / "parts", tokenizer, **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-3"))
    for one, two in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, two)
    tokens = [log["num_tokens"] for log in resumed.state.log_history if "num_tokens" in log]
    assert tokens == [log["num_tokens"] for log in whole.state.log_history if "num_tokens" in log]


def test_it_is_a_transformers_trainer_with_its_callbacks_and_best_model(tokenizer, tmp_path):
    logs = []

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            log_keys.update(logs)

    log_keys: set[str] = set()
    options = {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 3,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "load_best_model_at_end": True,
    }
    args = DPOConfig(output_dir=str(tmp_path), **{**QUIET, **options})
    trainer = DPOTrainer(
        llama(),
        args=args,
        train_dataset=pairs(),
        eval_dataset=pairs(4, seed=1),
        processing_class=tokenizer,
        callbacks=[Watch()],
    )
    assert isinstance(trainer, Trainer)
    trainer.train()
    assert (
        logs == []
        and {"loss", "rewards/margins", "eval_loss", "eval_rewards/accuracies", "grad_norm"} <= log_keys
    )
    best = min(log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log)
    assert trainer.state.best_metric == pytest.approx(best)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best, rel=1e-9)


def test_plain_training_arguments_and_several_evaluation_sets(tokenizer, tmp_path):
    args = TrainingArguments(output_dir=str(tmp_path), report_to="none", max_steps=1, save_strategy="no")
    trainer = DPOTrainer(
        llama(),
        args=args,
        train_dataset=pairs(),
        eval_dataset={"a": pairs(3), "b": pairs(2)},
        processing_class=tokenizer,
    )
    assert isinstance(trainer.args, DPOConfig)
    assert (trainer.args.output_dir, trainer.args.max_steps) == (str(tmp_path), 1)
    assert trainer.args.learning_rate == 1e-6 and trainer.args.logging_steps == 10
    found = trainer.evaluate()
    assert {"eval_a_loss", "eval_b_rewards/margins"} <= found.keys()


def test_new_rows_after_full_fine_tuning_have_no_reference(tokenizer, tmp_path):
    args = DPOConfig(output_dir=str(tmp_path), **QUIET, max_steps=1)
    trainer = DPOTrainer(llama(), args=args, train_dataset=pairs(), processing_class=tokenizer)
    trainer.train()
    with pytest.raises(UserError, match="not scored by the reference before training"):
        trainer.evaluate(pairs(3, seed=5))


def test_several_losses_are_added_with_their_weights(tokenizer, tmp_path):
    def first_loss(**options):
        args = DPOConfig(output_dir=str(tmp_path), **QUIET, max_steps=1, logging_steps=1, beta=0.5, **options)
        trainer = DPOTrainer(llama(), args=args, train_dataset=pairs(), processing_class=tokenizer)
        trainer.train()
        return trainer.state.log_history[0]["loss"]

    one, two = first_loss(loss_type=["sigmoid"]), first_loss(loss_type=["hinge"])
    both = first_loss(loss_type=["sigmoid", "hinge"], loss_weights=[0.5, 2.0])
    assert both == pytest.approx(0.5 * one + 2 * two, rel=1e-6)


def test_a_loss_of_ones_own_replaces_the_named_one(tokenizer, tmp_path):
    args = DPOConfig(output_dir=str(tmp_path), **QUIET, max_steps=1, logging_steps=1)
    trainer = DPOTrainer(
        llama(),
        args=args,
        train_dataset=pairs(),
        processing_class=tokenizer,
        loss=lambda pair: 3 * sigmoid(pair.margin),
    )
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(3 * 0.6931472, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: SFTTrainer(None, SFTConfig(output_dir=o)), "no model was given"),
        (lambda o: SFTTrainer("no/such-folder", SFTConfig(output_dir=o)), "no such model"),
        (lambda o: SFTTrainer(llama(), object()), "expected a SFTConfig"),
        (lambda o: DPOConfig(output_dir=o, loss_type=["sigmoyd"]), "loss_type: .*Did you mean 'sigmoid'"),
        (lambda o: DPOConfig(output_dir=o, loss_weights=[1, 2]), "2 weights for 1 losses"),
        (
            lambda o: DPOConfig(output_dir=o, loss_type="ipo", label_smoothing=0.1),
            "the loss ipo has no label smoothing",
        ),
        (
            lambda o: SFTConfig(output_dir=o, truncation_mode="middle"),
            "truncation_mode: unknown value 'middle'",
        ),
        (lambda o: SFTTrainer(llama(), SFTConfig(output_dir=o), data_collator=list), "data_collator"),
        (lambda o: SFTConfig(output_dir=o, max_length=0), "max_length: must be at least 2"),
        (lambda o: SFTConfig(output_dir=o, label_smoothing_factor=0.1), "label_smoothing_factor"),
    ],
)
def test_what_is_wrong_is_said(make, message, tmp_path):
    with pytest.raises(UserError, match=message):
        make(str(tmp_path))


def test_a_dtype_that_the_model_cannot_run_in_is_given_up_or_where_asked_for_refused():
    engine = SimpleNamespace(compute_dtype=torch.bfloat16, args=SimpleNamespace(bf16=None))
    assert "fails in bfloat16 (mixed)" in _compute_as_stored(engine, "mixed") and engine.compute_dtype is None
    asked = SimpleNamespace(compute_dtype=torch.bfloat16, args=SimpleNamespace(bf16=True))
    with pytest.raises(UserError, match="mixed\n  fix: leave bf16 out"):
        _compute_as_stored(asked, "mixed")


def test_a_hub_that_is_not_reached_is_said_before_training(tmp_path, tiny_model_dir):
    """Tests are offline."""
    rows = [{"prompt": "1 plus 1 is", "chosen": " 2.", "rejected": " 3."}]
    args = DPOConfig(output_dir=str(tmp_path), push_to_hub=True, report_to="none")
    with pytest.raises(
        UserError, match=r"push_to_hub: the hub cannot be written to(.|\n)*burnish push FOLDER"
    ):
        DPOTrainer(str(tiny_model_dir), args=args, train_dataset=Dataset.from_list(rows))


def test_early_stopping_is_an_option(tokenizer, tmp_path):
    """At a rate of 0 nothing gets better: the second evaluation ends the run."""
    options = {"eval_strategy": "steps", "eval_steps": 1, "learning_rate": 0.0, "max_steps": 9}
    args = SFTConfig(output_dir=str(tmp_path), early_stopping_patience=1, **{**QUIET, **options})
    rows = documents(4)
    trainer = SFTTrainer(llama(), args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)
    trainer.train()
    assert trainer.state.global_step == 2
    with pytest.raises(UserError, match="early_stopping_patience: nothing is evaluated"):
        SFTConfig(output_dir=str(tmp_path), early_stopping_patience=1)
