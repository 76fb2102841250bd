"""What became of each option that configs inherit from `transformers.TrainingArguments`.

Every one has a standing, in the words of `compat.py`. Those that do nothing here, or are refused, are
fields of `InheritedOptions`, which carry the reason. Those that work stand in `WORKS`, with what they mean
on forests where that is not plain. Single values that cannot work are in `REFUSED_VALUES`. A test walks the
fields of the installed transformers and fails for one in no table; others show that each does as it says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from burnish.engine.compat import Standing, TrlOptions, default_of, no_effect, refused, stated
from burnish.errors import UserError, shorten
from burnish.options import described

NOT_COMPILED = (
    "models are not compiled: a forward swaps weights for working copies, and attention follows each forest"
)


@dataclass
class InheritedOptions:
    """Options of transformers that do nothing here, or may only have their default."""

    # In place of a single forward and backward per batch line
    average_tokens_across_devices: bool = no_effect(
        True, "a step's loss is always one sum over one count, of all devices"
    )
    auto_find_batch_size: bool = no_effect(
        False, "memory follows tokens_per_forward, which fits what is free; the batch size stays as given"
    )
    use_cache: bool = no_effect(False, "forests run without a cache")
    torch_compile: bool = refused(False, NOT_COMPILED)
    torch_compile_backend: str | None = refused(None, NOT_COMPILED)
    torch_compile_mode: str | None = refused(None, NOT_COMPILED)
    parallelism_config: Any = refused(None, "sequences are not split over devices yet")

    # Dtypes
    fp16: bool = refused(False, "log-probabilities overflow in float16; leave it out for bfloat16 or float32")
    fp16_full_eval: bool = refused(False, "log-probabilities overflow in float16")
    bf16_full_eval: bool = no_effect(False, "evaluation computes in the dtype of training")

    # Rows and collators
    remove_unused_columns: bool | None = no_effect(True, "rows are prepared before training", (False,))
    label_names: list[str] | None = no_effect(None, "what is trained of a row is marked as it is prepared")
    length_column_name: str = no_effect("length", "nothing is grouped by length, as no batch is padded")
    dataloader_pin_memory: bool = no_effect(
        True, "a loader hands over rows of token ids; there are no tensors to pin", (False,)
    )
    train_sampling_strategy: str = described(
        "random", "The order in which rows are drawn.", choices=["random", "sequential"]
    )

    # Losses and logs
    label_smoothing_factor: float = refused(0.0, "full logits are never computed; pass a loss of your own")
    logging_nan_inf_filter: bool = no_effect(
        True, "a step that is not finite is not applied, is said by name, and is in no mean", (False,)
    )
    include_for_metrics: list[str] = refused([], "`compute_metrics` gets predictions and labels only")


WORKS: Mapping[str, str] = {
    # A run
    "output_dir": "",
    "do_train": "read by scripts; here `train()` trains",
    "do_eval": "read by scripts; here eval_strategy and `evaluate()` evaluate",
    "do_predict": "read by scripts; here `predict()` predicts",
    "resume_from_checkpoint": "read by the command line; in Python it is an argument of `train()`",
    "num_train_epochs": "",
    "max_steps": "",
    "seed": "also of new weights: a head, an adapter",
    "data_seed": "",
    "full_determinism": "",
    "use_cpu": "",
    "debug": "",
    "skip_memory_metrics": "metrics.jsonl has the peak either way",
    "local_rank": "set by the launcher",
    # A step
    "per_device_train_batch_size": "counts examples (pairs, groups; packs with packing)",
    "gradient_accumulation_steps": "batches of a step, which is then cut anew by tokens_per_forward",
    "torch_empty_cache_steps": "",
    "max_grad_norm": "",
    "neftune_noise_alpha": "by the length of each row, not of the forest; a shared prompt gets one draw",
    "activation_checkpointing": "unset: where activations do not fit",
    "activation_checkpointing_kwargs": "",
    "gradient_checkpointing": "the former name of activation_checkpointing",
    "gradient_checkpointing_kwargs": "the former name of activation_checkpointing_kwargs",
    # Optimizer and schedule
    "learning_rate": "",
    "lr_scheduler_type": "",
    "lr_scheduler_kwargs": "",
    "warmup_steps": "",
    "optim": "less those that step inside the backward (lomo, adalomo, *_layerwise)",
    "optim_args": "",
    "optim_target_modules": "",
    "weight_decay": "",
    "adam_beta1": "",
    "adam_beta2": "",
    "adam_epsilon": "",
    # Dtypes
    "bf16": "",
    "tf32": "",
    # Logs and trackers
    "logging_strategy": "",
    "logging_steps": "",
    "logging_first_step": "",
    "log_on_each_node": "",
    "log_level": "of transformers' messages",
    "log_level_replica": "of transformers' messages",
    "disable_tqdm": "",
    "include_num_input_tokens_seen": "num_tokens counts them in every log, each completion with its prompt",
    "report_to": "",
    "run_name": "",
    "project": "",
    "trackio_space_id": "",
    "trackio_bucket_id": "",
    "trackio_static_space_id": "",
    # Evaluation
    "eval_strategy": "",
    "eval_steps": "",
    "eval_delay": "",
    "eval_on_start": "",
    "per_device_eval_batch_size": "counts examples; eval_loss is exact for any",
    "prediction_loss_only": "",
    "eval_do_concat_batches": "",
    "eval_use_gather_object": "",
    "eval_accumulation_steps": "",
    "batch_eval_metrics": "",
    # Checkpoints
    "save_strategy": "",
    "save_steps": "",
    "save_total_limit": "",
    "save_only_model": "",
    "save_on_each_node": "",
    "enable_jit_checkpoint": "a run that SIGTERM ended early stops with an error, it is not finished",
    "load_best_model_at_end": "",
    "metric_for_best_model": "",
    "greater_is_better": "",
    "ignore_data_skip": "",
    "restore_callback_states_from_checkpoint": "",
    # The hub
    "push_to_hub": "",
    "hub_token": "",
    "hub_private_repo": "unset, true: what a person trained is theirs until they say otherwise",
    "hub_model_id": "",
    "hub_strategy": "",
    "hub_always_push": "",
    "hub_revision": "",
    # Loaders
    "train_sampling_strategy": "random or sequential",
    "dataloader_drop_last": "",
    "dataloader_num_workers": "rows of a stream are read in the training process",
    "dataloader_persistent_workers": "",
    "dataloader_prefetch_factor": "",
    "dataloader_multiprocessing_context": "",
    "dataloader_in_order": "",
    # Several devices
    "accelerator_config": "less dispatch_batches, as each rank makes its own forests",
    "ddp_find_unused_parameters": "",
    "ddp_bucket_cap_mb": "",
    "ddp_broadcast_buffers": "",
    "ddp_static_graph": "",
    "ddp_backend": "",
    "ddp_timeout": "",
    "fsdp": "",
    "fsdp_config": "",
    "deepspeed": "it applies a step within its backward, so one that is not finite ends the run",
}
"""Options that work as in transformers, and what they mean here, where that needs a word."""

IN_THE_BACKWARD = "it changes weights during the backward, and a step may take several"
NOT_GROUPED = "no batch is padded, so there is nothing to gain from rows of like length"

REFUSED_VALUES: Mapping[str, Mapping[str, str]] = {
    "optim": dict.fromkeys(
        (
            "lomo",
            "adalomo",
            "galore_adamw_layerwise",
            "galore_adamw_8bit_layerwise",
            "galore_adafactor_layerwise",
            "apollo_adamw_layerwise",
        ),
        IN_THE_BACKWARD,
    ),
    "train_sampling_strategy": dict.fromkeys(("group_by_length", "batch_rebalance"), NOT_GROUPED),
}
"""Values of options that work otherwise, and why these do not."""


DECLARED = {each.name: each for kind in (InheritedOptions, TrlOptions) for each in dataclasses.fields(kind)}


def inherited_standing(name: str) -> Standing:
    """What an option of transformers is here. Raises `KeyError` for one that was never tried."""
    return Standing("same", WORKS[name]) if name in WORKS else stated(DECLARED[name])


def check_values(config: Any) -> None:
    """Refuse values that cannot work here, with the reason. Raises `UserError`."""
    for name, reasons in REFUSED_VALUES.items():
        value = getattr(config, name)
        value = getattr(value, "value", value)  # of an enumeration
        if value in reasons:
            raise UserError(
                f"{value} is not supported: {reasons[value]}", where=name, fix=f"leave out {name}"
            )
    asked = config.accelerator_config
    if isinstance(asked, dict) and asked.get("dispatch_batches"):
        raise UserError(
            "dispatch_batches is not supported: each rank makes forests of its own rows",
            where="accelerator_config",
            fix="leave out dispatch_batches",
        )


OPTIMIZER_PACKAGES = {
    "galore": ("galore_torch", "galore-torch"),
    "apollo": ("apollo_torch", "apollo-torch"),
    "grokadamw": ("grokadamw", "grokadamw"),
    "schedule_free": ("schedulefree", "schedulefree"),
    "stable_adamw": ("optimi", "torch-optimi"),
    "adamw_torch_4bit": ("torchao", "torchao"),
    "adamw_torch_8bit": ("torchao", "torchao"),
    **dict.fromkeys(
        ("adamw_bnb", "adamw_8bit", "ademamix", "lion", "paged", "rmsprop_bnb"),
        ("bitsandbytes", "bitsandbytes"),
    ),
}
"""How names of optimizers begin that need a package: its module, and what to install."""


def check_optimizer(name: str) -> None:
    """Refuse an optimizer whose package is missing, before a model is loaded. Raises `UserError`."""
    for beginning, (module, package) in OPTIMIZER_PACKAGES.items():
        if name.startswith(beginning) and find_spec(module) is None:
            raise UserError(
                f"{name} needs a package that is not installed",
                where="optim",
                fix=f"pip install {package}, or use adamw_torch_fused",
            )


def never_tried(config: Any, inherited: Any) -> list[str]:
    """A sentence for each option that was given and stands in no table, as of a newer transformers.

    `inherited` is the class of its arguments.
    """
    return [
        f"{each.name}={shorten(getattr(config, each.name))} is passed on; it was never tried here"
        for each in dataclasses.fields(inherited)
        if each.name not in WORKS.keys() | DECLARED.keys() and getattr(config, each.name) != default_of(each)
    ]
