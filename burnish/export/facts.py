"""What is known of a model from the files that its run left: the facts of its card.

Read are `run.json`, `preparation.json`, `comparison.json`, `verify.json`, and the same of the runs that it
stands on. Whatever is not there is not said.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from burnish.errors import UserError
from burnish.models.adapter_chain import ADAPTER
from burnish.pipeline.methods import METHODS

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
DATA_ENDINGS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".txt")
DEEPEST = 20
"""Runs in a chain; more is a circle."""


@dataclass(frozen=True)
class Facts:
    """`runs` are the `run.json` of this model and of those it was made from, the newest first.

    `base` is what the first of them started from; `base_is_public` whether that is a name on the hub.
    """

    folder: Path
    runs: list[dict[str, Any]]
    preparation: dict[str, list[dict[str, Any]]]
    comparison: dict[str, Any] | None
    verification: dict[str, Any] | None
    base: str | None
    license: str | None
    adapter: dict[str, Any] | None
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> dict[str, Any]:
        return self.runs[0] if self.runs else {}

    @property
    def base_is_public(self) -> bool:
        return self.base is not None and is_hub_name(self.base)

    @property
    def pipeline_tag(self) -> str:
        names = " ".join(self.config.get("architectures") or [])
        kind = (self.adapter or {}).get("task_type")
        if kind == "SEQ_CLS" or "ForSequenceClassification" in names:
            return "text-classification"
        if kind == "TOKEN_CLS" or "ForTokenClassification" in names:
            return "token-classification"
        return "text-generation"

    @property
    def datasets(self) -> list[str]:
        """Names on the hub among the data of all runs."""
        named = [entry["name"].split("#")[0] for run in self.runs for entry in data_of(run)]
        return list(dict.fromkeys(filter(is_hub_name, named)))


def facts_of(folder: str | Path) -> Facts:
    """Read all that is known. Raises `UserError` where the folder has no model."""
    place = Path(folder).expanduser()
    adapter, config = read_json(place / ADAPTER), read_json(place / "config.json") or {}
    verification = read_json(place / "verify.json")
    if adapter is None and not config and verification is None:
        raise UserError(
            "no model is in this folder",
            where=str(folder),
            fix="give what training or `burnish export` wrote",
        )
    origin = place
    if not (place / "run.json").is_file() and verification:  # an artefact: what it was made of knows more
        origin = Path(verification["trained"])
        adapter = None
    runs, base = chain(origin)
    preparation = read_json(origin / "preparation.json") or {}
    comparison = read_json(origin / "comparison.json") or read_json(origin.parent / "comparison.json")
    base = base or (adapter or {}).get("base_model_name_or_path")
    return Facts(place, runs, preparation, comparison, verification, base, license_of(base), adapter, config)


def chain(folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The runs that a model comes from, the newest first, and what the first of them started from."""
    runs: list[dict[str, Any]] = []
    base: str | None = None
    while (run := read_json(folder / "run.json")) and len(runs) < DEEPEST:
        runs.append(run)
        base = ((run.get("inputs") or {}).get("model") or {}).get("name")
        if base is None:
            break
        folder = Path(base)
    return runs, base


def data_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    data = (run.get("inputs") or {}).get("data") or {}
    return [{**entry, "split": split} for split, entries in data.items() for entry in entries]


def is_hub_name(name: str) -> bool:
    """`owner/name`, not a file or folder that is here, nor one that looks like it."""
    return bool(HUB_NAME.fullmatch(name)) and not name.endswith(DATA_ENDINGS) and not Path(name).exists()


def license_of(base: str | None) -> str | None:
    """What the card beside the base's weights says, where they are here."""
    card = Path(base or "") / "README.md"
    if not base or not card.is_file():
        return None
    found = re.match(r"---\n(.*?)\n---\n", card.read_text(encoding="utf-8"), re.DOTALL)
    try:
        header = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None
    return header.get("license") if isinstance(header, dict) else None


def method_words(name: str) -> tuple[str, list[str]]:
    """The method's full name, and the papers that its documentation names: `arXiv:2305.18290`."""
    source = find_spec(METHODS[name].module)  # read, not imported: that takes torch along
    assert source is not None and source.origin is not None
    said = ast.get_docstring(ast.parse(Path(source.origin).read_text(encoding="utf-8"))) or ""
    title = re.split(r"[:(;,]", said, maxsplit=1)[0].strip()
    return title, list(dict.fromkeys(re.findall(r"arXiv:(\d{4}\.\d{5})", said.split("\n\n")[0])))


def loss_papers(method: str, config: dict[str, Any]) -> dict[str, list[str]]:
    """The papers of the losses that a run chose, by their names."""
    from burnish.pipeline.catalog import TABLES, Said

    found: dict[str, list[str]] = {}
    for table in TABLES.get(method, ()):
        chosen = config.get(table.option)
        for name in chosen if isinstance(chosen, list) else [chosen]:
            if isinstance(name, str) and name in table.functions:
                source = Said.of(table.functions[name]).source
                found[name] = re.findall(r"arXiv:(\d{4}\.\d{5})", source)
    return found


def read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"this is not JSON ({error})", where=str(path), fix="remove the file, or write it again"
        ) from error
