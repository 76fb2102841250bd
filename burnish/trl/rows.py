"""Rows as TRL's scripts turn them over: chats recognised, prompts found, pairs taken apart, rows packed.

Trainers need none of this: they read all of these layouts as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from datasets import DatasetDict, IterableDatasetDict

from burnish.data.packing import best_fit_decreasing
from burnish.data.text.encode import common_prefix
from burnish.errors import UserError

CHATS = ("prompt", "completion", "chosen", "rejected", "messages")
"""Columns that hold a chat or a part of one."""

STRATEGIES = ("bfd", "bfd_split", "wrapped")


def _has(value: Any, key: str) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping) and key in value[0]


def is_conversational(example: Mapping[str, Any]) -> bool:
    """Whether a row holds messages with a `role`, and no plain text."""
    return any(_has(example.get(name), "role") for name in CHATS)


def is_conversational_from_value(example: Mapping[str, Any]) -> bool:
    """Whether a row has `conversations` of messages with `from` and `value`, as ShareGPT writes them."""
    return _has(example.get("conversations"), "from")


def maybe_convert_to_chatml(example: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `role` and `content` for `from` and `value`, and `messages` for `conversations`."""
    spelled = {"from": "role", "value": "content"}
    made = dict(example)
    for name in (*CHATS, "conversations"):
        if _has(made.get(name), "from"):
            made[name] = [{spelled.get(key, key): each for key, each in turn.items()} for turn in made[name]]
    if "conversations" in made:
        made["messages"] = made.pop("conversations")
    return made


def extract_prompt(example: Mapping[str, Any]) -> dict[str, Any]:
    """`prompt`, `chosen` and `rejected` of two whole texts or chats: the prompt is what they begin with.

    A space before the first difference belongs to the answers, where tokens have it.
    """
    chosen, rejected = example["chosen"], example["rejected"]
    shared = common_prefix(chosen, rejected)
    if shared == min(len(chosen), len(rejected)) and shared:
        shared -= 1  # one continues the other: each keeps something of its own
    if isinstance(chosen, str) and shared and chosen[shared - 1] == " ":
        shared -= 1
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def maybe_extract_prompt(example: Mapping[str, Any]) -> dict[str, Any]:
    """`extract_prompt` of a pair without a prompt of its own; any other row as it is."""
    if not {"chosen", "rejected"} <= example.keys():
        return dict(example)
    prompt = example.get("prompt")
    if prompt is not None and _has(example["chosen"], "role") == _has(prompt, "role"):
        return dict(example)
    return extract_prompt(example)


def _unpaired(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    pairs = len(batch["chosen"])
    kept = {name: values + values for name, values in batch.items() if name not in ("chosen", "rejected")}
    answers = batch["chosen"] + batch["rejected"]
    return {**kept, "completion": answers, "label": [True] * pairs + [False] * pairs}


def unpair_preference_dataset(dataset: Any, num_proc: int | None = None, **map_kwargs: Any) -> Any:
    """Two rows of every pair: `completion` with `label` True for the chosen one, and False.

    A `Dataset`, a stream, or a dictionary of them; `map_kwargs` are those of its `map`.
    """
    if not is_paired(dataset):
        raise UserError(
            "the rows are no pairs", where="columns 'chosen', 'rejected'", fix="give rows that have both"
        )
    if num_proc is not None:
        map_kwargs["num_proc"] = num_proc
    if map_kwargs.get("desc", "") is None:
        del map_kwargs["desc"]
    return dataset.map(_unpaired, batched=True, remove_columns=["chosen", "rejected"], **map_kwargs)


def maybe_unpair_preference_dataset(dataset: Any, num_proc: int | None = None, **map_kwargs: Any) -> Any:
    """`unpair_preference_dataset` of pairs; any other rows as they are."""
    return unpair_preference_dataset(dataset, num_proc, **map_kwargs) if is_paired(dataset) else dataset


def is_paired(dataset: Any) -> bool:
    """Whether rows (of a dictionary's first split) have a chosen and a rejected answer."""
    rows = next(iter(dataset.values())) if isinstance(dataset, DatasetDict | IterableDatasetDict) else dataset
    if rows.column_names is not None:
        return {"chosen", "rejected"} <= set(rows.column_names)
    return {"chosen", "rejected"} <= next(iter(rows), {}).keys()  # a stream that does not know its columns


def pack_dataset(
    dataset: Any, seq_length: int, strategy: str = "bfd", map_kwargs: dict[str, Any] | None = None
) -> Any:
    """Rows of lists (`input_ids`, ...) put together into rows of at most `seq_length`.

    `bfd` keeps rows whole and cuts longer ones off, `bfd_split` splits longer ones; `seq_lengths` says where
    they are. `wrapped` cuts the joined rows wherever a row is full. Packs are made within a batch of `map`:
    1,000 rows, unless `map_kwargs` says `batch_size`.
    """
    if strategy not in STRATEGIES:
        raise UserError(
            f"there is no strategy {strategy!r}",
            where="strategy",
            fix=f"choose one of {', '.join(STRATEGIES)}",
        )
    if dataset.column_names is not None:
        first = next(iter(dataset))
        for name, value in first.items():
            if not isinstance(value, list):
                raise UserError(
                    "the column is no list with a value for every token",
                    where=f"column '{name}'",
                    fix="keep columns such as input_ids: dataset.select_columns([...])",
                )
    return dataset.map(
        _packed,
        batched=True,
        remove_columns=dataset.column_names,
        fn_kwargs={"length": seq_length, "strategy": strategy},
        **(map_kwargs or {}),
    )


def _packed(batch: Mapping[str, list[list[Any]]], length: int, strategy: str) -> dict[str, list[list[Any]]]:
    columns = {name: [list(row) for row in rows] for name, rows in batch.items()}
    if strategy == "wrapped":
        joined = {name: list(chain.from_iterable(rows)) for name, rows in columns.items()}
        return {name: _cut(values, length) for name, values in joined.items()}
    if strategy == "bfd":
        columns = {name: [row[:length] for row in rows] for name, rows in columns.items()}
    else:
        columns = {
            name: [part for row in rows for part in _cut(row, length)] for name, rows in columns.items()
        }
    lengths = [len(row) for row in next(iter(columns.values()))]
    packs = best_fit_decreasing(lengths, length)
    made = {
        name: [list(chain.from_iterable(rows[index] for index in pack)) for pack in packs]
        for name, rows in columns.items()
    }
    return {**made, "seq_lengths": [[lengths[index] for index in pack] for pack in packs]}


def _cut(values: list[Any], length: int) -> list[list[Any]]:
    return [values[start : start + length] for start in range(0, len(values), length)]
