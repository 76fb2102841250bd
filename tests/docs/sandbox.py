"""The folder in which the commands of a document are run: the files that documents speak of, small ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from burnish.demo.task import make_rows
from burnish.demo.tiny import tiny_model

ROOT = Path(__file__).parents[2]


def furnish(folder: Path) -> None:
    """Write chats, pairs and held-out rows of the demo's task, and a tiny model named MODEL."""
    rows = make_rows(0, lessons=48, preferences=40, held_out=16)
    tiny_model(folder / "MODEL", rows, seed=0)
    chats = [{"messages": [*row["prompt"], *row["completion"]]} for row in rows.lessons]
    files = {
        "chats.jsonl": chats,
        "pairs.jsonl": rows.preferences,
        "held_out.jsonl": rows.held_out,
        "held_out_pairs.jsonl": rows.held_out_preferences,
    }
    for name, content in files.items():
        text = "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "examples", folder / "examples")
