"""Where rows come from: files, folders, patterns, the Hugging Face Hub, or objects in memory.

name                                    read
rows.jsonl, .json, .csv, .tsv           the file; also compressed, rows.jsonl.gz
rows.parquet, .arrow                    the file
data/*.jsonl                            all files that match the pattern
a folder                                its train / validation / test files, or what `save_to_disk` wrote
json, csv, parquet, arrow               `data_files`, as `datasets.load_dataset` has it
owner/dataset                           the hub
any of these#500                        500 of its rows, drawn by the seed
a Dataset, DatasetDict, list of rows    as it is
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import (
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)

from burnish.data.sources import delimited, jsonl
from burnish.data.sources.configurations import DataFiles, check_split, in_config, split_of
from burnish.data.sources.files import (
    SUFFIXES,
    is_data_file,
    is_pattern,
    matching,
    missing,
    one_format,
    suffix_of,
)
from burnish.data.sources.hub import from_hub
from burnish.data.sources.rows import Origins, RowStream, Source
from burnish.errors import UserError, shorten


def load_source(
    name: Any,
    *,
    config: str | None = None,
    split: str = "train",
    data_files: DataFiles | None = None,
    cache_dir: str | None = None,
    seed: int = 42,
) -> Dataset:
    """The rows of one split, as a dataset. See `load_rows`."""
    return load_rows(
        name, config=config, split=split, data_files=data_files, cache_dir=cache_dir, seed=seed
    ).dataset


def load_rows(
    name: Any,
    *,
    config: str | None = None,
    split: str = "train",
    data_files: DataFiles | None = None,
    columns: Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    seed: int = 42,
    label: str = "",
) -> Source:
    """The rows of one split, which know their files and numbers there.

    `config` names one of a hub dataset's configurations; `data_files` picks files of a folder or hub dataset;
    `columns` are the source's own names of columns; `seed` draws a sample (`path#500`); `label` names an
    object in memory. Raises `UserError` saying what was looked for, what is there, and what to do.
    """
    if isinstance(name, Source):
        return name
    if isinstance(name, str | os.PathLike):
        place, sample = _sample_of(os.fspath(name))
        place, data_files = in_config(place, config, data_files)
        files = _files(place, split, data_files)
        found = (
            _read(files, place, cache_dir) if files else _whole(place, config, split, data_files, cache_dir)
        )
    else:
        sample = None
        listed = not isinstance(name, Dataset | DatasetDict)
        origins = Origins(label or shorten(type(name).__name__))
        found = Source(_from_object(name, split), origins, is_json=listed)
    if not len(found):
        raise UserError("there are no rows", where=found.origins.name, fix="check the file and the split")
    found = replace(found, columns=dict(columns or {}))
    return found if sample is None else _sampled(found, sample, seed)


def load_stream(
    name: Any,
    *,
    config: str | None = None,
    split: str = "train",
    data_files: DataFiles | None = None,
    columns: Mapping[str, str] | None = None,
    label: str = "",
) -> list[RowStream]:
    """The same rows without reading them: a stream for every file. Raises `UserError`."""
    if isinstance(name, IterableDatasetDict):
        name = name[_existing_split(split, list(name), "the IterableDatasetDict")]
    if isinstance(name, IterableDataset):
        return [RowStream(name, label or "the stream", dict(columns or {}))]
    place, sample = _sample_of(os.fspath(name))
    if sample is not None:
        raise UserError(
            f"#{sample} draws from all rows, and a stream does not know them",
            where=place,
            fix="leave out the sample, or dataset_streaming",
        )
    place, data_files = in_config(place, config, data_files)
    files = _files(place, split, data_files)
    if files:
        kind = BUILDERS.get(place) or one_format(files)
        return [RowStream(_FileRows(file, kind), str(file), dict(columns or {})) for file in files]
    if Path(place).expanduser().is_dir():
        found: Any = _from_object(load_from_disk(place), split)
    else:
        splits = from_hub(place, config, data_files, streaming=True)
        found = splits[_existing_split(split, list(splits), place)]
    return [RowStream(found, place, dict(columns or {}))]


# Samples: path#500


def _sample_of(name: str) -> tuple[str, int | None]:
    """The name without its `#500`, and the number. A file that is called so is no sample."""
    place, _, count = name.rpartition("#")
    if not place or not count.isdigit() or Path(name).expanduser().exists():
        return name, None
    if int(count) < 1:
        raise UserError("a sample has at least one row", where=name, fix=f"write {place}#500")
    return place, int(count)


def _sampled(source: Source, count: int, seed: int) -> Source:
    rows = len(source)
    if count >= rows:
        note = f"a sample of {count:,} was asked for, and there are {rows:,} rows: all of them are used"
        return replace(source, notes=(*source.notes, note) if count > rows else source.notes)
    note = f"a sample of {count:,} of {rows:,} rows, drawn by seed {seed}"
    return replace(source.sample(count, seed), notes=(*source.notes, note))


# Objects


def _from_object(rows: Any, split: str) -> Dataset:
    if isinstance(rows, Dataset):
        return rows
    if isinstance(rows, DatasetDict):
        return rows[_existing_split(split, list(rows), "the DatasetDict")]
    if isinstance(rows, IterableDataset | IterableDatasetDict):
        raise UserError(
            "these rows are a stream, and here all of them are needed at once",
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

Reader = Callable[[Sequence[Path], str | None], tuple[Dataset, list[int]]]
"""Files, and a folder for the cache, to their rows and how many each file has."""


def _by_builder(builder: str) -> Reader:
    def read(paths: Sequence[Path], cache_dir: str | None) -> tuple[Dataset, list[int]]:
        parts = [_built(builder, path, cache_dir) for path in paths]
        try:
            return concatenate_datasets(parts), [len(part) for part in parts]
        except ValueError as error:
            raise UserError(
                f"files with columns of different types: {error}",
                where=", ".join(map(str, paths)),
                fix="give them the same columns, or name them apart: --dataset_name a.parquet b.parquet",
            ) from error

    return read


def _built(builder: str, path: Path, cache_dir: str | None, streaming: bool = False) -> Any:
    try:
        return load_dataset(
            builder, data_files=[str(path)], split="train", cache_dir=cache_dir, streaming=streaming
        )
    except Exception as error:  # the cause is a parser's, wrapped twice
        cause = error.__cause__ or error
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise UserError(
            f"cannot be read as {builder}: {reason}",
            where=str(path),
            fix="the file was not written or copied to its end, or is of another format; make it anew",
        ) from error


READERS: dict[str, Reader] = {
    ".jsonl": jsonl.read_json,
    ".ndjson": jsonl.read_json,
    ".json": jsonl.read_json,
    ".csv": delimited.read_delimited,
    ".tsv": delimited.read_delimited,
    ".parquet": _by_builder("parquet"),
    ".arrow": _by_builder("arrow"),
}
"""Readers of file formats, by suffix."""
assert READERS.keys() == set(SUFFIXES)

ROWS: dict[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), jsonl.rows_of),
    **dict.fromkeys((".csv", ".tsv"), delimited.rows_of),
}
"""Those of the formats that are read row by row."""

BUILDERS = {"json": ".jsonl", "csv": ".csv", "parquet": ".parquet", "arrow": ".arrow"}
"""Names that `datasets.load_dataset` gives to formats; they come with `data_files`."""


def _read(files: list[Path], place: str, cache_dir: str | None) -> Source:
    kind = BUILDERS.get(place) or one_format(files)
    dataset, counts = READERS[kind](files, cache_dir)
    if len(files) == 1:
        return Source(dataset, Origins(str(files[0])), is_json=kind in ROWS)
    firsts = [sum(counts[:index]) for index in range(len(files))]
    names = [str(file) for file in files]
    files_of = tuple(zip(names, firsts, strict=True))
    return Source(dataset, Origins(place, files=files_of), is_json=kind in ROWS)


class _FileRows:
    """The rows of one file, read anew every time they are asked for."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        if self.kind in ROWS:
            return ROWS[self.kind](self.path)
        return iter(_built(self.kind.removeprefix("."), self.path, None, streaming=True))


def _files(source: str, split: str, data_files: DataFiles | None) -> list[Path]:
    """The files that a name means; none, where it is of the hub or was saved by `save_to_disk`."""
    if source in BUILDERS:
        if not data_files:
            raise UserError(
                f"'{source}' names a format, not a file", fix="add data_files=, or give the file itself"
            )
        return _chosen_files(Path(), data_files, split)
    path = Path(source).expanduser()
    if path.is_dir():
        return _files_of_folder(path, split, data_files)
    if path.is_file() or is_pattern(source):
        found = [path] if path.is_file() else matching(path)
        check_split(source, found, split)
        return found
    if _looks_local(source):
        raise missing(path)
    return []


def _chosen_files(folder: Path, data_files: DataFiles, split: str) -> list[Path]:
    """The paths and patterns of `data_files`, inside `folder`."""
    if isinstance(data_files, Mapping):
        data_files = data_files[_existing_split(split, list(data_files), "data_files")]
    else:
        check_split("data_files", [], split)
    patterns = [data_files] if isinstance(data_files, str) else list(data_files)
    paths = []
    for pattern in patterns:
        path = folder / Path(pattern).expanduser()
        if not path.is_file() and not is_pattern(pattern):
            raise missing(path)
        paths += [path] if path.is_file() else matching(path)
    return paths


def _looks_local(source: str) -> bool:
    """Whether a name that does not exist was meant as a path: it is no hub id, or ends like a file."""
    return (
        not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source)
        or suffix_of(Path(source)) in SUFFIXES
        or source[0] == "."
    )


# Folders and the hub


def _whole(
    place: str, config: str | None, split: str, data_files: DataFiles | None, cache_dir: str | None
) -> Source:
    """What is no file: a folder that `save_to_disk` wrote, or a dataset of the hub."""
    path = Path(place).expanduser()
    if path.is_dir():
        return Source(_from_object(load_from_disk(str(path)), split), Origins(place))
    splits = from_hub(place, config, data_files, cache_dir)
    return Source(splits[_existing_split(split, list(splits), place)], Origins(place))


def _files_of_folder(folder: Path, split: str, data_files: DataFiles | None) -> list[Path]:
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return []
    if data_files:
        return _chosen_files(folder, data_files, split)
    files = [path for path in sorted(folder.rglob("*")) if is_data_file(path)]
    if not files:
        raise UserError(
            "the folder has no data files", where=str(folder), fix=f"add {' or '.join(SUFFIXES)} files"
        )
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(split_of(path.relative_to(folder)), []).append(path)
    return splits[_existing_split(split, list(splits), str(folder))]
