"""What a run or a pipeline left in its folder, read for the report.

    runs/chat/               pipeline.json, comparison.json
    runs/chat/sft/           run.json, metrics.jsonl, samples.jsonl, notices.jsonl, preparation.json

Every file may be missing, and a run that was killed may have left half a line: what cannot be read is
counted and told, and the rest of the report stands. A folder that holds neither is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import UserError
from burnish.pipeline.folders import was_killed

RUN_FILES = ("run.json", "metrics.jsonl", "preparation.json")
PIPELINE_FILE = "pipeline.json"


@dataclass(frozen=True)
class Lines:
    """The objects of a `.jsonl` file, one a line, and how many lines are not one."""

    rows: Sequence[Mapping[str, Any]] = ()
    broken: int = 0


@dataclass(frozen=True)
class RunFolder:
    """One stage. `status` and `why` are the pipeline's word on it, or else the run's own.

    A run that was killed could not say so: it is "stopped" where its lock lies there and nobody holds it.
    """

    path: Path
    name: str
    method: str
    status: str
    action: str = ""  # what the pipeline did with it: run, skip, resume
    why: str = ""
    follows: str = ""  # the stage whose model it starts from
    record: Mapping[str, Any] = field(default_factory=dict)  # run.json
    metrics: Lines = Lines()
    samples: Lines = Lines()
    notices: Lines = Lines()
    preparation: Mapping[str, Any] = field(default_factory=dict)
    reward: Mapping[str, Any] = field(default_factory=dict)  # evaluation.json, of a reward model
    faults: Sequence[str] = ()  # files that could not be read


@dataclass(frozen=True)
class ReportFolder:
    """What a report is made of: one run, or the stages of a pipeline in their order."""

    path: Path
    stages: Sequence[RunFolder]
    is_pipeline: bool
    record: Mapping[str, Any] = field(default_factory=dict)  # pipeline.json
    comparison: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.path.resolve().name


def read_folder(path: str | Path) -> ReportFolder:
    """Raises `UserError` where there is no run."""
    path = Path(path)
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise UserError(f"the folder {found}", where=str(path), fix="give the output_dir of a run")
    faults: list[str] = []
    comparison = read_object(path / "comparison.json", faults)
    if (path / PIPELINE_FILE).is_file():
        record = read_object(path / PIPELINE_FILE, faults)
        entries = [each for each in listed(record.get("stages")) if isinstance(each, Mapping)]
        stages = [read_stage(path, entry) for entry in entries] or runs_in(path)
        return ReportFolder(path, stages, True, record, comparison, faults)
    if any((path / name).is_file() for name in RUN_FILES):
        return ReportFolder(path, [read_run(path)], False, {}, comparison, faults)
    stages = runs_in(path)
    if not stages:
        raise UserError(
            f"there is no run here: neither {PIPELINE_FILE} nor {', '.join(RUN_FILES)}",
            where=str(path),
            fix="give the output_dir of a run, or of a pipeline",
        )
    return ReportFolder(path, stages, True, {}, comparison, faults)


def runs_in(path: Path) -> list[RunFolder]:
    """The runs in the folders of a folder, as they began."""
    folders = [each for each in path.iterdir() if each.is_dir()]
    runs = [read_run(each) for each in sorted(folders) if any((each / name).is_file() for name in RUN_FILES)]
    return sorted(runs, key=lambda run: str(run.record.get("started", "")))


def read_stage(path: Path, entry: Mapping[str, Any]) -> RunFolder:
    """A stage as the pipeline lists it. Its folder may be gone, moved with the pipeline, or not yet there."""
    name = word(entry.get("name")) or "stage"
    given = Path(word(entry.get("folder")) or name)
    places = [path / given.name, path / given, given, path / name]
    folder = next((each for each in places if each.is_dir()), path / given.name)
    return read_run(folder, entry)


def read_run(path: Path, entry: Mapping[str, Any] | None = None) -> RunFolder:
    entry = entry or {}
    faults: list[str] = []
    record = read_object(path / "run.json", faults)
    model = mapping(mapping(record.get("inputs")).get("model"))
    follows = word(entry.get("follows")) or word(model.get("stage"))
    status = word(entry.get("status")) or word(record.get("status"))
    return RunFolder(
        path=path,
        name=word(entry.get("name")) or word(record.get("name")) or path.resolve().name,
        method=word(record.get("method")) or word(entry.get("method")),
        status="stopped" if status == "running" and was_killed(path) else status,
        action=word(entry.get("action")),
        why=word(entry.get("why")),
        follows=follows,
        record=record,
        metrics=read_lines(path / "metrics.jsonl", faults),
        samples=read_lines(path / "samples.jsonl", faults),
        notices=read_lines(path / "notices.jsonl", faults),
        preparation=read_object(path / "preparation.json", faults),
        reward=read_object(path / "evaluation.json", faults),
        faults=faults,
    )


def read_object(path: Path, faults: list[str]) -> Mapping[str, Any]:
    """A JSON object; empty where there is none, and a fault where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        faults.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(found, dict):
        faults.append(f"{path.name} holds no object")
        return {}
    return found


def read_lines(path: Path, faults: list[str]) -> Lines:
    """The objects of a `.jsonl` file. A line that is not one is counted."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Lines()
    except OSError as error:
        faults.append(f"{path.name} cannot be read: {error}")
        return Lines()
    rows, broken = [], 0
    for line in filter(str.strip, text.split("\n")):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            rows.append(found)
        else:
            broken += 1
    if broken:
        faults.append(f"{path.name} has {broken} broken {'line' if broken == 1 else 'lines'}, left out here")
    return Lines(rows, broken)


# Values of files that others wrote: of another type, they are not there


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def figure(value: Any) -> float | None:
    """A number that is one: neither a truth value, nor infinite."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None
