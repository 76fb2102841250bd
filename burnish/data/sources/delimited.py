"""Reading CSV and TSV files. Every cell is text, exactly as it is written.

Such a file does not say what is a number: `007` and `NA` are words to a person. The readers of columns that
hold numbers (`label`, `margin`) take their text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Dataset, Features, Value

from burnish.data.sources.files import opened, suffix_of, version
from burnish.data.sources.kinds import check_text
from burnish.errors import UserError, shorten

LONGEST_CELL = 2**31 - 1
"""Characters; the csv module's own limit is 131,072."""


def read_delimited(paths: Sequence[Path], cache_dir: str | None = None) -> tuple[Dataset, list[int]]:
    """Rows of files, and how many each has. A column that a file has not is empty (None) in its rows."""
    names: dict[str, None] = {}
    counts = []
    for path in paths:
        counts.append(0)
        for row in rows_of(path):
            names |= dict.fromkeys(row)
            counts[-1] += 1
    if not names:
        raise UserError("the file has no rows", where=str(paths[0]), fix="write a header and one row a line")
    dataset = Dataset.from_generator(
        _stream,
        features=Features({name: Value("string") for name in names}),
        gen_kwargs={"names": tuple(names), "versions": [version(path) for path in paths]},
        cache_dir=cache_dir,
    )
    return dataset, counts


def _stream(names: tuple[str, ...], versions: list[tuple[str, int, int]]) -> Iterator[dict[str, str | None]]:
    """`versions` hold size and time beside the path: they are what the cache goes by."""
    for path, _, _ in versions:
        for row in rows_of(Path(path)):
            yield {name: row.get(name) for name in names}


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of one file, by its header. Raises `UserError` naming the line."""
    csv.field_size_limit(LONGEST_CELL)
    separator = "\t" if suffix_of(path) == ".tsv" else ","
    with opened(path) as binary:
        check_text(binary, path)
    with opened(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
        lines = csv.reader(text, delimiter=separator, strict=True)
        try:
            names = next(lines, [])
            _check_header(path, names)
            for cells in lines:
                if not cells:
                    continue
                if len(cells) != len(names):
                    raise UserError(
                        f"{len(cells)} cells, and the header has {len(names)} columns ({', '.join(names)})",
                        where=f"{path}, line {lines.line_num}",
                        fix=f"put cells with {separator!r} or line breaks in double quotes",
                    )
                yield dict(zip(names, cells, strict=True))
        except csv.Error as error:
            raise UserError(
                f"not CSV: {error}", where=f"{path}, line {lines.line_num}", fix="mend the quotes of that row"
            ) from None
        except UnicodeDecodeError as error:
            raise UserError(
                f"not UTF-8: byte 0x{error.object[error.start]:02x}",
                where=f"{path}, line {_first_bad_line(path)}",
                fix="convert the file to UTF-8 (iconv -f LATIN1 -t UTF-8)",
            ) from None


def _first_bad_line(path: Path) -> int:
    """The first line that is not UTF-8: text is decoded in blocks, ahead of the rows."""
    with opened(path) as binary:
        for number, line in enumerate(binary, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return number


def _check_header(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"two columns are named {shorten(twice)}", where=f"{path}, line 1", fix="name every column once"
        )
    if len(names) == 1 and names[0].count(";"):
        raise UserError(
            f"one column, named {shorten(names[0])}: its cells seem to be separated by semicolons",
            where=f"{path}, line 1",
            fix="separate cells by commas (or by tabs, in a .tsv file)",
        )
