"""An inspection as text, as wide as the terminal.

Piped, it is without colour, and ⟦ ⟧ stand around what is trained.
"""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from burnish import units
from burnish.data.inspection.checks import cure_of
from burnish.data.inspection.inspection import Finding, Inspection, Lengths, ShownRow
from burnish.data.text.preview import CLOSE, OPEN

WIDE = 120
"""Columns from which findings are shown with an example and what to do."""

BARS = " ▁▂▃▄▅▆▇█"
STYLES = {"fault": "bold red", "dropped": "red", "warning": "yellow", "note": "dim"}
SHOWN_QUANTILES = {"0": "min", "0.1": "10 %", "0.5": "median", "0.9": "90 %", "0.99": "99 %", "1": "max"}
BALANCED = {"chosen longer": (0.35, 0.65), "label true": (0.2, 0.8), "steps right": (0.2, 0.8)}
"""Shares between these are nothing to speak of."""

REMARKS = {
    "chosen longer": "a model may learn length rather than quality",
    "label true": "one label is rare: weigh the classes, or add rows",
    "steps right": "one label is rare: weigh the classes, or add rows",
}


def show(inspection: Inspection, console: Console, command: str = "burnish inspect DATA") -> None:
    """Print everything: what it is, how long, what is trained, what was found, what to do."""
    parts = [
        _header(inspection),
        _lengths(inspection, console.width),
        _facts(inspection),
        _findings(inspection, console.width),
        *(_shown(row, console) for row in inspection.shown),
        _next(inspection, command),
    ]
    for part in parts:
        if part is not None:
            console.print(part)
            console.print()


def _pairs(rows: dict[str, RenderableType]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _header(found: Inspection) -> Table:
    lost = found.read - found.kept
    rows = f"{found.read:,}, of which {found.kept:,} would be trained" if lost else f"{found.read:,}"
    lines: dict[str, RenderableType] = {
        "source": Text(found.source),
        "rows": Text(rows),
        "read as": Text(f"{found.family}: {found.format}" if found.family else found.format),
    }
    lines["model"] = Text(found.tokenizer or "none given, so lengths are characters (--model says tokens)")
    if found.evaluation:
        lines["compared with"] = Text(found.evaluation)
    for note in found.notes:
        lines["note"] = Text(note)
    return _pairs(lines)


# Lengths


def _lengths(found: Inspection, width: int) -> Table | None:
    every = dict(found.lengths)
    if found.trained_per_row is not None:
        every["trained"] = found.trained_per_row
    if not every:
        return None
    unit = next(iter(every.values())).unit
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column(unit, style="bold", no_wrap=True)
    for title in SHOWN_QUANTILES.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("up to 99 %", no_wrap=True)
    room = 24 if width >= 100 else 12
    for name, lengths in every.items():
        numbers = [f"{lengths.quantiles[q]:,}" for q in SHOWN_QUANTILES]
        table.add_row(name, *numbers, Text(sparkline(lengths, room), style="cyan"))
    return table


def sparkline(lengths: Lengths, room: int) -> str:
    """The bins up to 99 % as bars, one character each; a bin with any row has a bar one can see."""
    most = lengths.quantiles["0.99"]
    counts = [rows for first, _, rows in lengths.bins if first <= most]
    per = -(-len(counts) // room)
    counts = [sum(counts[at : at + per]) for at in range(0, len(counts), per)]
    top = max(counts)
    return "".join(BARS[-(-(len(BARS) - 1) * count // top)] for count in counts)


# What is trained


def _facts(found: Inspection) -> Table | None:
    lines: dict[str, RenderableType] = {}
    fit = found.fit
    if fit is not None and fit.max_length is not None:
        lines[f"max_length {fit.max_length:,}"] = Text(
            f"{units.counted(fit.whole, 'row')} whole "
            f"({_share(fit.whole, fit.whole + fit.cut + fit.dropped)}), "
            f"{fit.cut:,} cut, {fit.dropped:,} dropped"
        )
    if found.tokens:
        share = _share(found.trained_tokens, found.tokens)
        lines["trained"] = Text(f"{found.trained_tokens:,} of {found.tokens:,} tokens ({share})")
        state = f"trained in {_share(found.stop_trained, found.kept)} of rows"
        if fit is not None and 0 < fit.cut == found.kept - found.stop_trained:
            state += "; the others are cut"
        style = "" if found.stop_trained == found.kept else "yellow"
        lines["stop token"] = Text(f"{found.stop_token or 'none'}, {state}", style=style)
    for name, true in found.shares.items():
        low, high = BALANCED.get(name, (0.0, 1.0))
        told = low <= true <= high
        remark = "" if told else f": {REMARKS[name]}"
        lines[name] = Text(units.share(true) + remark, style="" if told else "yellow")
    return _pairs(lines) if lines else None


# What was found


def _findings(found: Inspection, width: int) -> RenderableType:
    grave = [finding for finding in found.findings if finding.severity != "note"]
    notes = [finding for finding in found.findings if finding.severity == "note"]
    if not grave:
        return Group(Text("Nothing is wrong with these rows.", style="green"), *_notes(notes, found.read))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=width >= WIDE)
    table.add_column("", no_wrap=True, min_width=len("dropped"))
    table.add_column("rows", justify="right", no_wrap=True, min_width=len("rows"))
    table.add_column("what", overflow="fold", ratio=3)
    table.add_column(_named_by(grave), overflow="fold", ratio=3)
    if width >= WIDE:
        table.add_column("for example", overflow="ellipsis", no_wrap=True, ratio=4)
        table.add_column("what to do", overflow="fold", ratio=3)
    for finding in grave:
        wide = [Text(_flat(finding.found[0] if finding.found else "")), Text(finding.fix)]
        table.add_row(
            Text(finding.severity, style=STYLES[finding.severity]),
            f"{finding.count:,}",
            Text(finding.check),
            Text(_names(finding, 12 if width >= WIDE else 6)),
            *(wide if width >= WIDE else []),
        )
    return Group(table, *_notes(notes, found.read))


def _named_by(findings: list[Finding]) -> str:
    return "ids" if any(finding.ids for finding in findings) else "row numbers"


def _names(finding: Finding, limit: int) -> str:
    names = [name or f"row {row}" for name, row in zip(finding.ids, finding.rows, strict=False)]
    names = names or [str(row) for row in finding.rows]
    names = list(dict.fromkeys(names))
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")


def _notes(notes: list[Finding], read: int) -> list[RenderableType]:
    return [
        Text(
            f"{note.check}: {units.counted(note.count, 'row')} ({_share(note.count, read)}). {note.meaning}",
            style="dim",
        )
        for note in notes
    ]


# Rows as they are trained


def _shown(row: ShownRow, console: Console) -> RenderableType:
    coloured = console.is_terminal and not console.no_color
    title = Text(row.origin, style="bold")
    prompt = [Text("prompt", style="dim"), _runs(row.prompt, coloured)] if row.prompt else []
    if len(row.completions) == 1:
        body: RenderableType = Group(
            Text(f"{row.names[0]} (trained: {'green' if coloured else OPEN + CLOSE})", style="dim"),
            _runs(row.completions[0], coloured),
        )
    else:
        body = Table(*row.names, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
        body.add_row(*(_runs(completion, coloured) for completion in row.completions))
    return Group(title, Padding(Group(*prompt, body), (0, 0, 0, 2)))


def _runs(runs: list[tuple[str, bool]], coloured: bool) -> Text:
    text = Text(overflow="fold")
    for part, trained in runs:
        if coloured:
            text.append(part, style="green" if trained else "")
        else:
            text.append(f"{OPEN}{part}{CLOSE}" if trained else part)
    return text


# What to do


def _next(found: Inspection, command: str) -> Text | None:
    cures = {"quarantine": 0, "mend": 0}
    for finding in found.findings:
        cure = cure_of(finding)
        if cure in cures:
            cures[cure] += 1
    lines = []
    if any(cures.values()):
        lines.append(
            "next   write the rows that are in order to a file, and the others apart, with the reasons:"
        )
        lines.append(f"       {command} --fix clean.jsonl")
    if not found.tokenizer:
        lines.append("next   see tokens, what max_length cuts and what is trained: add --model MODEL")
    return Text("\n".join(lines)) if lines else None


def _share(part: int, whole: int) -> str:
    return units.share(part / whole if whole else 0.0)


def _flat(text: str) -> str:
    return " ".join(text.split())
