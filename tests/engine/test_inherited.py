"""Every option inherited from transformers has a standing, and does what its standing says."""

import ast
import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import HfArgumentParser, TrainerCallback, TrainingArguments

from burnish import DPOConfig, GKDConfig, RewardConfig, SFTConfig, SFTTrainer, UserError
from burnish.engine import inherited
from burnish.engine.compat import default_of
from burnish.engine.inherited import REFUSED_VALUES, WORKS, InheritedOptions, inherited_standing
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, llama

ROOT = Path(__file__).parents[2]
FIELDS = {field.name: field for field in dataclasses.fields(TrainingArguments)}
QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no", "use_cpu": True}

STEPS, TRAINER = "tests/invariants/test_steps.py", "tests/engine/test_trainer.py"
HERE = "tests/engine/test_inherited.py"

SHOWN = {
    f"{STEPS}::test_any_cut_gives_the_same_step": ("per_device_train_batch_size gradient_accumulation_steps"),
    f"{STEPS}::test_checkpointing_gives_the_same_step": (
        "gradient_checkpointing gradient_checkpointing_kwargs"
    ),
    "tests/engine/test_neftune.py::test_noise_fills_the_bound_of_each_row_in_every_tier": (
        "neftune_noise_alpha"
    ),
    f"{TRAINER}::test_eval_loss_is_exact_over_unequal_batches": "per_device_eval_batch_size",
    f"{TRAINER}::test_resuming_gives_the_run_that_was_not_interrupted": "output_dir save_steps",
    f"{TRAINER}::test_it_is_a_transformers_trainer_with_its_callbacks_and_best_model": (
        "load_best_model_at_end save_strategy eval_strategy"
    ),
    "tests/engine/test_trackers.py::test_tensorboard": "report_to run_name",
    "tests/engine/test_trackers.py::test_trackio": "project",
    "tests/engine/test_display.py::test_disable_tqdm_gives_plain_lines_on_a_terminal": "disable_tqdm",
    "tests/models/test_precision.py::test_scores_are_those_of_the_model_stored_in_bfloat16": "bf16",
    "tests/pipeline/test_again.py::test_a_pipeline_that_is_killed_in_its_second_stage_goes_on_there": (
        "resume_from_checkpoint"
    ),
    "tests/export/test_push.py::test_private_unless_told_otherwise": (
        "push_to_hub hub_private_repo hub_model_id"
    ),
    f"{HERE}::test_schedule_logs_and_evaluations": (
        "max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps logging_strategy "
        "logging_steps logging_first_step eval_steps eval_delay eval_on_start include_num_input_tokens_seen"
    ),
    f"{HERE}::test_what_may_not_change_a_step_does_not": (
        "torch_empty_cache_steps full_determinism debug skip_memory_metrics dataloader_num_workers "
        "dataloader_persistent_workers dataloader_prefetch_factor dataloader_multiprocessing_context "
        "dataloader_in_order accelerator_config activation_checkpointing activation_checkpointing_kwargs "
        "log_level log_level_replica log_on_each_node save_on_each_node local_rank "
        "do_train do_eval do_predict use_cpu"
    ),
    f"{HERE}::test_batches_of_an_evaluation": (
        "prediction_loss_only eval_do_concat_batches eval_use_gather_object eval_accumulation_steps "
        "batch_eval_metrics"
    ),
    f"{HERE}::test_the_optimizer_is_the_one_that_was_asked_for": (
        "optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon"
    ),
    f"{HERE}::test_rows_and_their_order": (
        "seed data_seed num_train_epochs dataloader_drop_last train_sampling_strategy max_grad_norm"
    ),
    f"{HERE}::test_checkpoints": ("save_total_limit save_only_model metric_for_best_model greater_is_better"),
    f"{HERE}::test_a_resumed_run_can_begin_with_the_first_rows": (
        "ignore_data_skip restore_callback_states_from_checkpoint"
    ),
    f"{HERE}::test_a_run_that_sigterm_ended_is_not_finished": "enable_jit_checkpoint",
    f"{HERE}::test_what_is_passed_on_reaches_the_base": (
        "hub_token hub_strategy hub_always_push hub_revision trackio_space_id trackio_bucket_id "
        "trackio_static_space_id ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers "
        "ddp_static_graph ddp_backend ddp_timeout fsdp fsdp_config deepspeed optim_target_modules tf32"
    ),
}
"""The test that shows an option at work."""

OTHER_VALUES = {
    "torch_compile_backend": "eager",
    "torch_compile_mode": "default",
    "parallelism_config": {"tp_size": 2},
    "label_smoothing_factor": 0.1,
    "include_for_metrics": ["inputs"],
    "label_names": ["answer"],
    "length_column_name": "tokens",
    "liger_kernel_config": {"rope": True},
}


def test_every_option_of_the_installed_transformers_has_a_standing():
    for name in FIELDS:
        assert inherited_standing(name).word in ("same", "no effect", "refused"), name
    assert (
        not WORKS.keys()
        & {field.name for field in dataclasses.fields(InheritedOptions)} - REFUSED_VALUES.keys()
    )


def test_every_option_that_works_is_shown_at_work():
    named = " ".join(SHOWN.values()).split()
    assert len(named) == len(set(named)) and set(named) == WORKS.keys() & FIELDS.keys()
    for place in SHOWN:
        file, test = place.split("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def of_word(word):
    return [name for name in FIELDS if inherited_standing(name).word == word]


def other_value(name):
    default = default_of(FIELDS[name])
    return OTHER_VALUES.get(name, not default if isinstance(default, bool) else default)


@pytest.mark.parametrize("name", of_word("refused"))
def test_a_refused_option_stops_with_its_reason(name, tmp_path):
    with pytest.raises(UserError) as caught:
        SFTConfig(output_dir=str(tmp_path), **{name: other_value(name)})
    assert name in str(caught.value) and inherited_standing(name).because in str(caught.value)


@pytest.mark.parametrize("name", of_word("no effect"))
def test_an_option_without_effect_is_noted_unless_it_asks_for_what_is_done(name, tmp_path):
    value, standing = other_value(name), inherited_standing(name)
    config = SFTConfig(output_dir=str(tmp_path), **{name: value})
    noted = [note for note in config.compat_notes if note.startswith(f"{name}=") and standing.because in note]
    assert bool(noted) == (value not in standing.allowed)


@pytest.mark.parametrize(
    ("name", "value"), [(n, value) for n, values in REFUSED_VALUES.items() for value in values]
)
def test_a_refused_value_stops_with_its_reason(name, value, tmp_path):
    with pytest.raises(UserError) as caught:
        SFTConfig(output_dir=str(tmp_path), **{name: value})
    assert str(caught.value).startswith(f"{name}: {value}") and REFUSED_VALUES[name][value] in str(
        caught.value
    )


def test_an_option_of_a_newer_transformers_is_said_to_be_untried(tmp_path, monkeypatch):
    monkeypatch.setattr(inherited, "WORKS", {name: "" for name in WORKS if name != "adam_epsilon"})
    notes = SFTConfig(output_dir=str(tmp_path), adam_epsilon=1e-6).compat_notes
    assert notes == ["adam_epsilon=1e-06 is passed on; it was never tried here"]
    assert SFTConfig(output_dir=str(tmp_path)).compat_notes == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tf32": True}, "--tf32"),
        ({"accelerator_config": {"dispatch_batches": True}}, "accelerator_config: dispatch_batches"),
        ({"accelerator_config": {"dispatch": True}}, "dispatch"),
        ({"eval_strategy": "sometimes"}, "sometimes"),
        (
            {"deepspeed": {"zero_optimization": {"stage": 1}}, "bf16": False},
            "deepspeed",
        ),
        ({"optim": "grokadamw"}, "optim: grokadamw needs a package"),
    ],
)
def test_what_transformers_refuses_is_an_error_of_the_user(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        SFTConfig(output_dir=str(tmp_path), **options)


@pytest.mark.parametrize(
    "flag", ["no_remove_unused_columns", "no_gradient_checkpointing", "no_logging_nan_inf_filter"]
)
def test_flags_that_switch_off_are_taken_by_the_parser_of_transformers(flag, tmp_path):
    words = ["--output_dir", str(tmp_path), f"--{flag}"]
    (config,) = HfArgumentParser(SFTConfig).parse_args_into_dataclasses(words)
    assert getattr(config, flag.removeprefix("no_")) is False and config.compat_notes == []
    assert config.checkpointing_is_open == (flag != "no_gradient_checkpointing")


def test_numbers_are_checked_in_python_too(tmp_path):
    """By the same table as on the command line; a class derived from a method's config is of that method."""

    class OwnConfig(GKDConfig):
        pass

    for kind, options, message in (
        (SFTConfig, {"learning_rate": 2e5}, "learning_rate: must be at least 0 and below 1, found 200000.0"),
        (SFTConfig, {"gradient_accumulation_steps": 0}, "gradient_accumulation_steps: must be at least 1"),
        (DPOConfig, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, -1.0]}, "loss_weights: must be"),
        (
            RewardConfig,
            {"center_rewards_coefficient": -0.01},
            "center_rewards_coefficient: must be at least 0",
        ),
        (DPOConfig, {"beta": 0.0}, "beta: must be above 0, found 0.0\n  fix: 0.1 is the default"),
        (OwnConfig, {"beta": 1.5}, "beta: must be at least 0 and at most 1"),
    ):
        with pytest.raises(UserError) as caught:
            kind(output_dir=str(tmp_path), **options)
        assert str(caught.value).startswith(message)
    assert OwnConfig(output_dir=str(tmp_path), beta=0.0).beta == 0.0


# At work


def sft(folder, *, rows=None, compute_metrics=None, callbacks=None, **options):
    args = {
        **QUIET,
        "max_steps": 4,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
    }
    config = SFTConfig(output_dir=str(folder), **{**args, "tokens_per_forward": 40, **options})
    rows = rows or documents()
    return SFTTrainer(
        llama(),
        config,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tiny_tokenizer(),
        compute_metrics=compute_metrics,
        callbacks=callbacks,
    )


def logged(trainer, key):
    return {log["step"]: log[key] for log in trainer.state.log_history if key in log}


def test_schedule_logs_and_evaluations(tmp_path):
    trainer = sft(
        tmp_path,
        max_steps=6,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": 2, "decay_type": "linear"},
        warmup_steps=2,
        logging_steps=2,
        logging_first_step=True,
        eval_strategy="steps",
        eval_steps=2,
        eval_delay=3,
        eval_on_start=True,
        include_num_input_tokens_seen="all",
    )
    trainer.train()
    assert list(logged(trainer, "loss")) == [1, 2, 4, 6]
    assert list(logged(trainer, "eval_loss")) == [0, 4, 6]
    assert logged(trainer, "learning_rate") == pytest.approx({1: 0.0, 2: 0.005, 4: 0.01, 6: 0.005})
    tokens = sum(len(row["completion_ids"][0]) for row in documents())
    assert logged(trainer, "num_input_tokens_seen")[2] == tokens  # two steps of four are all eight rows


def test_what_may_not_change_a_step_does_not(tmp_path):
    plain = sft(tmp_path / "plain")
    plain.train()
    other = sft(
        tmp_path / "other",
        torch_empty_cache_steps=1,
        full_determinism=True,
        debug="underflow_overflow",
        skip_memory_metrics=False,
        dataloader_num_workers=1,
        dataloader_persistent_workers=True,
        dataloader_prefetch_factor=1,
        dataloader_multiprocessing_context="fork",
        dataloader_in_order=False,
        accelerator_config={"split_batches": True},
        activation_checkpointing=True,
        activation_checkpointing_kwargs={"every_n_layers": 2},
        log_level="error",
        log_level_replica="error",
        log_on_each_node=False,
        save_on_each_node=True,
        local_rank=0,
        do_train=True,
        do_eval=True,
        do_predict=True,
    )
    try:
        other.train()
    finally:
        torch.use_deterministic_algorithms(False)
    assert logged(other, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-12)
    assert other.state.log_history[-1].keys() >= {"before_init_mem_cpu", "train_mem_cpu_alloc_delta"}
    assert (
        other.model.model.layers[0].gradient_checkpointing
        != other.model.model.layers[1].gradient_checkpointing
    )


def test_batches_of_an_evaluation(tmp_path):
    found = []

    def metrics(prediction, compute_result=None):
        found.append((prediction.predictions, compute_result))
        return {"calls": len(found)}

    trainer = sft(tmp_path, compute_metrics=metrics, per_device_eval_batch_size=3)
    loss = trainer.evaluate()["eval_loss"]
    whole = found.pop()[0]
    for options in ({"eval_use_gather_object": True}, {"eval_accumulation_steps": 1}):
        vars(trainer.args).update(options)
        assert trainer.evaluate()["eval_loss"] == loss
        assert np.array_equal(found.pop()[0], whole)
    trainer.args.eval_do_concat_batches = False
    trainer.evaluate()
    assert [len(batch) for batch in found.pop()[0]] == [3, 3, 2]
    trainer.args.eval_do_concat_batches, trainer.args.batch_eval_metrics = True, True
    assert trainer.evaluate()["eval_calls"] == 3
    assert [(len(rows), last) for rows, last in found] == [(3, False), (3, False), (2, True)]
    trainer.args.batch_eval_metrics, trainer.args.prediction_loss_only = False, True
    assert "eval_calls" not in trainer.evaluate() and len(found) == 3


def test_the_optimizer_is_the_one_that_was_asked_for(tmp_path):
    made = sft(
        tmp_path, optim="adamw_torch", weight_decay=0.1, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-6
    )
    groups = made.create_optimizer().param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.8, 0.9), 1e-6)}
    made = sft(tmp_path, optim="sgd", optim_args="momentum=0.9")
    assert isinstance(made.create_optimizer(), torch.optim.SGD)
    assert made.optimizer.param_groups[0]["momentum"] == 0.9


class Rows(TrainerCallback):
    """The rows of every step, and the largest gradient that the optimizer was given."""

    def __init__(self):
        self.steps, self.norms = [], []

    def on_pre_optimizer_step(self, args, state, control, model=None, **rest):
        gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
        self.norms.append(float(torch.cat(gradients).norm()))

    def on_step_end(self, args, state, control, **rest):
        self.steps.append([example.row for example in self.trainer.last_step.examples])


def steps_of(folder, checkpoint=None, **options):
    seen = Rows()
    seen.trainer = trainer = sft(folder, callbacks=[seen], **options)
    trainer.train(resume_from_checkpoint=checkpoint)
    return seen


def test_rows_and_their_order(tmp_path):
    epoch = {"max_steps": -1, "num_train_epochs": 2, "per_device_train_batch_size": 3}
    in_order = steps_of(tmp_path, **epoch, train_sampling_strategy="sequential", max_grad_norm=0.01)
    assert in_order.steps == [[0, 1, 2], [3, 4, 5], [6, 7]] * 2
    assert in_order.norms == pytest.approx([0.01] * 6, rel=1e-3)
    dropped = steps_of(tmp_path, **epoch, dataloader_drop_last=True, max_grad_norm=0.0)
    assert [len(rows) for rows in dropped.steps] == [3, 3, 3, 3] and max(dropped.norms) > 1
    epoch["num_train_epochs"] = 1
    by_seed = [
        steps_of(tmp_path, **epoch, **seeds).steps for seeds in ({"seed": 1}, {"seed": 1, "data_seed": 2})
    ]
    assert by_seed[0] != by_seed[1]
    assert all(sorted(row for rows in steps for row in rows) == list(range(8)) for steps in by_seed)


def test_checkpoints(tmp_path):
    trainer = sft(
        tmp_path,
        save_strategy="best",
        eval_strategy="steps",
        eval_steps=1,
        save_total_limit=2,
        save_only_model=True,
        metric_for_best_model="mean_token_accuracy",
        greater_is_better=False,
        max_steps=3,
    )
    trainer.train()
    best = min(logged(trainer, "eval_mean_token_accuracy").values())
    assert trainer.state.best_metric == best
    kept = list(tmp_path.glob("checkpoint-*"))
    assert 1 <= len(kept) <= 2 and not any((folder / "optimizer.pt").exists() for folder in kept)


def test_a_resumed_run_can_begin_with_the_first_rows(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "train_sampling_strategy": "sequential"}
    steps_of(tmp_path, **options, max_steps=1)
    again = {"ignore_data_skip": True, "restore_callback_states_from_checkpoint": True, "max_steps": 2}
    assert steps_of(tmp_path, str(tmp_path / "checkpoint-1"), **options, **again).steps == [[0, 1, 2, 3]]
    again["ignore_data_skip"] = False
    assert steps_of(tmp_path, str(tmp_path / "checkpoint-1"), **options, **again).steps == [[4, 5, 6, 7]]


def test_a_run_that_sigterm_ended_is_not_finished(tmp_path):
    handler = signal.getsignal(signal.SIGTERM)

    class Terminate(TrainerCallback):
        def on_step_end(self, args, state, control, **rest):
            if state.global_step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    trainer = sft(tmp_path, enable_jit_checkpoint=True, callbacks=[Terminate()])
    for callback in trainer.callback_handler.callbacks:
        if manager := getattr(callback, "jit_manager", None):
            manager._sigterm_handler = None
            signal.signal(signal.SIGTERM, lambda *_, manager=manager: manager._enable_checkpoint())  # at once
    try:
        with pytest.raises(UserError, match=r"SIGTERM ended training at step [23] of 4"):
            trainer.train()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert list(tmp_path.glob("checkpoint-*/model.safetensors"))
    resumed = sft(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 4


def test_what_is_passed_on_reaches_the_base(tmp_path):
    given = {
        "hub_token": "hf_x",
        "hub_strategy": "end",
        "hub_always_push": True,
        "hub_revision": "other",
        "trackio_space_id": "someone/space",
        "trackio_bucket_id": "someone/bucket",
        "trackio_static_space_id": False,
        "ddp_find_unused_parameters": True,
        "ddp_bucket_cap_mb": 10,
        "ddp_broadcast_buffers": False,
        "ddp_static_graph": True,
        "ddp_timeout": 60,
        "optim_target_modules": "all-linear",
        "tf32": False,
    }
    trainer = sft(tmp_path, **given)
    assert {name: getattr(trainer.args, name) for name in given} == given
    handler = trainer.accelerator.ddp_handler
    assert (handler.find_unused_parameters, handler.bucket_cap_mb) == (True, 10)
    assert (handler.broadcast_buffers, handler.static_graph) == (False, True)
