"""Several datasets as one, as TRL's scripts name them: `DatasetMixtureConfig` and `get_dataset`.

A fraction is a dataset's share of the mixture. The mixture is as large as it can be without repeating a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import (
    DatasetDict,
    IterableDatasetDict,
    concatenate_datasets,
    load_dataset,
)

from burnish.data.sources.mixture import counts_of_fractions
from burnish.data.sources.source import load_rows
from burnish.errors import UserError, nearest
from burnish.options import described

SEED = 42
"""Of the held-out split: the same rows in every process and run."""


@dataclass
class DatasetConfig:
    """One dataset: the arguments of `datasets.load_dataset`, columns to keep, and its share."""

    path: str
    name: str | None = None
    data_dir: str | None = None
    data_files: Any = None
    split: str = "train"
    columns: list[str] | None = None
    fraction: float | None = None


@dataclass
class DatasetMixtureConfig:
    """The datasets of a script."""

    datasets: list[DatasetConfig] = described(
        [], "The datasets to mix: {path, name, data_dir, data_files, split, columns, fraction} each."
    )
    streaming: bool = described(False, "Read rows while training runs.")
    test_split_size: float | None = described(
        None, "Hold out so many rows as the split `test`: a share below 1, or a number."
    )

    def __post_init__(self) -> None:
        self.datasets = [_config(each) for each in self.datasets]


def get_dataset(mixture_config: DatasetMixtureConfig) -> DatasetDict | IterableDatasetDict:
    """The mixture as the split `train`, and `test` where a part is held out. Raises `UserError`."""
    configs, streaming = mixture_config.datasets, mixture_config.streaming
    if not configs:
        raise UserError("there are none", where="datasets", fix="name one: datasets=[{'path': ...}]")
    parts = [_loaded(each, streaming) for each in configs]
    fractions = [each.fraction for each in configs]
    if streaming:
        _refuse_of_streams(fractions, mixture_config.test_split_size)
        return IterableDatasetDict({"train": concatenate_datasets(parts)})
    if any(each is not None for each in fractions):
        counts = counts_of_fractions([len(each) for each in parts], fractions)
        parts = [rows.select(range(count)) for rows, count in zip(parts, counts, strict=True)]
    rows = concatenate_datasets([each for each in parts if len(each)])
    if mixture_config.test_split_size is None:
        return DatasetDict({"train": rows})
    return rows.train_test_split(test_size=mixture_config.test_split_size, seed=SEED)


def _config(given: Any) -> DatasetConfig:
    if isinstance(given, DatasetConfig):
        return given
    names = list(DatasetConfig.__dataclass_fields__)
    if not isinstance(given, dict) or "path" not in given:
        raise UserError(
            "a dataset is a mapping with a path", where="datasets", fix="write {path: rows.jsonl}"
        )
    for name in given:
        if name not in names:
            raise UserError(
                f"a dataset has no key '{name}'.{nearest(str(name), names)}",
                where="datasets",
                fix=f"the keys are {', '.join(names)}",
            )
    return DatasetConfig(**given)


def _loaded(config: DatasetConfig, streaming: bool) -> Any:
    path = Path(config.path).expanduser()
    if path.is_file():
        rows: Any = load_rows(str(path), split=config.split).dataset
        rows = rows.to_iterable_dataset() if streaming else rows
    else:
        try:
            rows = load_dataset(
                str(path) if path.is_dir() else config.path,
                config.name,
                data_dir=config.data_dir,
                data_files=config.data_files,
                split=config.split,
                streaming=streaming,
            )
        except Exception as error:  # a parser's or the hub's
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"the dataset cannot be loaded: {reason[0]}",
                where=config.path,
                fix="check path, name, data_files and split",
            ) from error
    if config.columns is None:
        return rows
    missing = [name for name in config.columns if name not in (rows.column_names or config.columns)]
    if missing:
        raise UserError(
            f"no column '{missing[0]}'; there is {', '.join(rows.column_names)}",
            where=config.path,
            fix="name columns that it has",
        )
    return rows.select_columns(config.columns)


def _refuse_of_streams(fractions: list[float | None], test_split_size: float | None) -> None:
    wanted = {
        "fraction": any(each is not None for each in fractions),
        "test_split_size": test_split_size is not None,
    }
    for name, is_wanted in wanted.items():
        if is_wanted:
            raise UserError(
                "how many rows a stream has is not known",
                where=name,
                fix=f"leave out {name}, or streaming",
            )
