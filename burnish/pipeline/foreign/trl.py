"""Names that TRL or transformers had and gave up, and what belongs to TRL's launcher."""

from __future__ import annotations

from typing import Any

from burnish.pipeline.foreign.names import (
    LAUNCHED,
    PACKED,
    Config,
    Foreign,
    NoCounterpart,
    Settings,
    Table,
    all_of,
    becomes,
    missing,
    renamed,
    spread,
    unneeded,
)


def with_likelihood(weight: Any, config: Config) -> Settings:
    """A weight of the chosen completion's likelihood, beside the loss of pairs."""
    if not weight:
        return {}
    loss = config.get("loss_type") or config.get("dpo_loss_type") or config.get("pref_loss") or "sigmoid"
    names = loss if isinstance(loss, list) else [loss]
    return {"loss_type": [*names, "sft"], "loss_weights": [*[1.0] * len(names), float(weight)]}


LIKELIHOOD = spread(
    "loss_type", with_likelihood, "the likelihood is a loss of its own here, a mean over chosen tokens"
)


def datasets(value: Any, _: Config) -> Settings:
    """TRL's mixture; its columns are a list of those to keep, which needs no saying here."""
    entries = []
    for entry in value:
        kept = {key: each for key, each in entry.items() if key != "columns" and each is not None}
        if "data_dir" in kept:
            raise NoCounterpart("a dataset has no data_dir; name the files in data_files")
        entries.append(kept)
    return {"datasets": entries}


WARMUP_SHARE = renamed("warmup_steps", "below 1 it is a share of all steps")

TRL: Table = {
    "max_seq_length": renamed("max_length"),
    "torch_dtype": renamed("dtype"),
    "evaluation_strategy": renamed("eval_strategy"),
    "warmup_ratio": WARMUP_SHARE,
    "no_cuda": renamed("use_cpu"),
    "per_gpu_train_batch_size": renamed("per_device_train_batch_size"),
    "per_gpu_eval_batch_size": renamed("per_device_eval_batch_size"),
    "load_best_model": renamed("load_best_model_at_end"),
    "streaming": renamed("dataset_streaming"),
    "rpo_alpha": LIKELIHOOD,
    "datasets": spread("datasets", datasets, "columns that nobody reads do not matter"),
    "use_dft_loss": becomes("loss_type", lambda on: "dft" if on else "nll"),
    "tokenizer_name_or_path": missing("the tokenizer is the model's own"),
    "max_prompt_length": unneeded("max_length bounds a prompt with its completion"),
    "group_by_length": unneeded("micro-batches are cut by tokens, balanced by cost"),
    "overwrite_output_dir": missing("a run folder is never overwritten; give another output_dir"),
    "reference_free": missing("losses without a reference are those of the methods orpo and cpo"),
    "accelerate_config": missing(LAUNCHED),
    **all_of(missing(LAUNCHED), "num_processes num_machines machine_rank main_process_port"),
    **all_of(unneeded(PACKED), "label_pad_token_id use_logits_to_keep pad_to_sequence_len"),
    **all_of(unneeded("rows are prepared in one pass, and kept"), "dataset_batch_size num_of_sequences"),
    **all_of(unneeded("weights are always saved as safetensors"), "save_safetensors"),
    **all_of(unneeded("it is always logged"), "include_tokens_per_second log_completions"),
    **all_of(
        missing("a reference of another model is passed to the trainer in Python, as ref_model"),
        "ref_model ref_model_name_or_path ref_model_init_kwargs model_adapter_name ref_adapter_name",
    ),
    **all_of(
        unneeded("training and evaluation follow from what is configured"), "do_train do_eval do_predict"
    ),
    "logging_dir": missing("trackers write to their own folders; metrics.jsonl is in the run folder"),
}
"""TRL's and transformers' own former names. All that are current are options here (`engine/compat.py`)."""


def unchanged(name: str) -> Foreign:
    """An option that is one here too."""
    return Foreign(name)
