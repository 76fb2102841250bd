"""From dataset rows to token ids, in one pass.

`prepare` reads, tokenizes and truncates a batch of rows at a time through `Dataset.map`, so the result is
cached on disk and read back by memory mapping. The cache key is the data, the tokenizer with its template,
the options, and the code of this folder; when one of them changes, rows are prepared anew.

Every row read is in the output of the pass, dropped ones with their reason, so the report is counted from the
result itself and is the same whether it was computed now or came from the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.fingerprint import Hasher

from burnish.data.example import PREPARED_COLUMNS, Example, TokenizedExample
from burnish.data.options import PreparationOptions
from burnish.data.report import SHOWN_ROWS, PreparationReport, Tally
from burnish.data.tokenize import in_row, tokenize
from burnish.data.truncate import fit
from burnish.errors import UserError

ReadRow = Callable[[Mapping[str, Any]], Example | TokenizedExample]


class Prepared(NamedTuple):
    dataset: Dataset  # columns of `TokenizedExample.to_row()`
    report: PreparationReport


def prepare(
    dataset: Dataset, read_row: ReadRow, tokenizer: Any, options: PreparationOptions, name: str = "dataset"
) -> Prepared:
    """Rows of `dataset` as the rows of `TokenizedExample`, and what became of each.

    `read_row` says what a row means, as `Example.language` does. `name` stands in messages. Raises
    `UserError` naming the row that cannot be read, and where no row is left.
    """
    if not len(dataset):
        raise UserError("there are no rows", where=name, fix="check the file, the split and your filters")
    pass_ = _Pass(read_row, tokenizer, options, name)
    outcome = dataset.map(
        pass_,
        batched=True,
        with_indices=True,
        batch_size=options.batch_size,
        num_proc=options.num_proc,
        remove_columns=dataset.column_names,
        new_fingerprint=_fingerprint(dataset, read_row, tokenizer, options),
        desc=f"Preparing {name}",
    )
    report = _report(outcome, name)
    if not report.kept:
        reasons = "; ".join(f"{reason}: {tally}" for reason, tally in report.dropped.items())
        raise UserError(
            f"none of the {report.read} rows can be trained: {reasons}", where=name, fix=_fix(reasons)
        )
    return Prepared(_kept(outcome), report)


def _fix(reasons: str) -> str:
    if "max_length" in reasons or "truncation" in reasons:
        return "raise max_length"
    return "check that the rows have completions"


OUTCOME = {
    "dropped": pa.string(),
    "warning": pa.string(),
    "truncated": pa.bool_(),
    "length": pa.int32(),
    "scored": pa.int32(),
}
"""Columns that live until the report is counted."""

IDS = pa.list_(pa.int32())
SCHEMA = {
    "prompt_ids": IDS,
    "completion_ids": pa.list_(IDS),
    "completion_mask": pa.list_(pa.list_(pa.bool_())),
    "row": pa.int64(),
}
assert SCHEMA.keys() == PREPARED_COLUMNS


@dataclass
class _Pass:
    """What `Dataset.map` runs on a batch; picklable, for several processes."""

    read_row: ReadRow
    tokenizer: Any
    options: PreparationOptions
    name: str

    def __call__(self, batch: dict[str, list[Any]], indices: list[int]) -> pa.Table:
        rows = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
        try:
            read = [self._read(row, index) for row, index in zip(rows, indices, strict=True)]
            fresh = iter(tokenize([e for e in read if isinstance(e, Example)], self.tokenizer, self.options))
        except UserError as error:
            raise UserError(
                error.what, where=f"{self.name}, {error.where}", fix=error.fix
            ) from error.__cause__
        tokenized = [next(fresh) if isinstance(example, Example) else example for example in read]
        return _table([self._outcome(before) for before in tokenized])

    def _read(self, row: dict[str, Any], index: int) -> Example | TokenizedExample:
        field = self.options.dataset_text_field
        if field != "text" and field in row:
            row["text"] = row.pop(field)
        try:
            return replace(self.read_row(row), row=index)
        except UserError as error:
            raise in_row(error, index) from error.__cause__

    def _outcome(self, before: TokenizedExample) -> dict[str, Any]:
        example, dropped = fit(before, self.options)
        return {
            **example.to_row(),
            "dropped": dropped,
            "warning": _warning(example),
            "truncated": example is not before,
            "length": example.length,
            "scored": example.trained_tokens,
        }


def _warning(example: TokenizedExample) -> str:
    first, *others = example.completions
    return "chosen equals rejected" if others and all(tokens == first for tokens in others) else ""


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    """Arrow columns; numbers that an objective reads are float64."""
    types = {**SCHEMA, **OUTCOME}
    return pa.table(
        {name: pa.array([row[name] for row in rows], types.get(name, pa.float64())) for name in rows[0]}
    )


def _report(outcome: Dataset, name: str) -> PreparationReport:
    columns = outcome.with_format("arrow").select_columns(["row", *OUTCOME])[:]
    kept = columns.filter(pc.equal(columns["dropped"], ""))

    def total(column: str) -> int:
        return pc.sum(pc.cast(kept[column], pa.int64())).as_py() or 0

    return PreparationReport(
        name=name,
        read=len(columns),
        kept=len(kept),
        dropped=_tallies(columns, "dropped"),
        warnings=_tallies(kept, "warning"),
        truncated=total("truncated"),
        tokens=total("length"),
        trained_tokens=total("scored"),
        longest=pc.max(kept["length"]).as_py() or 0,
    )


def _tallies(columns: pa.Table, reason_column: str) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    noted = columns.filter(pc.not_equal(columns[reason_column], ""))
    for reason, row in zip(noted[reason_column].to_pylist(), noted["row"].to_pylist(), strict=True):
        tally = tallies.setdefault(reason, Tally())
        tally.count += 1
        if len(tally.rows) < SHOWN_ROWS:
            tally.rows.append(row)
    return tallies


def _kept(outcome: Dataset) -> Dataset:
    reasons = outcome.with_format("arrow")["dropped"][:]
    keep = [i for i, reason in enumerate(reasons.to_pylist()) if not reason]
    rows = outcome if len(keep) == len(outcome) else outcome.select(keep)
    return rows.remove_columns(list(OUTCOME))


def _fingerprint(dataset: Dataset, read_row: ReadRow, tokenizer: Any, options: PreparationOptions) -> str:
    settings = {k: v for k, v in asdict(options).items() if k not in ("num_proc", "batch_size")}
    parts = [
        dataset._fingerprint,
        Hasher.hash(read_row),
        _tokenizer_identity(tokenizer),
        json.dumps(settings, sort_keys=True, default=repr),
        *(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()[:16]


def _tokenizer_identity(tokenizer: Any) -> str:
    vocabulary = (
        tokenizer.backend_tokenizer.to_str()
        if tokenizer.is_fast
        else repr(sorted(tokenizer.get_vocab().items()))
    )
    return "\n".join(
        [
            type(tokenizer).__name__,
            vocabulary,
            repr(tokenizer.special_tokens_map),
            repr(tokenizer.chat_template),
        ]
    )
