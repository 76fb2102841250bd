"""Where a stage's result comes from: its config against the defaults, decisions, hashes, versions, cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.pages.charts import bar
from burnish.report.folder import RunFolder, figure, listed, mapping, word

HASH = 12  # characters of a hash that are shown

PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "reference": "reference",
    "base": "Python, its libraries",
}
"""Of the memory, as `burnish plan` names them."""


@dataclass(frozen=True)
class Option:
    """`default` is empty where it is not known."""

    name: str
    value: str
    default: str


@dataclass(frozen=True)
class CostRow:
    name: str
    predicted: str
    measured: str
    error: str  # of the prediction: `+4 %`


@dataclass(frozen=True)
class Bar:
    name: str
    text: str
    svg: Markup


@dataclass(frozen=True)
class Cost:
    rows: list[CostRow]
    memory: list[Bar]  # predicted parts and the measured peak, of one scale
    is_predicted: bool


def written(value: Any) -> str:
    """A value as a config file has it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def options(record: Mapping[str, Any]) -> tuple[list[Option], list[Option]]:
    """Those that were given, beside their defaults; and all others."""
    given, defaults = mapping(record.get("given")), mapping(record.get("defaults"))
    config = mapping(record.get("config"))
    own = [
        Option(name, written(config.get(name, value)), written(defaults[name]) if name in defaults else "")
        for name, value in given.items()
    ]
    return own, [Option(name, written(value), "") for name, value in config.items() if name not in given]


def decisions(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, choice, why), as the pipeline decided."""
    found = [mapping(each) for each in listed(record.get("decisions"))]
    return [tuple(word(each.get(key)) for key in ("what", "choice", "why")) for each in found]  # type: ignore[misc]


def plan(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, choice, reason), as the engine decided before step 1."""
    rows = [
        [*map(str, each), "", "", ""][:3] for each in listed(record.get("plan")) if isinstance(each, list)
    ]
    return [(name, choice, reason) for name, choice, reason in rows]


def cost(record: Mapping[str, Any]) -> Cost | None:
    """None where neither a prediction nor a measurement was written."""
    predicted, measured = mapping(record.get("predicted")), mapping(record.get("measured"))
    if not predicted and not measured:
        return None
    speed = figure(measured.get("tokens_per_second"))
    pairs = [
        ("Peak memory", predicted.get("peak_bytes"), measured.get("peak_bytes"), units.size),
        ("Time", predicted.get("seconds"), measured.get("seconds") or record.get("seconds"), units.duration),
        ("Steps", predicted.get("steps"), record.get("steps"), whole),
        ("Tokens", predicted.get("tokens"), measured.get("tokens"), whole),
        ("Time of a step, median", None, measured.get("step_seconds"), units.duration),
    ]
    rows = []
    for name, before, after, text in pairs:
        before, after = figure(before), figure(after)
        if before is not None or after is not None:
            rows.append(CostRow(name, text(before), text(after), error(before, after)))
    if speed is not None:
        rows.append(CostRow("Tokens per second", "–", units.significant(speed), ""))
    return Cost(rows, memory(predicted, measured) if predicted else [], bool(predicted))


def error(predicted: float | None, measured: float | None) -> str:
    """How far the prediction is from what was measured."""
    if not predicted or not measured:
        return ""
    off = round(100 * (predicted / measured - 1))
    return "exact" if predicted == measured else f"{off:+d} %".replace("-", "\u2212")


def memory(predicted: Mapping[str, Any], measured: Mapping[str, Any]) -> list[Bar]:
    parts = mapping(predicted.get("parts"))
    names = [*(name for name in PARTS if name in parts), *(name for name in parts if name not in PARTS)]
    found = [(PARTS.get(name, name), figure(parts[name]), "rest") for name in names]
    found += [
        ("predicted peak", figure(predicted.get("peak_bytes")), "other"),
        ("measured peak", figure(measured.get("peak_bytes")), "kept"),
    ]
    known = [(name, value, kind) for name, value, kind in found if value]
    most = max((value for _, value, _ in known), default=1.0)
    return [Bar(name, units.size(value), bar(value / most, kind)) for name, value, kind in known]


def whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


# Lineage


@dataclass(frozen=True)
class Input:
    """`hash` is shortened, `full` is all of it."""

    role: str
    name: str
    rows: str
    full: str

    @property
    def hash(self) -> str:
        return self.full[:HASH]


def inputs(run: RunFolder) -> list[Input]:
    found = mapping(run.record.get("inputs"))
    data = mapping(found.get("data"))
    rows = [
        Input(
            role,
            PurePath(word(each.get("name"))).name,
            whole(figure(each.get("rows"))),
            word(each.get("sha256")),
        )
        for key, role in (("train", "training data"), ("eval", "evaluation data"))
        for each in map(mapping, listed(data.get(key)))
    ]
    model = mapping(found.get("model"))
    if model:
        stage = word(model.get("stage"))
        name = f"what {stage} saved" if stage else word(model.get("name"))
        rows.append(Input("model", name, "", word(model.get("sha256"))))
    rows += [
        Input(key, "", "", word(found.get(key))) for key in ("template", "config") if word(found.get(key))
    ]
    key = word(run.record.get("key"))
    return [*rows, Input("all of it", "the key by which a finished run is known", "", key)] if key else rows


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """Terms with their text: when, where, with what."""
    record = run.record
    machine = mapping(record.get("machine"))
    versions = mapping(record.get("versions"))
    cores, ram = figure(machine.get("cores")), figure(machine.get("memory_bytes"))
    told = [
        word(machine.get("device")),
        word(machine.get("cpu")),
        f"{cores:.0f} cores" if cores else "",
        f"{units.size(ram)} of memory" if ram else "",
    ]
    found = [
        ("Started", units.moment(word(record.get("started")))),
        ("Finished", units.moment(word(record.get("finished")))),
        ("Machine", ", ".join(filter(None, told))),
        ("Seed", "" if record.get("seed") is None else str(record["seed"])),
        ("Burnish", word(record.get("burnish"))),
        (
            "Versions",
            ", ".join(f"{name} {version}" for name, version in versions.items() if name != "burnish"),
        ),
        ("Folder", str(run.path)),
    ]
    return [(term, text) for term, text in found if text]
