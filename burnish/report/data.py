"""What a stage was trained on: what became of its rows, and how long they are.

Counts are those of `preparation.json`. Lengths and findings are of an inspection of a sample, made now, where
the file is still there and was not changed since the run began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from burnish.data.inspection.inspection import Inspection
from burnish.data.inspection.page import GROUPS, LengthChart, in_words, length_chart, title_of
from burnish.errors import UserError
from burnish.pages.charts import Part, divided
from burnish.report.folder import RunFolder, figure, listed, mapping, word

SAMPLE = 500  # rows that are inspected
SPLITS = {"train": "trained on", "eval": "evaluated on"}


@dataclass(frozen=True)
class Reason:
    """Why rows were left out, or what looks wrong with rows that were kept."""

    text: str
    count: int
    rows: str
    kind: str  # left out, cannot be read, warning


@dataclass(frozen=True)
class PreparedRows:
    """One source of a split."""

    name: str
    use: str
    format: str
    read: int
    kept: int
    figures: list[tuple[str, str]]
    reasons: list[Reason]
    notes: list[str]
    parts: list[Part]
    bar: Markup


@dataclass(frozen=True)
class Inspected:
    """An inspection as the page shows it; `why_not` where there is none."""

    lead: str = ""
    lengths: list[LengthChart] = field(default_factory=list)
    findings: list[tuple[str, str, int, str]] = field(default_factory=list)  # severity, check, rows, meaning
    why_not: str = ""


def prepared_rows(preparation: Mapping[str, Any]) -> list[PreparedRows]:
    return [
        source_rows(use, mapping(each))
        for split, use in SPLITS.items()
        for each in listed(preparation.get(split))
    ]


def evaluated_rows(rows: Iterable[PreparedRows]) -> int:
    return sum(each.kept for each in rows if each.use != "trained on")


def source_rows(use: str, report: Mapping[str, Any]) -> PreparedRows:
    read, kept = count(report, "read"), count(report, "kept")
    name = PurePath(word(report.get("name")) or "rows").name
    faults = mapping(report.get("faults"))
    unreadable = sum(count(mapping(tally), "count") for tally in faults.values())
    parts = [
        Part("kept", kept, "kept"),
        Part("left out", max(read - kept - unreadable, 0), "cut"),
        Part("cannot be read", unreadable, "lost"),
    ]
    tokens, trained = count(report, "tokens"), count(report, "trained_tokens")
    figures = [
        ("Rows kept", f"{kept:,} of {read:,}"),
        ("Tokens", f"{tokens:,}" if tokens else ""),
        ("Trained tokens", f"{trained:,}" if trained else ""),
        ("Longest", f"{count(report, 'longest'):,} tokens" if report.get("longest") else ""),
        ("Cut to length", f"{count(report, 'truncated'):,} rows" if report.get("truncated") else ""),
    ]
    return PreparedRows(
        name=name,
        use=use,
        format=word(report.get("format")),
        read=read,
        kept=kept,
        figures=[each for each in figures if each[1]],
        reasons=list(reasons(report)),
        notes=[each for each in listed(report.get("notes")) if isinstance(each, str)],
        parts=[part for part in parts if part.value],
        bar=divided(parts, in_words(f"Rows of {name}", parts)) if read else Markup(""),
    )


def reasons(report: Mapping[str, Any]) -> Iterator[Reason]:
    faults = mapping(report.get("faults"))
    for key, kind in (("dropped", "left out"), ("warnings", "warning")):
        for text, tally in mapping(report.get(key)).items():
            found = mapping(tally)
            rows = [f"{row}" for row in listed(found.get("rows"))]
            more = (
                [f"{count(found, 'count') - len(rows):,} more"] if count(found, "count") > len(rows) else []
            )
            known = "cannot be read" if text in faults else kind
            yield Reason(text, count(found, "count"), ", ".join([*rows, *more]), known)


def count(report: Mapping[str, Any], key: str) -> int:
    return int(figure(report.get(key)) or 0)


# Inspection


def inspected(run: RunFolder) -> Inspected | None:
    """None where the run does not say what it was trained on."""
    config = mapping(run.record.get("config"))
    name = first_source(config)
    if not name:
        return None
    place = PurePath(name).name
    path = Path(name.split("#")[0]).expanduser()
    if not path.exists():
        return Inspected(why_not=f"{place} is not here any more, so its rows were not inspected.")
    if changed_since(path, word(run.record.get("started"))):
        return Inspected(why_not=f"{place} was changed after the run, so its rows were not inspected.")
    try:
        return shown(inspection_of(run, name, config))
    except (UserError, OSError, ValueError, KeyError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return Inspected(why_not=f"{place} could not be inspected: {first}")


def first_source(config: Mapping[str, Any]) -> str:
    """The first of the sources that a stage was trained on, as it names it."""
    given = config.get("dataset_name") or config.get("datasets")
    first = given[0] if isinstance(given, list) and given else given
    return word(mapping(first).get("path")) or word(first)


def changed_since(path: Path, started: str) -> bool:
    """Whether a file was written after a moment; a folder, whether any in it was."""
    try:
        moment = datetime.fromisoformat(started).timestamp()
    except ValueError:
        return False
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return any(each.stat().st_mtime > moment for each in files)


def inspection_of(run: RunFolder, name: str, config: Mapping[str, Any]) -> Inspection:
    """Of a sample of the rows, with the tokenizer that the run saved."""
    import datasets

    from burnish.data.inspection.inspect import inspect
    from burnish.data.preparation.options import PreparationOptions
    from burnish.data.sources.source import load_rows

    datasets.disable_progress_bars()
    source = load_rows(name, split=word(config.get("dataset_train_split")) or "train")
    if len(source) > SAMPLE and "#" not in name:
        source = load_rows(f"{name}#{SAMPLE}", split=word(config.get("dataset_train_split")) or "train")
    names = PreparationOptions.__dataclass_fields__
    options = PreparationOptions(
        **{
            key: value
            for key, value in config.items()
            if key in names and key not in ("num_proc", "batch_size") and (key, value) != ("columns", None)
        }
    )
    return inspect(source, options, tokenizer=tokenizer_of(run.path))


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer beside the model; None where there is none."""
    if not (folder / "tokenizer_config.json").is_file():
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def shown(found: Inspection) -> Inspected:
    sample = "; ".join(found.notes)
    lead = f"Found in {found.read:,} rows of {PurePath(found.source).name} when this page was written"
    order = list(GROUPS)
    findings = sorted(found.findings, key=lambda each: (order.index(each.severity), -each.count))
    return Inspected(
        lead=f"{lead} ({sample})." if sample else f"{lead}.",
        lengths=[length_chart(title_of(name), each, found) for name, each in found.lengths.items()],
        findings=[(GROUPS[each.severity][0], each.check, each.count, each.meaning) for each in findings],
    )
