"""What a file is by its first bytes: a text file that is something else is refused with its name."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from burnish.errors import UserError

MAGIC = {
    b"\x1f\x8b": ("compressed with gzip", ".gz"),
    b"PK\x03\x04": ("a ZIP archive (as Excel's files are)", ""),
    b"PAR1": ("Parquet", ".parquet"),
}
"""What it is, and the suffix under which such a file can be read."""

WIDE = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def check_text(file: BinaryIO, path: Path) -> bytes:
    """The first bytes of a text file, without its byte order mark; `file` is at its start again.

    Raises `UserError` if the file is something else, or text in another encoding than UTF-8.
    """
    start = file.read(64)
    file.seek(0)
    for magic, (name, suffix) in MAGIC.items():
        if start.startswith(magic):
            rename = f"name it {path.name}{suffix}, or " if suffix else ""
            raise UserError(
                f"the file is no text, but {name}",
                where=str(path),
                fix=f"{rename}unpack or export it as {path.suffix}",
            )
    wide = next((name for mark, name in WIDE.items() if start.startswith(mark)), "")
    if not wide and start[1:2] == b"\0" and start[:1] != b"\0":
        wide = "UTF-16LE"
    if wide:
        raise UserError(
            f"the file is {wide}, not UTF-8",
            where=str(path),
            fix=f"convert it: iconv -f {wide} -t UTF-8 {path.name} > utf8-{path.name}",
        )
    return start.removeprefix(codecs.BOM_UTF8)
