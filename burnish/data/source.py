"""Where rows come from: files, folders, the Hugging Face Hub, or objects in memory.

name                                    read
rows.jsonl, .json, .csv, .tsv, .parquet the file
a folder                                its train / validation / test files, or what `save_to_disk` wrote
json, csv, parquet                      `data_files`, as `datasets.load_dataset` has it
owner/dataset                           the hub
a Dataset, DatasetDict, list of rows    as it is
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, load_dataset, load_from_disk

from burnish.data.jsonl import read_json
from burnish.errors import UserError, shorten

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]]


def load_source(
    name: Any,
    *,
    config: str | None = None,
    split: str = "train",
    data_files: DataFiles | None = None,
    cache_dir: str | None = None,
) -> Dataset:
    """The rows of one split. Raises `UserError` saying what was looked for, what is there, and what to do.

    `config` names one of a hub dataset's configurations; `data_files` picks files of a folder or hub dataset.
    """
    if not isinstance(name, str | os.PathLike):
        return _non_empty(_from_object(name, split), shorten(type(name).__name__))
    source = os.fspath(name)
    if source in BUILDERS:
        return _non_empty(_from_builder(source, data_files, split, cache_dir), source)
    path = Path(source).expanduser()
    if path.is_dir():
        found = _from_folder(path, split, data_files, cache_dir)
    elif path.is_file():
        found = read_files([path], cache_dir)
    elif _looks_local(source):
        raise _missing(path)
    else:
        found = _from_hub(source, config, split, data_files, cache_dir)
    return _non_empty(found, source)


def _non_empty(dataset: Dataset, where: str) -> Dataset:
    if not len(dataset):
        raise UserError("there are no rows", where=where, fix="check the file and the split")
    return dataset


# Objects


def _from_object(rows: Any, split: str) -> Dataset:
    if isinstance(rows, Dataset):
        return rows
    if isinstance(rows, DatasetDict):
        return rows[_existing_split(split, list(rows), "the DatasetDict")]
    if isinstance(rows, IterableDataset | IterableDatasetDict):
        raise UserError(
            "streaming datasets are not supported: rows are prepared once, before training",
            fix="load the dataset without streaming=True, or Dataset.from_list(list(stream.take(n)))",
        )
    if isinstance(rows, Sequence) and all(isinstance(row, Mapping) for row in rows):
        return Dataset.from_list([dict(row) for row in rows], on_mixed_types="use_json")
    raise UserError(
        f"expected a path, a hub id, a Dataset or a list of rows, found {shorten(rows)}",
        fix="Dataset.from_list([...]) makes a dataset of a list of dictionaries",
    )


def _existing_split(split: str, splits: list[str], where: str) -> str:
    if split in splits:
        return split
    raise UserError(
        f"no split '{split}'; there is {', '.join(splits)}", where=where, fix=f"set split to {splits[0]!r}"
    )


# Files


def _by_builder(builder: str, **options: Any) -> Callable[[Sequence[Path], str | None], Dataset]:
    def read(paths: Sequence[Path], cache_dir: str | None) -> Dataset:
        files = [str(path) for path in paths]
        try:
            return load_dataset(builder, data_files=files, split="train", cache_dir=cache_dir, **options)
        except Exception as error:  # the cause is a parser's, wrapped twice
            cause = error.__cause__ or error
            reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
            raise UserError(f"cannot be read as {builder}: {reason}", where=", ".join(files)) from error

    return read


READERS: dict[str, Callable[[Sequence[Path], str | None], Dataset]] = {
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".csv": _by_builder("csv", keep_default_na=False),  # "NA" and "null" are words
    ".tsv": _by_builder("csv", keep_default_na=False, sep="\t"),
    ".parquet": _by_builder("parquet"),
}
"""File formats, by suffix."""

BUILDERS = {"json": ".jsonl", "csv": ".csv", "parquet": ".parquet"}
"""Names that `datasets.load_dataset` gives to formats; they come with `data_files`."""


def read_files(paths: Sequence[Path], cache_dir: str | None = None, suffix: str | None = None) -> Dataset:
    """Files of one format, one after the other."""
    suffixes = {suffix or path.suffix.lower() for path in paths}
    if len(suffixes) > 1:
        raise UserError(f"files of several formats: {', '.join(map(str, paths))}", fix="give one of them")
    (found,) = suffixes
    if found not in READERS:
        raise UserError(
            f"unknown file format {found!r}", where=str(paths[0]), fix=f"use one of {', '.join(READERS)}"
        )
    return READERS[found](paths, cache_dir)


def _from_builder(builder: str, data_files: DataFiles | None, split: str, cache_dir: str | None) -> Dataset:
    if not data_files:
        raise UserError(
            f"'{builder}' names a format, not a file", fix="add data_files=, or give the file itself"
        )
    return read_files(_chosen_files(Path(), data_files, split), cache_dir, BUILDERS[builder])


def _chosen_files(folder: Path, data_files: DataFiles, split: str) -> list[Path]:
    """The paths and patterns of `data_files`, inside `folder`."""
    if isinstance(data_files, Mapping):
        data_files = data_files[_existing_split(split, list(data_files), "data_files")]
    patterns = [data_files] if isinstance(data_files, str) else list(data_files)
    paths = []
    for pattern in patterns:
        path = folder / Path(pattern).expanduser()
        matches = (
            [path] if path.is_file() else sorted(path.parent.glob(path.name)) if "*" in path.name else []
        )
        if not matches:
            raise _missing(path)
        paths += matches
    return paths


def _looks_local(source: str) -> bool:
    """Whether a name that does not exist was meant as a path: it is no hub id, or ends like a file."""
    return (
        not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source)
        or Path(source).suffix.lower() in READERS
        or source[0] == "."
    )


def _missing(path: Path) -> UserError:
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    wanted = path.relative_to(parent).parts[0]
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    data = [name for name in names if Path(name).suffix.lower() in READERS][:5]
    near = close or data
    hint = f"; {parent} has {', '.join(near)}" if near else f"; {parent} has no data files"
    return UserError(
        f"no such file or folder{hint}", where=str(path), fix="check the path (and the working directory)"
    )


# Folders

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""How file names say which split they hold: `rows_val.jsonl`, `test-00000.parquet`."""


def _from_folder(folder: Path, split: str, data_files: DataFiles | None, cache_dir: str | None) -> Dataset:
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _from_object(load_from_disk(str(folder)), split)
    if data_files:
        return read_files(_chosen_files(folder, data_files, split), cache_dir)
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in READERS and path.is_file()]
    if not files:
        raise UserError(
            "the folder has no data files", where=str(folder), fix=f"add {' or '.join(READERS)} files"
        )
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    return read_files(splits[_existing_split(split, list(splits), str(folder))], cache_dir)


def _split_of(path: Path) -> str:
    """The split that a file's name, or else its folder's, speaks of; `train` if none does."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        words = re.split(r"[^a-z]+", part.lower())
        for split, names in SPLIT_WORDS.items():
            if any(word in names for word in words):
                return split
    return "train"


# The hub

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer before giving up."""


def _from_hub(
    name: str, config: str | None, split: str, data_files: DataFiles | None, cache_dir: str | None
) -> Dataset:
    _check_hub(name)
    try:
        found = load_dataset(name, config, split=None, data_files=data_files, cache_dir=cache_dir)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"cannot be loaded from the hub: {reason}", where=name) from error
    return found[_existing_split(split, list(found), name)]


def _check_hub(name: str) -> None:
    """Ask the hub for the dataset once, with a short timeout: `load_dataset` retries for minutes."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the hub has no dataset of that name for you ({reason})",
            where=name,
            fix="check the name, log in with `hf auth login` if it is private, or give a local file",
        ) from None
    except Exception as error:  # whatever the transport raises
        raise UserError(
            f"no file or folder of that name, and {constants.ENDPOINT} cannot be reached ({error})",
            where=name,
            fix="give a local .jsonl, .json, .csv or .parquet file or a folder; or set HF_HUB_OFFLINE=1 "
            "to use a dataset that was downloaded before",
        ) from None
