"""An inspection as one self-contained HTML page: `burnish inspect DATA --html FILE`.

Here the numbers are arranged and put into words, `page.html` says where they stand, and `burnish.pages`
brings the frame, the style and the charts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.data.inspection.inspection import Finding, Inspection, Lengths, Severity, ShownRow
from burnish.pages.charts import Part, Spread, divided, histogram
from burnish.pages.shell import render, write

TEMPLATE = Path(__file__).with_name("page.html")
LISTED_ROWS = 500  # of one finding; the page stays small whatever the dataset is

GROUPS: dict[Severity, tuple[str, str]] = {
    "fault": ("Stops a run", "These rows cannot be read."),
    "dropped": ("Left out", "These rows are counted and not trained."),
    "warning": ("Look at these", "These rows are trained as they are."),
    "note": ("Good to know", "Facts about the data."),
}
"""By severity, the gravest first: the title of a group of findings, and what they have in common."""

TITLES = {"whole": "Whole row", "prompt": "Prompt", "completion": "Completion"}
QUANTILES = {"0": "least", "0.1": "10 %", "0.5": "median", "0.9": "90 %", "0.99": "99 %", "1": "most"}

SHARES = {
    "chosen longer": "Pairs whose chosen answer is the longer one. Far from 50 %, length alone tells the "
    "answers apart, and a model learns to write long (or short).",
    "equally long": "Pairs whose answers have the same length.",
    "label true": "Rows with a good label. Where one label is rare, weigh the classes or add rows.",
    "steps right": "Steps with a good label. Where one label is rare, weigh the classes or add rows.",
}
"""What a share means for training; a share that is not here is shown without."""


def write_page(inspection: Inspection, path: str | Path) -> Path:
    """Write the page, and return where it is. Raises `UserError` where nothing can be written."""
    return write(render(TEMPLATE, page_values(inspection)), path)


def page_values(inspection: Inspection) -> dict[str, Any]:
    """Every name that `page.html` uses."""
    rows = row_parts(inspection)
    lengths = [length_chart(title_of(name), each, inspection) for name, each in inspection.lengths.items()]
    values = {
        "it": inspection,
        "name": name_of(inspection.source),
        "facts": facts(inspection),
        "verdict": verdict(inspection),
        "row_parts": rows,
        "rows_bar": divided(rows, in_words("Rows", rows)) if inspection.read else "",
        "groups": groups(inspection),
        "lengths": lengths,
        "lengths_lead": lengths_lead(inspection),
        "shares": [share_chart(name, value) for name, value in inspection.shares.items()],
        "shown": [shown_row(row) for row in inspection.shown],
        **fit_values(inspection),
        **training_values(inspection),
    }
    return values | {"sections": sections(values)}


def sections(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Anchors and names of the sections that the page has."""
    there = {
        "lengths": ("Lengths", values["lengths"]),
        "training": ("Trained tokens", values["it"].tokens or values["trained"]),
        "balance": ("Balance", values["shares"]),
        "rows": ("Rows as they are trained", values["shown"]),
    }
    return [("findings", "Findings"), *((anchor, name) for anchor, (name, shown) in there.items() if shown)]


def name_of(source: str) -> str:
    """The file of a path from the root; any other name is short enough."""
    return PurePath(source).name if PurePath(source).is_absolute() else source


def facts(inspection: Inspection) -> list[tuple[str, str]]:
    """What was inspected, and how: terms with their text."""
    tokenizer = name_of(inspection.tokenizer) or "no model was given, so lengths are in characters"
    found = [
        ("Source", inspection.source if name_of(inspection.source) != inspection.source else ""),
        ("Family of rows", inspection.family),
        ("Tokenizer", tokenizer),
        ("Compared with", inspection.evaluation),
        *(("Note", note) for note in inspection.notes),
    ]
    return [(term, text) for term, text in found if text]


@dataclass(frozen=True)
class Verdict:
    text: str
    kind: str  # good, dropped, fault


def verdict(inspection: Inspection) -> Verdict:
    """The page in one sentence."""
    read, kept, faults = inspection.read, inspection.kept, len(faulty_rows(inspection))
    if not read:
        return Verdict("There are no rows.", "fault")
    trained = f"{kept:,} of {units.counted(read, 'row')} would be trained."
    if faults:
        return Verdict(
            f"A run would stop: {units.counted(faults, 'row')} cannot be read. Without them {trained}",
            "fault",
        )
    if kept == read:
        return Verdict(f"Every one of {units.counted(read, 'row')} would be trained.", "good")
    return Verdict(trained, "dropped" if kept else "fault")


def faulty_rows(inspection: Inspection) -> set[int]:
    return {row for each in inspection.findings if each.severity == "fault" for row in each.rows}


def row_parts(inspection: Inspection) -> list[Part]:
    out = inspection.read - inspection.kept
    faults = min(len(faulty_rows(inspection)), out)
    return [
        Part("trained", inspection.kept, "kept"),
        Part("left out", out - faults, "cut"),
        Part("cannot be read", faults, "lost"),
    ]


def in_words(what: str, parts: Iterable[Part]) -> str:
    """`Rows: 590 trained, 12 left out`, the name of a divided bar."""
    return f"{what}: " + ", ".join(f"{part.value:,} {part.name}" for part in parts if part.value)


# Findings


@dataclass(frozen=True)
class Group:
    """The findings of one severity, the most frequent first."""

    severity: Severity
    title: str
    meaning: str
    findings: list[Listed]


@dataclass(frozen=True)
class Listed:
    """A finding with its rows as the page lists them."""

    check: str
    count: int
    meaning: str
    fix: str
    ids: bool  # the rows have names of their own
    found: list[tuple[int, str, str]]  # row, id, what was found there: of the first few rows
    others: list[str]
    unlisted: int

    @property
    def listed(self) -> int:
        return len(self.found) + len(self.others)


def groups(inspection: Inspection) -> list[Group]:
    made = []
    for severity, (title, meaning) in GROUPS.items():
        findings = [each for each in inspection.findings if each.severity == severity]
        findings.sort(key=lambda finding: -finding.count)
        if findings:
            made.append(Group(severity, title, meaning, [listed(finding) for finding in findings]))
    return made


def listed(finding: Finding) -> Listed:
    ids = list(map(str, finding.ids)) if len(finding.ids) == len(finding.rows) else [""] * len(finding.rows)
    found = list(zip(finding.rows, ids, finding.found, strict=False))
    rest = slice(len(found), LISTED_ROWS)
    return Listed(
        check=finding.check,
        count=finding.count,
        meaning=finding.meaning,
        fix=finding.fix,
        ids=any(ids),
        found=found,
        others=row_names(finding.rows[rest], ids[rest]),
        unlisted=max(finding.count - max(LISTED_ROWS, len(found)), 0),
    )


def row_names(rows: list[int], ids: list[str]) -> list[str]:
    """`17 (id a-9)` for rows with names; of others, runs of neighbours as `4–9`."""
    if any(ids):
        return [f"{row} (id {id})" if id else f"{row}" for row, id in zip(rows, ids, strict=True)]
    names = []
    for _, run in groupby(enumerate(rows), key=lambda pair: pair[1] - pair[0]):
        numbers = [row for _, row in run]
        names += [f"{numbers[0]}–{numbers[-1]}"] if len(numbers) > 2 else [f"{row}" for row in numbers]
    return names


# Lengths


@dataclass(frozen=True)
class LengthChart:
    title: str
    caption: str
    unit: str
    svg: Markup
    quantiles: dict[str, int]  # by the head of their column


def title_of(name: str) -> str:
    return TITLES.get(name, name[:1].upper() + name[1:])


def length_chart(title: str, lengths: Lengths, inspection: Inspection) -> LengthChart:
    """A histogram with its quantiles. The line of `max_length` is for whole rows in tokens."""
    fit = inspection.fit
    limit = fit.max_length if fit and lengths.unit == "tokens" and title == TITLES["whole"] else None
    spread = spread_of(lengths.quantiles)
    half = f", half of them from {spread.lower:,} to {spread.upper:,}" if spread else ""
    most = max((count for _, _, count in lengths.bins), default=0)
    rows = units.counted(sum(count for _, _, count in lengths.bins), "row")
    line = f"; max_length is {limit:,}" if limit is not None else ""
    return LengthChart(
        title=title,
        caption=f"in {lengths.unit}; the highest column is {units.counted(most, 'row')}{tail(lengths.bins)}",
        unit=lengths.unit,
        svg=histogram(lengths.bins, f"{title}, length in {lengths.unit}: {rows}{half}{line}", spread, limit),
        quantiles={QUANTILES[key]: lengths.quantiles[key] for key in QUANTILES if key in lengths.quantiles},
    )


def tail(bins: list[tuple[int, int, int]]) -> str:
    """A word on the last column, where it is wider than the others to take in what is far away."""
    if len(bins) < 2 or bins[-1][1] - bins[-1][0] <= bins[0][1] - bins[0][0]:
        return ""
    start, end, count = bins[-1]
    return f", the last one {units.counted(count, 'row')} from {start:,} to {end - 1:,}"


def spread_of(quantiles: dict[str, int]) -> Spread | None:
    keys = ("0.1", "0.25", "0.5", "0.75", "0.9")
    return Spread(*(quantiles[key] for key in keys)) if all(key in quantiles for key in keys) else None


def lengths_lead(inspection: Inspection) -> str:
    box = "Under each histogram the line is 80 % of the rows, the box its middle half, the stroke the median."
    return box if inspection.tokenizer else f"In characters, as no model was given. {box}"


def fit_values(inspection: Inspection) -> dict[str, Any]:
    """The bar of what `max_length` does; without parts where nothing is known."""
    fit = inspection.fit
    if fit is None:
        return {"fit_parts": [], "fit_total": 1, "fit_bar": "", "fit_title": "", "fit_meaning": ""}
    parts = [
        Part("whole", fit.whole, "kept"),
        Part("cut", fit.cut, "cut"),
        Part("left out", fit.dropped, "lost"),
    ]
    if fit.max_length is None:
        title, meaning = "No max_length", "every row is trained whole"
    else:
        title, meaning = f"max_length {fit.max_length:,}", "what it does to the rows"
    return {
        "fit_parts": parts,
        "fit_total": fit.whole + fit.cut + fit.dropped or 1,
        "fit_bar": divided(parts, in_words(title, parts)),
        "fit_title": title,
        "fit_meaning": meaning,
    }


# Trained tokens, shares, rows


def training_values(inspection: Inspection) -> dict[str, Any]:
    """How much of the rows is trained, and whether they end in the stop token."""
    lengths, stop = inspection.trained_per_row, inspection.stop_token
    lead = ""
    if inspection.tokens:
        share = units.share(inspection.trained_tokens / inspection.tokens)
        lead = f"The loss is taken on {inspection.trained_tokens:,} of {inspection.tokens:,} tokens, {share}."
    trained, kept = inspection.stop_trained, inspection.kept
    parts = [Part("end in it", trained, "kept"), Part("do not", kept - trained, "lost")]
    return {
        "trained": length_chart("Trained per row", lengths, inspection) if lengths else None,
        "training_lead": lead,
        "stop_parts": parts,
        "stop_bar": divided(parts, in_words(f"Rows that end in {stop}", parts)) if stop and kept else "",
        "stop_caption": f"{stop}, by which a model ends its answer",
        "stop_meaning": stop_meaning(trained, kept),
    }


def stop_meaning(trained: int, kept: int) -> str:
    if trained == kept:
        return "It is the last trained token of every row: the model learns to stop."
    if not trained:
        return "It is never trained: the model does not learn to stop."
    return "Rows that do not end in it, such as rows that were cut, do not teach the model to stop."


@dataclass(frozen=True)
class ShareChart:
    title: str
    value: float
    bar: Markup
    meaning: str


def share_chart(name: str, value: float) -> ShareChart:
    parts = [Part(name, value, "kept"), Part("the rest", 1 - value, "rest")]
    bar = divided(parts, f"{title_of(name)}: {units.share(value)}")
    return ShareChart(title_of(name), value, bar, SHARES.get(name, ""))


def shown_row(row: ShownRow) -> dict[str, Any]:
    names = [*row.names, *(f"completion {i + 1}" for i in range(len(row.names), len(row.completions)))]
    completions = [(name, runs(each)) for name, each in zip(names, row.completions, strict=False)]
    return {"row": row.row, "origin": row.origin, "prompt": runs(row.prompt), "completions": completions}


def runs(parts: Iterable[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Runs of text, where a trained one that ends in a line break shows it."""
    return [
        (text[:-1] + "↵\n" if trained and text.endswith("\n") else text, trained) for text, trained in parts
    ]
