"""LLaMA-Factory's options: https://github.com/hiyouga/LLaMA-Factory, src/llamafactory/hparams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.pipeline.foreign.names import (
    CHECKPOINTING,
    KEPT,
    LISTS,
    OWN_ATTENTION,
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
from burnish.pipeline.foreign.trl import WARMUP_SHARE, with_likelihood

DEFAULTS = {"cutoff_len": 2048, "learning_rate": 5e-5, "finetuning_type": "lora"}
"""What LLaMA-Factory takes where a file says nothing and Burnish takes something else."""

ADAPTER_DEFAULTS = {"lora_rank": 8, "lora_dropout": 0.0, "lora_target": "all"}

LOSSES: dict[str, tuple[str, Settings]] = {
    "sigmoid": ("dpo", {}),
    "hinge": ("dpo", {"loss_type": ["hinge"]}),
    "ipo": ("dpo", {"loss_type": ["ipo"]}),
    "orpo": ("orpo", {}),
    "simpo": ("cpo", {"loss_type": "simpo", "cpo_alpha": 0.0}),
}
STAGES = {"sft": "sft", "pt": "sft", "rm": "reward", "kto": "kto"}


def method_of(config: Config) -> tuple[str, Settings]:
    """The method, and what it implies. Raises `NoCounterpart`: methods that sample, losses not here."""
    stage = config.get("stage", "sft")
    if stage in STAGES:
        return STAGES[stage], {}
    loss = config.get("pref_loss", "sigmoid")
    if stage != "dpo":
        raise NoCounterpart(f"stage: {stage} trains on sampled answers, and {SAMPLED}")
    if loss not in LOSSES:
        raise NoCounterpart(f"pref_loss: {loss} is not here; bco_pair is TRL's successor of kto_pair")
    method, implied = LOSSES[loss]
    return method, dict(implied)


def pair_loss(value: Any, config: Config) -> Settings:
    """The loss by its name; nothing, where `pref_ftx` says it with another one."""
    return {} if config.get("pref_ftx") else dict(LOSSES.get(value, ("", {}))[1])


def likelihood(weight: Any, config: Config) -> Settings:
    """The weight of the likelihood of chosen completions."""
    loss = config.get("pref_loss", "sigmoid")
    if loss == "orpo":
        raise NoCounterpart("orpo has the likelihood in it, with weight 1")
    return {"cpo_alpha": weight} if loss == "simpo" else with_likelihood(weight, config)


def finetuning(value: Any, config: Config) -> Settings:
    if value == "full":
        return {}
    if value != "lora":
        raise NoCounterpart("all weights are trained, or a LoRA adapter")
    rank = config.get("lora_rank") or 8
    return {"use_peft": True, "lora_alpha": config.get("lora_alpha") or 2 * rank}


def modules(value: Any) -> list[str]:
    names = value if isinstance(value, list) else [part.strip() for part in str(value).split(",")]
    return ["all-linear"] if names == ["all"] else names


def bits(value: Any, config: Config) -> Settings:
    if int(value) not in (4, 8):
        raise NoCounterpart("the frozen base is quantized to 4 or 8 bits")
    nested = config.get("double_quantization", True) and int(value) == 4
    return {f"load_in_{int(value)}bit": True} | ({"use_bnb_nested_quant": True} if nested else {})


def training_rows(value: Any, config: Config) -> Settings:
    """Names of dataset_info.json, looked up in it where it is at hand."""
    settings = rows_named(value, config, config.get("max_samples"))
    sources, chats = settings.pop("sources"), settings.pop("chats")
    if all(set(source) == {"path"} for source in sources):
        names = [source["path"] for source in sources]
        settings["dataset_name"] = names if len(names) > 1 else names[0]
    else:
        settings["datasets"] = sources
    if config.get("stage", "sft") != "sft":
        return settings
    if config.get("train_on_prompt"):
        return settings | {"completion_only_loss": False}
    if not any(chats):
        if None in chats:
            settings["notes"].append("if they are chats, add assistant_only_loss: true, as there")
        return settings
    loss = "last_turn_only_loss" if config.get("mask_history") else "assistant_only_loss"
    if not all(chats):
        settings["notes"].append(
            f"{loss} is for chats, and holds for every source: the Alpaca rows among them are to be "
            "written as messages, or trained in a stage of their own"
        )
    return settings | {loss: True}


def history_mask(value: Any, config: Config) -> Settings:
    """It is in `training_rows`, where the rows are known to be chats; else nothing here says it."""
    named = rows_named(config.get("dataset") or "", config, None)
    if value and config.get("dataset") and not any(named["chats"]):
        raise NoCounterpart(
            "which rows are chats is not known here: where they are, add last_turn_only_loss: true, or "
            "assistant_only_loss: true to train every answer; without it their user turns are trained"
        )
    return {}


def evaluation_rows(value: Any, config: Config) -> Settings:
    settings = rows_named(value, config, None)
    names = [source["path"] for source in settings.pop("sources")]
    settings.pop("chats")
    return settings | {"eval_dataset_name": names if len(names) > 1 else names[0]}


def rows_named(value: Any, config: Config, most: int | None) -> Settings:
    """`sources`, which of them are `chats` (None: not known), and `notes`."""
    names = value if isinstance(value, list) else [part.strip() for part in str(value).split(",")]
    folder = Path(str(config.get("dataset_dir") or "data"))
    known = read_info(folder / "dataset_info.json")
    suffix = f"#{most}" if most else ""
    sources, unknown = [], []
    chats: list[bool | None] = []
    for name in names:
        info = known.get(name)
        if info is None:
            unknown.append(name)
            sources.append({"path": name + suffix})
            chats.append(None)
            continue
        file = folder / info["file_name"] if "file_name" in info else info.get("hf_hub_url") or name
        columns = columns_of(info)
        sources.append({"path": f"{file}{suffix}", **({"columns": columns} if columns else {})})
        chats.append(info.get("formatting") == "sharegpt")
    where = f"{folder}/dataset_info.json, which says the path, is not here"
    notes = [f"write the path of {' and of '.join(unknown)}: {where}"] if unknown else []
    if unread := sorted({key for name in names for key in unread_columns(known.get(name) or {})}):
        notes.append(f"columns of dataset_info.json without a counterpart: {', '.join(unread)}")
    return {"sources": sources, "chats": chats, "notes": notes}


def read_info(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "messages": "messages",
    "system": "system",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "label",
}
"""Their words for the columns of Alpaca and ShareGPT rows, and the columns here."""


def columns_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Columns that have names of their own."""
    said = {COLUMNS[key]: name for key, name in (info.get("columns") or {}).items() if key in COLUMNS}
    return {ours: name for ours, name in said.items() if name and name not in (ours, "conversations")}


def unread_columns(info: Mapping[str, Any]) -> list[str]:
    """Their columns that no row here has, such as earlier turns beside the last one (`history`)."""
    return [key for key, name in (info.get("columns") or {}).items() if name and key not in COLUMNS]


LLAMA_FACTORY: Table = {
    "stage": unneeded("it is the stage's method"),
    "finetuning_type": spread("use_peft", finetuning),
    "lora_rank": renamed("lora_r"),
    "lora_alpha": renamed("lora_alpha"),
    "lora_target": becomes("lora_target_modules", modules),
    "additional_target": becomes("lora_modules_to_save", modules),
    "quantization_bit": spread("load_in_4bit", bits),
    "adapter_name_or_path": renamed(
        "model_name_or_path", "the adapter's folder is the model, and goes on training"
    ),
    "dataset": spread("dataset_name", training_rows),
    "eval_dataset": spread("eval_dataset_name", evaluation_rows),
    "val_size": spread("test_split_size", lambda size, _: {"test_split_size": size} if size else {}),
    "cutoff_len": renamed("max_length"),
    "streaming": renamed("dataset_streaming"),
    "neat_packing": renamed("packing", "rows of a pack never see each other here"),
    "packing": renamed("packing", "rows of a pack never see each other here"),
    "preprocessing_num_workers": renamed("dataset_num_proc"),
    "warmup_ratio": WARMUP_SHARE,
    "model_revision": renamed("model_revision"),
    "pref_beta": renamed("beta"),
    "pref_loss": spread("loss_type", pair_loss, "it is in the method and its loss_type"),
    "pref_ftx": spread(
        "loss_type", likelihood, "the likelihood is a loss of its own, a mean over chosen tokens"
    ),
    "dpo_label_smoothing": renamed("label_smoothing"),
    "kto_chosen_weight": renamed("desirable_weight"),
    "kto_rejected_weight": renamed("undesirable_weight"),
    "disable_gradient_checkpointing": becomes("gradient_checkpointing", lambda on: False if on else None),
    "infer_dtype": unneeded("it is for answering"),
    # Nothing to do
    "template": unneeded(TEMPLATE),
    "dataset_dir": unneeded("datasets are named by their files"),
    "train_on_prompt": unneeded("it is in what the rows' settings say"),
    "mask_history": spread("last_turn_only_loss", history_mask, "it is in what the rows' settings say"),
    "max_samples": unneeded("it stands behind each dataset's name: rows.jsonl#500, drawn by the seed"),
    "double_quantization": unneeded("it goes with the bits of the base"),
    "quantization_method": choice(
        "load_in_4bit", {"bnb": None, "bitsandbytes": None}, "only bitsandbytes quantizes here"
    ),
    "ignore_pad_token_for_loss": unneeded("nothing is padded"),
    "plot_loss": unneeded("the report has the curves"),
    "do_train": unneeded("a run trains"),
    "do_eval": unneeded("evaluation follows from its rows"),
    "upcast_layernorm": unneeded("trained weights are float32"),
    "upcast_lmhead_output": unneeded("log-probabilities are computed in float32"),
    "save_safetensors": unneeded("weights are always saved as safetensors"),
    "include_num_input_tokens_seen": unneeded("tokens are always logged"),
    "include_tokens_per_second": unneeded("it is always logged"),
    "include_effective_tokens_per_second": unneeded("it is always logged"),
    "low_cpu_mem_usage": unneeded("it is how models are loaded"),
    "use_fast_tokenizer": unneeded("tokenizers are the fast ones"),
    "print_param_status": unneeded("the plan says what is trained"),
    "remove_unused_columns": unneeded("rows are prepared before training"),
    **all_of(unneeded(KEPT), "overwrite_cache preprocessing_batch_size tokenized_path cache_dir"),
    **all_of(unneeded(OWN_ATTENTION), "flash_attn enable_liger_kernel use_unsloth use_unsloth_gc"),
    **all_of(unneeded(CHECKPOINTING), "use_reentrant_gc gradient_checkpointing"),
    **all_of(unneeded("it is for answering"), "infer_backend vllm_maxlen vllm_gpu_util offload_folder"),
    # No counterpart
    "overwrite_output_dir": missing("a run folder is never overwritten; give another output_dir"),
    "fp16": missing("log-probabilities overflow in float16; leave it out for bfloat16 or float32"),
    "pure_bf16": missing("trained weights stay float32: steps of preference training are lost in bfloat16"),
    "tool_format": missing("tools are written as the chat template does"),
    "media_dir": missing("images, sound and video are not trained yet"),
    "shift_attn": missing("every token sees its whole text"),
    "rope_scaling": missing("give it in model_init_kwargs"),
    "resize_vocab": missing("no tokens are added to a tokenizer here; save a model that has them"),
    "new_special_tokens": missing("no tokens are added to a tokenizer here; save a model that has them"),
    "create_new_adapter": missing("merge the old adapter first: burnish merge"),
    "early_stopping_steps": renamed("early_stopping_patience"),
    "buffer_size": missing("a stream is read in its order"),
    "compute_accuracy": unneeded("token accuracy is always measured in evaluation"),
    "hf_hub_token": missing("log in with `hf auth login`"),
    "pref_bco_weight": missing("loss_type: [sigmoid, bco_pair] with loss_weights adds it"),
    "use_dft_loss": becomes("loss_type", lambda on: "dft" if on else None),
    **all_of(
        missing("a source's weight says how often its rows come: datasets: [{path: ..., weight: 2}]"),
        "mix_strategy interleave_probs eval_on_each_dataset",
    ),
    **all_of(
        missing(LISTS),
        "freeze_trainable_layers freeze_trainable_modules freeze_extra_modules "
        "freeze_vision_tower freeze_multi_modal_projector freeze_language_model use_llama_pro",
    ),
    **all_of(missing("one learning rate is for all parameters"), "loraplus_lr_ratio loraplus_lr_embedding"),
    **all_of(
        missing("adapters are plain LoRA, DoRA or rsLoRA"),
        "pissa_init pissa_iter pissa_convert oft_rank oft_block_size oft_target module_dropout",
    ),
    **all_of(
        missing("optim names an optimizer of transformers, also galore_adamw and apollo_adamw"),
        "use_galore galore_target galore_rank galore_update_interval galore_scale use_apollo apollo_target "
        "apollo_rank apollo_scale use_badam badam_mode use_adam_mini use_muon",
    ),
    **all_of(
        missing("report_to names wandb, trackio, tensorboard or mlflow"),
        "use_swanlab swanlab_project swanlab_run_name swanlab_mode swanlab_api_key",
    ),
    **all_of(
        missing("a reference of another model is passed to the trainer in Python, as ref_model"),
        "ref_model ref_model_adapters ref_model_quantization_bit",
    ),
    **all_of(
        missing(SAMPLED),
        "reward_model reward_model_adapters reward_model_type ppo_epochs ppo_buffer_size "
        "ppo_target ppo_score_norm ppo_whiten_rewards",
    ),
    **all_of(
        missing("evaluation measures the loss; `burnish compare` has answers side by side"),
        "predict_with_generate do_predict do_sample temperature top_p top_k num_beams max_new_tokens "
        "eval_num_beams repetition_penalty",
    ),
}
