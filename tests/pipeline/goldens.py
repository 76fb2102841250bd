"""Tables of inputs with what is said of them, in YAML; BURNISH_UPDATE_GOLDENS=1 writes anew what is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent


def cases(name: str) -> dict[str, dict]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def check(name: str, case: str, key: str, said: str) -> None:
    """What is said must be what the table has; a run that updates writes it there."""
    known = cases(name)
    if "BURNISH_UPDATE_GOLDENS" in os.environ and known[case].get(key) != said:
        known[case][key] = said
        header = "".join(
            line + "\n" for line in (FOLDER / name).read_text().splitlines() if line.startswith("#")
        )
        (FOLDER / name).write_text(header + "\n" + as_yaml(known), encoding="utf-8")
    assert said == known[case][key]


def as_yaml(tables: dict[str, dict]) -> str:
    return "\n".join(
        f"{json.dumps(name)}:\n" + "".join(map(entry, table.items())) for name, table in tables.items()
    )


def entry(pair: tuple[str, object]) -> str:
    """Text as a block, anything else on its line."""
    key, value = pair
    if not isinstance(value, str):
        return f"  {key}: {json.dumps(value, ensure_ascii=False)}\n"
    if value.replace("_", "").isalnum():
        return f"  {key}: {value}\n"
    lines = "".join(f"    {line}\n" if line else "\n" for line in value.rstrip("\n").splitlines())
    return f"  {key}: |-\n{lines}"
