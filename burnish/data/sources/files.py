"""Data files on disk: which ones a name means, their format, and their bytes.

data/rows.jsonl, data/rows.jsonl.gz   a file; gzip is read as it is
data/part-*.jsonl, data/**/*.csv      a pattern: all files that match, in the order of their names
"""

from __future__ import annotations

import difflib
import glob
import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from burnish.errors import UserError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
"""File formats; the first five may be compressed with gzip, `rows.jsonl.gz`."""

TEXT_SUFFIXES = SUFFIXES[:5]


def suffix_of(path: Path) -> str:
    """The format of a file, by its name: `.jsonl` for `rows.jsonl` and `rows.jsonl.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == ".gz" and inner in TEXT_SUFFIXES else suffix


def is_data_file(path: Path) -> bool:
    return path.is_file() and suffix_of(path) in SUFFIXES


def is_pattern(name: str) -> bool:
    return glob.has_magic(name)


def matching(pattern: Path) -> list[Path]:
    """The data files that a pattern names, sorted. Raises `UserError` if there is none."""
    found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
    files = [path for path in found if path.is_file()]
    if not files:
        raise UserError(
            f"no file matches this pattern{_nearby(pattern)}",
            where=str(pattern),
            fix="check the pattern (and the working directory); quote it in a shell",
        )
    return files


def missing(path: Path) -> UserError:
    """The error for a path that is not there, with what is near it."""
    return UserError(
        f"no such file or folder{_nearby(path)}",
        where=str(path),
        fix="check the path (and the working directory)",
    )


def _nearby(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    wanted = path.relative_to(parent).parts[0]
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    near = close or [name for name in names if suffix_of(Path(name)) in SUFFIXES][:5]
    return f"; {parent} has {', '.join(near)}" if near else f"; {parent} has no data files"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file for reading bytes, unpacked where it is compressed. Raises `UserError` if that fails."""
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    try:
        with gzip.open(path, "rb") as file:
            yield cast(BinaryIO, file)
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise UserError(
            f"cannot be unpacked: {error}",
            where=str(path),
            fix="the file was not written or copied to its end, or is not gzip; make it anew",
        ) from error


def version(path: Path) -> tuple[str, int, int]:
    """What changes when a file does: its place, size and time."""
    return str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns


def one_format(paths: Iterable[Path]) -> str:
    """The suffix that all the files have. Raises `UserError` if they differ, or it is unknown."""
    paths = list(paths)
    suffixes = sorted({suffix_of(path) for path in paths})
    if len(suffixes) > 1:
        raise UserError(f"files of several formats: {', '.join(map(str, paths))}", fix="give one of them")
    if suffixes[0] not in SUFFIXES:
        raise UserError(
            f"unknown file format {suffixes[0]!r}",
            where=str(paths[0]),
            fix=f"use one of {', '.join(SUFFIXES)}",
        )
    return suffixes[0]
