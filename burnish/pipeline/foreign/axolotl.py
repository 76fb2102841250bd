"""Axolotl's options: https://docs.axolotl.ai/docs/config-reference.html."""

from __future__ import annotations

from typing import Any

from burnish.pipeline.foreign.axolotl_data import evaluation_rows, training_rows
from burnish.pipeline.foreign.names import (
    CHECKPOINTING,
    KEPT,
    LAUNCHED,
    LISTS,
    OWN_ATTENTION,
    PACKED,
    SAMPLED,
    TEMPLATE,
    Config,
    NoCounterpart,
    Settings,
    Table,
    all_of,
    becomes,
    choice,
    missing,
    renamed,
    spread,
    unneeded,
)
from burnish.pipeline.foreign.trl import LIKELIHOOD, WARMUP_SHARE

DEFAULTS = {
    "sequence_len": 512,
    "micro_batch_size": 1,
    "num_epochs": 1,
    "lr_scheduler": "cosine",
    "excess_length_strategy": "drop",
}
"""What Axolotl takes where a file says nothing and Burnish takes something else."""

ADAPTER_DEFAULTS = {"lora_dropout": 0.0}

METHODS: dict[str, tuple[str, Settings]] = {
    "dpo": ("dpo", {}),
    "ipo": ("dpo", {"loss_type": ["ipo"]}),
    "kto": ("kto", {}),
    "orpo": ("orpo", {}),
    "simpo": ("cpo", {"loss_type": "simpo"}),
}


def method_of(config: Config) -> tuple[str, Settings]:
    """The method, and what it implies. Raises `NoCounterpart`: methods that sample."""
    named = config.get("rl")
    if named:
        if named not in METHODS:
            raise NoCounterpart(f"rl: {named} trains on sampled answers, and {SAMPLED}")
        method, implied = METHODS[named]
        return method, dict(implied)
    return (
        "prm" if config.get("process_reward_model") else "reward" if config.get("reward_model") else "sft"
    ), {}


def adapter(value: Any, config: Config) -> Settings:
    if value not in ("lora", "qlora"):
        raise NoCounterpart("adapters are LoRA here (with use_dora, use_rslora)")
    return {"use_peft": True} | ({"load_in_4bit": True} if value == "qlora" else {})


def per_epoch(kind: str) -> Any:
    """So many times an epoch, as a share of all steps."""

    def translate(times: Any, config: Config) -> Settings:
        if times == 0:
            return {f"{kind}_strategy": "no"}
        epochs = float(config.get("num_epochs") or 1)
        if config.get("max_steps") and times != 1:
            raise NoCounterpart(f"with max_steps, say {kind}_steps")
        share = {f"{kind}_strategy": "steps", f"{kind}_steps": round(1 / (times * epochs), 6)}
        return share if times != 1 else {f"{kind}_strategy": "epoch"}

    return translate


def steps_between(kind: str) -> Any:
    """Their number of steps says the strategy too."""
    return lambda steps, _: {f"{kind}_strategy": "steps", f"{kind}_steps": steps}


def special_tokens(value: Any, _: Config) -> Settings:
    others = sorted(set(value) - {"pad_token", "eos_token"})
    missing = {
        f"special_tokens.{name}": "of special tokens only eos_token can be set here" for name in others
    }
    notes = ["nothing is padded"] if "pad_token" in value else []
    own = {"eos_token": value["eos_token"]} if value.get("eos_token") else {}
    return {**own, "notes": notes, "missing": missing}


def least_rate(share: Any, _: Config) -> Settings:
    return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": share}}


def batch_of_a_step(total: Any, config: Config) -> Settings:
    micro = config.get("micro_batch_size") or 1
    return {"gradient_accumulation_steps": max(1, int(total) // int(micro))}


def on_the_hub(name: Any, _: Config) -> Settings:
    return {"hub_model_id": name, "push_to_hub": True}


def tracker(name: str, variable: str) -> Any:
    return spread(
        "report_to",
        lambda value, _: {"report_to": name, "env": {variable: value}},
        f"the tracker reads {variable}",
    )


def full_precision(on: Any, _: Config) -> Settings:
    return {"bf16": False} if on else {}


def long_rows(value: Any, config: Config) -> Settings:
    """Dropped, unless all rows are plain text, which is cut into pieces."""
    types = {str(entry.get("type")) for entry in config.get("datasets") or [] if isinstance(entry, dict)}
    if types == {"completion"} and not config.get("rl"):
        return {"truncation_mode": "split"}
    return {"truncation_mode": "drop" if value == "drop" else "keep_start"}


AXOLOTL: Table = {
    "base_model": renamed("model_name_or_path"),
    "revision_of_model": renamed("model_revision"),
    "datasets": spread("datasets", training_rows),
    "test_datasets": spread("eval_dataset_name", evaluation_rows),
    "pretraining_dataset": spread("datasets", training_rows),
    "val_set_size": spread("test_split_size", lambda size, _: {"test_split_size": size} if size else {}),
    "dataset_processes": renamed("dataset_num_proc"),
    "sequence_len": renamed("max_length"),
    "excess_length_strategy": spread("truncation_mode", long_rows),
    "sample_packing": renamed("packing", "the batch size counts packs, as there"),
    "micro_batch_size": renamed("per_device_train_batch_size"),
    "eval_batch_size": renamed("per_device_eval_batch_size"),
    "batch_size": spread("gradient_accumulation_steps", batch_of_a_step, "batch_size / micro_batch_size"),
    "num_epochs": renamed("num_train_epochs"),
    "optimizer": renamed("optim"),
    "lr_scheduler": renamed("lr_scheduler_type"),
    "cosine_min_lr_ratio": spread("lr_scheduler_kwargs", least_rate),
    "warmup_ratio": WARMUP_SHARE,
    "eval_steps": spread("eval_steps", steps_between("eval")),
    "save_steps": spread("save_steps", steps_between("save")),
    "evals_per_epoch": spread("eval_steps", per_epoch("eval"), "a share of all steps"),
    "saves_per_epoch": spread("save_steps", per_epoch("save"), "a share of all steps"),
    "noisy_embedding_alpha": renamed("neftune_noise_alpha"),
    "adapter": spread("use_peft", adapter),
    "lora_model_dir": renamed(
        "model_name_or_path", "the adapter's folder is the model, and goes on training"
    ),
    "lora_target_linear": becomes("lora_target_modules", lambda on: ["all-linear"] if on else None),
    "peft_use_dora": renamed("use_dora"),
    "peft_use_rslora": renamed("use_rslora"),
    "rl_beta": renamed("beta"),
    "dpo_beta": renamed("beta"),
    "orpo_alpha": renamed("beta", "what ORPO's paper calls λ"),
    "rpo_alpha": LIKELIHOOD,
    "kto_desirable_weight": renamed("desirable_weight"),
    "kto_undesirable_weight": renamed("undesirable_weight"),
    "dpo_loss_type": renamed("loss_type"),
    "dpo_label_smoothing": renamed("label_smoothing"),
    "dpo_use_weighting": renamed("use_weighting"),
    "special_tokens": spread("eos_token", special_tokens),
    "bfloat16": renamed("bf16", "trained weights stay float32; what is computed is bfloat16"),
    "float32": spread("bf16", full_precision),
    "bf16": choice("bf16", {"auto": None, "full": True, True: True, False: False}, "no such precision"),
    "hub_model_id": spread("hub_model_id", on_the_hub),
    "wandb_project": tracker("wandb", "WANDB_PROJECT"),
    "wandb_entity": tracker("wandb", "WANDB_ENTITY"),
    "wandb_mode": tracker("wandb", "WANDB_MODE"),
    "mlflow_tracking_uri": tracker("mlflow", "MLFLOW_TRACKING_URI"),
    "mlflow_experiment_name": tracker("mlflow", "MLFLOW_EXPERIMENT_NAME"),
    "use_tensorboard": becomes("report_to", lambda on: "tensorboard" if on else None),
    "use_wandb": becomes("report_to", lambda on: "wandb" if on else None),
    "use_mlflow": becomes("report_to", lambda on: "mlflow" if on else None),
    "wandb_name": renamed("run_name"),
    "wandb_run_id": renamed("run_name"),
    "mlflow_run_name": renamed("run_name"),
    # Nothing to do
    **all_of(
        unneeded("the model's and tokenizer's classes follow from the model"),
        "model_type tokenizer_type processor_type tokenizer_use_fast is_falcon_derived_model "
        "low_cpu_mem_usage is_llama_derived_model is_mistral_derived_model is_qwen_derived_model",
    ),
    **all_of(
        unneeded(OWN_ATTENTION),
        "flash_attention xformers_attention sdp_attention flex_attention eager_attention attn_implementation "
        "flash_attn_cross_entropy flash_attn_rms_norm flash_attn_fuse_qkv flash_attn_fuse_mlp",
    ),
    **all_of(
        unneeded(PACKED),
        "pad_to_sequence_len eval_sample_packing batch_flattening sample_packing_group_size dpo_padding_free "
        "sample_packing_bin_size sample_packing_eff_est multipack_real_batches group_by_length "
        "remove_unused_columns",
    ),
    **all_of(
        unneeded("the vocabulary projection runs in chunks, and kernels are chosen by certification"),
        "lora_mlp_kernel lora_qkv_kernel lora_o_kernel unsloth_cross_entropy_loss unsloth_lora_mlp "
        "unsloth_rope unsloth_lora_qkv unsloth_lora_o unsloth_rms_norm liger_rope liger_rms_norm "
        "liger_swiglu liger_glu_activation liger_fused_linear_cross_entropy liger_cross_entropy "
        "liger_layer_norm cut_cross_entropy chunked_cross_entropy",
    ),
    **all_of(
        unneeded(KEPT),
        "dataset_prepared_path dataset_keep_in_memory push_dataset_to_hub skip_prepare_dataset",
    ),
    **all_of(unneeded(LAUNCHED), "ddp world_size local_rank device device_map"),
    **all_of(unneeded("unknown keys are always refused"), "strict debug"),
    **all_of(
        unneeded("a broken run goes on by itself when it is started again"), "auto_resume_from_checkpoints"
    ),
    **all_of(
        unneeded("rows are drawn in random order"), "shuffle_merged_datasets shuffle_before_merging_datasets"
    ),
    **all_of(unneeded("it is always logged"), "include_tokens_per_second include_tkps"),
    **all_of(unneeded("weights are always saved as safetensors"), "save_safetensors"),
    **all_of(unneeded("what is logged in is what the hub's own login says"), "hf_use_auth_token"),
    **all_of(
        unneeded("the run's own metrics and report say it"), "wandb_watch wandb_log_model profiler_steps"
    ),
    "gradient_checkpointing": unneeded(CHECKPOINTING),
    "gradient_checkpointing_kwargs": unneeded(CHECKPOINTING),
    "gc_steps": unneeded("memory of a step is bounded by tokens"),
    "train_on_inputs": unneeded("it is in what the rows' settings say"),
    "rl": unneeded("it is the stage's method"),
    "reward_model": unneeded("it is the stage's method"),
    "process_reward_model": unneeded("it is the stage's method"),
    "dpo_use_logits_to_keep": unneeded("full logits are never computed"),
    # No counterpart
    "fp16": missing("log-probabilities overflow in float16; leave it out for bfloat16 or float32"),
    "float16": missing("log-probabilities overflow in float16"),
    "fp8": missing("nothing is trained in 8 bits; load_in_8bit quantizes the frozen base of an adapter"),
    "chat_template": choice(
        "chat_template_path", {"tokenizer_default": None}, TEMPLATE + "; chat_template_path names another"
    ),
    "chat_template_jinja": missing("save it to a file and name that in chat_template_path"),
    "default_system_message": missing("write it into the rows, as their first message"),
    "tokens": missing("no tokens are added to a tokenizer here; save a model that has them"),
    "added_tokens_overrides": missing(
        "no tokens are changed in a tokenizer here; save a model that has them"
    ),
    "eot_tokens": missing("turns end as the chat template says"),
    "tokenizer_config": missing("the tokenizer is the model's own"),
    "base_model_config": missing("the config is the model's own"),
    "unfrozen_parameters": missing(LISTS),
    "dataset_exact_deduplication": missing(
        "`burnish inspect DATA --fix CLEAN` writes a copy without duplicates"
    ),
    "early_stopping_patience": renamed("early_stopping_patience"),
    "loss_watchdog_threshold": missing("a loss that explodes is reported, and does not stop training"),
    "num_labels": missing("a reward model has a label for each of `attributes`"),
    "s2_attention": missing("every token sees its whole text"),
    "plugins": missing("nothing is loaded by name; what most plugins add (kernels, losses) is built in"),
    "deepspeed": renamed("deepspeed", "check that the file is for Accelerate"),
    "fsdp": becomes("fsdp", lambda value: " ".join(value) if isinstance(value, list) else value),
    **all_of(missing(SAMPLED), "trl vllm"),
    **all_of(
        missing("one learning rate is for all parameters"),
        "embedding_lr embedding_lr_scale lr_groups loraplus_lr_ratio loraplus_lr_embedding lr_div_factor "
        "lr_quadratic_warmup cosine_constant_lr_ratio",
    ),
    **all_of(
        missing("adapters are plain LoRA, DoRA or rsLoRA on all layers"),
        "peft peft_layers_to_transform peft_layers_pattern peft_init_lora_weights relora relora_steps "
        "relora_warmup_steps lora_fan_in_fan_out lisa_n_layers lisa_step_interval lora_on_cpu",
    ),
    **all_of(
        missing("rows are measured by their loss; `burnish compare` has answers side by side"),
        "eval_table_size eval_max_new_tokens do_causal_lm_eval eval_causal_lm_metrics do_bench_eval "
        "bench_dataset",
    ),
    **all_of(
        missing("sequences are not split over devices yet"), "sequence_parallel_degree context_parallel_size"
    ),
    **all_of(missing("nothing is quantized in training but the frozen base"), "qat quantization gptq"),
}
