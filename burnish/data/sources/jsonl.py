"""Reading JSON and JSON-lines files, with errors that point at the place.

The file is walked twice. The first walk checks every line and learns the type of every column, so that no
later line can contradict an earlier guess; the second streams the rows into a memory-mapped Arrow file,
cached under the file's path, size and time, as is what the first walk found. Values come back as they were
written: strings that look like dates stay strings, and nested objects whose keys or types differ between rows
are stored as JSON (Arrow alone would refuse them, or fill every object with every key).

Left out: parallel parsing (one gigabyte takes about half a minute, once), and reading a file that is one list
piece by piece: it is in memory as a whole while it is read. Lines are read one by one.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Json, List, Value

from burnish.data.sources.files import opened, version
from burnish.data.sources.kinds import check_text
from burnish.errors import UserError, shorten
from burnish.paths import cache_folder


def read_json(paths: Sequence[Path], cache_dir: str | None = None) -> tuple[Dataset, list[int]]:
    """Rows of JSON-lines files, or of JSON files that hold one list of objects; how many each file has."""
    versions = [version(path) for path in paths]
    schema, counts = _remembered(versions, lambda: _survey(paths))
    dataset = Dataset.from_generator(
        _stream,
        features=Features(_feature(schema)),
        gen_kwargs={"versions": versions},
        cache_dir=cache_dir,
    )
    return dataset, counts


Survey = tuple[Any, list[int]]
"""The types of the columns, and how many rows each file has."""


def _survey(paths: Sequence[Path]) -> Survey:
    """The first walk."""
    schema: Any = None
    counts = []
    for path in paths:
        counts.append(0)
        for row in rows_of(path):
            schema = _merge(schema, _schema(row), nested=False)
            counts[-1] += 1
    if schema is None:
        raise UserError("the file has no rows", where=str(paths[0]), fix="write one JSON object a line")
    return schema, counts


def _remembered(versions: list[tuple[str, int, int]], survey: Callable[[], Survey]) -> Survey:
    """What the first walk found when the files were these, and were walked by this code."""
    code = Path(__file__).read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps([versions, code]).encode()).hexdigest()[:16]
    file = cache_folder("surveys") / f"{key}.json"
    if file.is_file():
        schema, counts = json.loads(file.read_text(encoding="utf-8"))
        return schema, counts
    found = survey()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as out:
        json.dump(found, out)
    Path(out.name).replace(file)  # complete or not at all
    return found


def _stream(versions: list[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """`versions` hold size and time beside the path: they are what the cache goes by."""
    for path, _, _ in versions:
        yield from rows_of(Path(path))


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of one file; empty lines are skipped. Raises `UserError` naming the line, or the byte."""
    with opened(path) as file:
        start = check_text(file, path).lstrip()
        yield from _list_rows(path, file.read()) if start.startswith(b"[") else _line_rows(path, file)


def _line_rows(path: Path, lines: Any) -> Iterator[dict[str, Any]]:
    offset = 0
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        text = _decode(line, where, offset, first=number == 1)
        offset += len(line)
        if not text.strip():
            continue
        try:
            row = _parsed(text)
        except (ValueError, RecursionError) as error:
            raise _not_json(error, text, where, whole_line=line.endswith(b"\n")) from None
        if not isinstance(row, dict):
            raise UserError(
                f"expected a JSON object, found {shorten(row)}",
                where=where,
                fix='write one object a line, like {"text": "..."}',
            )
        yield row


class _Fault(ValueError):
    """JSON by the letter, but not what anybody means. The second argument says how to mend it."""


def _parsed(text: str) -> Any:
    """The JSON value of a text. Raises `ValueError`, or `RecursionError` for what is nested very deeply."""
    value = DECODER.decode(text)
    if "\\ud" in text or "\\uD" in text:  # half of a character, cut through by who escaped it
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            at = text.lower().find(f"\\u{ord(half):04x}")
            raise _Fault(
                f"half a character (the lone surrogate \\u{ord(half):04x}) at character {at + 1}",
                "the text was cut within an emoji or the like; remove the half, or make the row anew",
            ) from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        values = ", ".join(shorten(value, 40) for name, value in pairs if name == twice)
        raise _Fault(f"the key '{twice}' is there twice ({values})", "keep one of them")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _list_rows(path: Path, content: bytes) -> Iterator[dict[str, Any]]:
    text = _decode(content, str(path), 0, first=True)
    try:
        rows = _parsed(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        line = text.splitlines()[error.lineno - 1] if text.splitlines() else ""
        raise UserError(
            f"not JSON: {error.msg}: {shorten(line.strip())}", where=where, fix="mend the file at that place"
        ) from None
    except (ValueError, RecursionError) as error:
        raise _not_json(error, text, str(path), whole_line=True) from None
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(
                f"expected a JSON object, found {shorten(row)}",
                where=f"{path}, element {index}",
                fix='write a list of objects, like [{"text": "..."}]',
            )
    yield from rows


def _decode(line: bytes, where: str, offset: int, first: bool) -> str:
    bom = len(codecs.BOM_UTF8) if first and line.startswith(codecs.BOM_UTF8) else 0
    try:
        return line[bom:].decode("utf-8")
    except UnicodeDecodeError as error:
        at = bom + error.start
        raise UserError(
            f"not UTF-8: byte 0x{line[at]:02x} at byte {offset + at} of the file",
            where=where,
            fix="convert the file to UTF-8 (iconv -f LATIN1 -t UTF-8)",
        ) from None


def _not_json(error: Exception, text: str, where: str, whole_line: bool) -> UserError:
    if isinstance(error, _Fault):
        what, fix = error.args
        return UserError(what, where=where, fix=fix)
    if isinstance(error, RecursionError):
        return UserError(
            "nested too deeply", where=where, fix="flatten the row, or write the value as a string"
        )
    if "\0" in text:
        return UserError(
            f"{text.count(chr(0)):,} NUL bytes in place of text",
            where=where,
            fix="a crash or a full disk leaves them; make the file anew, or delete this line",
        )
    if not isinstance(error, json.JSONDecodeError):  # of Python's integers
        return UserError(
            f"a number with too many digits: {shorten(text.strip())}", where=where, fix="write it as a string"
        )
    if not whole_line:
        return UserError(
            f"the last line is cut off ({error.msg}): … {shorten(text[-40:])}",
            where=where,
            fix="the file was not written to its end; make it anew, or delete this line",
        )
    return UserError(
        f"not JSON: {error.msg}: {shorten(text.strip())}",
        where=f"{where}, column {error.colno}",
        fix=_as_json(text.strip()),
    )


def _as_json(line: str) -> str:
    """How to write a line that is no JSON."""
    if line == "{":
        return "write one JSON object a line (jq -c . FILE does), or a list of objects"
    if line.startswith("{'"):
        return "JSON has double quotes: write json.dumps(row), not str(row)"
    if not line.startswith("{"):
        return 'write one JSON object a line, like {"text": "..."}'
    return "write one JSON object a line, without line breaks inside"


# Types of columns: a name for a scalar, {key: type}, [type], None for null, or MIXED

MIXED = "mixed"
NUMBERS = ("int64", "float64")
SCALARS = {bool: "bool", int: "int64", float: "float64", str: "string"}


def _schema(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _schema(item) for key, item in value.items()}
    if isinstance(value, list):
        merged = None
        for item in value:
            merged = _merge(merged, _schema(item))
        return [merged]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return MIXED
    return SCALARS.get(type(value))


def _merge(first: Any, second: Any, nested: bool = True) -> Any:
    if first is None or first == second:
        return second
    if second is None:
        return first
    if isinstance(first, dict) and isinstance(second, dict):
        if nested and first.keys() != second.keys():
            return MIXED
        return {key: _merge(first.get(key), second.get(key)) for key in {**first, **second}}
    if isinstance(first, list) and isinstance(second, list):
        return [_merge(first[0], second[0])]
    return "float64" if first in NUMBERS and second in NUMBERS else MIXED


def _feature(schema: Any) -> Any:
    if schema == MIXED or schema == {}:
        return Json()
    if isinstance(schema, dict):
        return {key: _feature(item) for key, item in schema.items()}
    if isinstance(schema, list):
        return List(_feature(schema[0]))
    return Value(schema or "null")
