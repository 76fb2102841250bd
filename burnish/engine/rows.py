"""The rows of a trainer: from names, datasets, streams, or several of them, to token ids."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, IterableDatasetDict

from burnish.data.example import PREPARED_COLUMNS, TokenizedExample
from burnish.data.packing import PackedRows
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.preparation.report import PreparationReport
from burnish.data.preparation.stream import PreparedStream
from burnish.data.sources.mixture import Entry, load_mixture, mixed
from burnish.data.sources.rows import RowStream, Source, parse_columns
from burnish.data.sources.source import load_rows, load_stream
from burnish.engine.config import EngineConfig
from burnish.errors import UserError
from burnish.secrets import hidden, in_texts

logger = logging.getLogger("burnish")


def preparation_options(args: EngineConfig, method: dict[str, Any]) -> PreparationOptions:
    return PreparationOptions(
        **{
            "max_length": args.max_length,
            "truncation_mode": args.truncation_mode,
            "eos_token": args.eos_token,
            "num_proc": args.dataset_num_proc,
            "columns": parse_columns(args.columns),
            "as_chats": args.as_chats,
            "assistant_only_loss": getattr(args, "assistant_only_loss", False),
            "row_function": args.row_function,
            "on_bad_row": args.on_bad_row,
            "bad_row_budget": args.bad_row_budget,
            **method,
        }
    )


def prepare_split(
    rows: Any, read_row: Callable, tokenizer: Any, options: PreparationOptions, args: EngineConfig, name: str
) -> tuple[Dataset | PreparedStream, list[PreparationReport]]:
    """The rows of a split, whole or as a stream, and the reports on their sources. Raises `UserError`."""
    if name == "train" and (streams := streams_in(rows)):
        stream = prepare_stream(streams, read_row, tokenizer, options, args)
        return stream, stream.reports
    if streams := streams_in(rows):
        rows = [_read_in_full(stream) for stream in streams]
    with args.main_process_first(desc="preparing rows"):  # the others find them in the cache
        return prepare_rows(rows, read_row, tokenizer, options, name, args.seed)


def prepare_rows(
    rows: Any, read_row: Callable, tokenizer: Any, options: PreparationOptions, name: str, seed: int
) -> tuple[Dataset, list[PreparationReport]]:
    """Rows as token ids, and a report on what became of those of each source (none if they are prepared).

    `rows` are a dataset, what `load_rows` takes, or several of these. Raises `UserError`.
    """
    if isinstance(rows, Dataset) and set(rows.column_names) >= PREPARED_COLUMNS - {"origin"}:
        return rows, []  # the origin is for messages only
    sources = sources_of(rows, name, seed)
    prepared = [prepare(source, read_row, tokenizer, options) for source in sources]
    for each in prepared:
        logger.info("%s", each.report)
    return mixed([each.dataset for each in prepared], sources, seed), [each.report for each in prepared]


def sources_of(rows: Any, name: str, seed: int) -> list[Source]:
    """Rows, or their names, as sources; `name` is that of rows in memory. Raises `UserError`."""
    if isinstance(rows, str | os.PathLike):
        rows = [os.fspath(rows)]
    if isinstance(rows, list) and rows and all(isinstance(each, str | Source) for each in rows):
        return [
            each if isinstance(each, Source) else load_mixture([Entry.of(each)], seed=seed)[0]
            for each in rows
        ]
    return [load_rows(rows, label=name)]


def streams_in(rows: Any) -> list[RowStream]:
    """The streams that rows are; none, where they are all there."""
    if isinstance(rows, IterableDataset | IterableDatasetDict):
        return load_stream(rows, label="the stream")
    streams = rows if isinstance(rows, list) else [rows]
    return streams if streams and all(isinstance(each, RowStream) for each in streams) else []


def _read_in_full(stream: RowStream) -> Source:
    """A stream that comes to an end, as an evaluation asks for all of its rows. Raises `UserError`."""
    source = load_rows([dict(row) for row in stream.rows], columns=stream.columns, label=stream.name)
    return replace(source, notes=(*source.notes, "a stream, read in full: an evaluation asks for all rows"))


def prepare_stream(
    streams: Sequence[RowStream], read_row: Callable, tokenizer: Any, options: PreparationOptions, args: Any
) -> PreparedStream:
    """Rows as token ids, made as training asks for them. Raises `UserError` for what a stream cannot do."""
    fix = "leave out dataset_streaming (or streaming=True)"
    if args.max_steps <= 0:
        raise UserError(
            "training on a stream needs max_steps: how many rows there are is not known",
            where="max_steps",
            fix="set max_steps",
        )
    if args.dataloader_num_workers:
        raise UserError(
            "a stream's rows are read and counted in the training process",
            where="dataloader_num_workers",
            fix=f"set it to 0, or {fix}",
        )
    if getattr(args, "packing", False):
        raise UserError(
            "packs are chosen over all rows, and a stream does not know them", where="packing", fix=fix
        )
    args.accelerator_config.dispatch_batches = False  # each rank reads the stream: examples are no tensors
    seed = args.data_seed if args.data_seed is not None else args.seed
    shuffled = args.train_sampling_strategy == "random"
    return PreparedStream(
        streams,
        read_row,
        tokenizer,
        options,
        shuffle_seed=seed if shuffled else None,
        group=args.train_batch_size * args.world_size if args.world_size > 1 else 1,
    )


def first_example(dataset: Dataset | PackedRows | PreparedStream) -> TokenizedExample:
    return collate([dataset.first if isinstance(dataset, PreparedStream) else dataset[0]])[0][0]


def splits_of(dataset: Any) -> list[Any]:
    """The sets in what may be several by name."""
    return list(dataset.values()) if isinstance(dataset, dict) else [dataset]


def write_reports(reports: Mapping[str, Sequence[PreparationReport]], output_dir: str) -> None:
    """What became of every row, beside the model: `preparation.json`, a list of sources for each split."""
    content = {split: [report.to_dict() for report in found] for split, found in reports.items()}
    text = json.dumps(in_texts(hidden, content), indent=2)
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    (Path(output_dir) / "preparation.json").write_text(text + "\n", encoding="utf-8")


def collate(rows: Sequence[dict[str, Any] | list[dict[str, Any]] | None]) -> list[list[TokenizedExample]]:
    """Prepared rows, or packs of them, as packs of examples; None as an empty one."""
    packs = [row if isinstance(row, list) else [row] if row else [] for row in rows]
    return [[TokenizedExample.from_row(row) for row in pack] for pack in packs]
