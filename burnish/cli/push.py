"""`burnish card` and `burnish push`."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.export.card import front_matter, write_card
from burnish.export.facts import facts_of
from burnish.export.push import Upload, plan_upload, push
from burnish.terminal import open_console


def run_card(folder: str, as_json: bool) -> int:
    path = write_card(folder)
    if as_json:
        print(json.dumps({"card": str(path), **front_matter(facts_of(folder))}, ensure_ascii=False))
    else:
        print(f"wrote {path}")
    return 0


def run_push(folder: str, repository: str, public: bool, dry_run: bool, as_json: bool) -> int:
    upload = plan_upload(folder, repository, private=not public)
    if not as_json:
        show(upload, open_console())
    for warning in upload.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    address = None if dry_run else push(upload)
    if as_json:
        print(json.dumps({**upload.to_dict(), "address": address}, ensure_ascii=False))
    elif address is None:
        print("Nothing was uploaded: this was --dry-run.")
    else:
        print(f"uploaded: {address}")
    return 0


def show(upload: Upload, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for name, size in upload.files.items():
        table.add_row(units.size(size), Text(name, overflow="fold"))
    console.print(table)
    who = "only you and those you let see it" if upload.private else "everyone"
    console.print(
        Text(f"{len(upload.files)} files, {units.size(upload.bytes)}, to {upload.repository}, for {who}")
    )
