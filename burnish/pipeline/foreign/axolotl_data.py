"""Axolotl's lists of datasets: which file, which columns, and what of a row is trained.

Rows are recognised by their columns here, so most of what `type` says needs no saying. What Axolotl trains of
a chat by default (the assistant's turns) is an option here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.pipeline.foreign.names import Config, NoCounterpart, Settings

FIELDS = {
    "field_messages": "messages",
    "field": "text",
    "field_instruction": "prompt",
    "field_prompt": "prompt",
    "field_output": "completion",
    "field_completion": "completion",
    "field_chosen": "chosen",
    "field_rejected": "rejected",
    "field_label": "label",
}
"""Keys that name a column, and the column here; names that are recognised by themselves need no saying."""

RECOGNISED = {"messages", "conversations", "text"} | set(FIELDS.values())

UNNEEDED = {
    *(
        "ds_type",
        "type",
        "conversation",
        "message_property_mappings",
        "message_field_role",
        "message_field_content",
    ),
    *("field_human", "field_model", "roles", "train_on_split", "trust_remote_code", "field_tools", "strict"),
}
"""Keys whose meaning is found in the rows themselves, or that were read above."""

REASONS = {
    "train_on_eos": "the token that ends a turn is always trained",
    "train_on_eot": "the token that ends a turn is always trained",
    "message_field_training": "a message with train: false is not trained; rename the key to `train`",
    "message_field_training_detail": "whole messages are trained or not",
    "roles_to_train": "only the assistant's turns, or all, are trained",
    "chat_template": "the model's own chat template is used; chat_template_path names another",
    "shards": "rows.jsonl#500 takes 500 rows",
    "preprocess_shards": "rows are read and prepared in one pass",
    "revision": "a dataset is read at its newest revision",
    "drop_system_message": "take the system messages out of the rows",
    "format": "row_function makes a row with a template of your own",
    "field_input": "row_function puts several columns into one prompt",
    "field_system": "a column `system` is read",
    "system_prompt": "write it into the rows, as their first message",
}


USUAL = {"roles_to_train": (["assistant"], ["gpt"]), "train_on_eos": ("turn", "all")}
"""Values that say what is done here anyway."""


def training_rows(entries: Any, config: Config) -> Settings:
    """`datasets` as settings. Raises `NoCounterpart` where a file cannot be named."""
    entries = entries if isinstance(entries, list) else [entries]
    missing: dict[str, str] = {}
    sources = [source for index, entry in enumerate(entries) for source in sources_of(entry, index, missing)]
    settings: Settings = {"missing": missing}
    if all(set(source) == {"path"} for source in sources):
        names = [source["path"] for source in sources]
        settings["dataset_name"] = names if len(names) > 1 else names[0]
    else:
        settings["datasets"] = sources
    return settings | trained_part(entries, config)


def evaluation_rows(entries: Any, config: Config) -> Settings:
    """`test_datasets`: rows to evaluate on have names only."""
    missing: dict[str, str] = {}
    sources = [source for index, entry in enumerate(entries) for source in sources_of(entry, index, missing)]
    names = [source["path"] for source in sources]
    renamed = {f"test_{key}": why for key, why in missing.items()}
    return {"eval_dataset_name": names if len(names) > 1 else names[0], "missing": renamed}


def sources_of(entry: Mapping[str, Any], index: int, missing: dict[str, str]) -> list[Settings]:
    """The sources of an entry, one a file; what has no counterpart is added to `missing`."""
    if not isinstance(entry, Mapping) or not entry.get("path"):
        raise NoCounterpart("a dataset has a path")
    kind = entry.get("type")
    fields = {**entry, **kind} if isinstance(kind, Mapping) else dict(entry)
    source = {key: entry[key] for key in ("name", "split") if entry.get(key) and entry[key] != "train"}
    columns = {
        ours: fields[key]
        for key, ours in FIELDS.items()
        if fields.get(key) and fields[key] not in (ours, *RECOGNISED)
    }
    if columns:
        source["columns"] = columns
    read = {"path", "name", "split", "data_files", *FIELDS, *UNNEEDED}
    for key, value in fields.items():
        if key not in read and value not in (None, False, *USUAL.get(key, ())):
            missing[f"datasets[{index}].{key}"] = REASONS.get(key, "there is no such key of a dataset here")
    if kind in ("input_output", "pretrain"):
        missing[f"datasets[{index}].type"] = (
            f"rows of type {kind} are not read; row_function makes known ones of them"
        )
    files = entry.get("data_files")
    if not files:
        return [{"path": entry["path"], **source}]
    return [{"path": each, **source} for each in (files if isinstance(files, list) else [files])]


def trained_part(entries: list[Mapping[str, Any]], config: Config) -> Settings:
    """What of a row is trained, for fine-tuning."""
    if config.get("rl") or config.get("reward_model") or config.get("process_reward_model"):
        return {}
    if config.get("train_on_inputs"):
        return {"completion_only_loss": False, "notes": ["train_on_inputs: prompts are trained too"]}
    chats = [str(entry.get("type")).startswith(("chat_template", "sharegpt")) for entry in entries]
    if chats and all(chats):
        return {
            "assistant_only_loss": True,
            "notes": ["of chats, the assistant's turns are trained, as there"],
        }
    if any(chats):
        return {
            "notes": [
                "of chats all turns are trained here: assistant_only_loss is not for rows without turns"
            ]
        }
    return {}
