"""Running the pass over a dataset, and keeping what comes of it on disk.

    $BURNISH_CACHE/rows/KEY/rows.arrow      the examples that are kept
    $BURNISH_CACHE/rows/KEY/ledger.arrow    a line for every row read, or piece of it: what became of it

Batches are written as they are made, and both files are read by memory mapping, so memory does not grow with
the number of rows. A folder appears complete or not at all.

In one process, the next batch is rendered and the last one assembled while the tokenizer, which needs no
Python and has threads of its own, works on the one between them.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.table import MemoryMappedTable

from burnish.data.preparation.batch import OUTCOME, Begun, Pass
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.rows import rows_of
from burnish.errors import UserError
from burnish.paths import cache_folder
from burnish.progress import Bar

ROWS, LEDGER = "rows.arrow", "ledger.arrow"
LEDGER_COLUMNS = ["row", *OUTCOME]


def outcome(
    dataset: Dataset, pass_: Pass, options: PreparationOptions, key: str, title: str
) -> tuple[Dataset, pa.Table]:
    """The rows that are kept, and the ledger of all; computed unless they are there under `key`."""
    folder = cache_folder("rows") / key
    if not folder.is_dir():
        with Bar(title, len(dataset), "rows") as bar, uncollected():
            _write(_tables(dataset, pass_, options), folder, bar)
    rows, ledger = (MemoryMappedTable.from_file(str(folder / name)) for name in (ROWS, LEDGER))
    return Dataset(rows, fingerprint=key), ledger.table


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles: batches make many objects and no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write(tables: Iterator[pa.Table], folder: Path, bar: Bar) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    first = next(tables)
    schema = first.drop_columns(list(OUTCOME)).schema
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as name:
        temporary = Path(name) / folder.name
        temporary.mkdir()
        with (
            pa.ipc.new_stream(str(temporary / ROWS), schema) as rows,
            pa.ipc.new_stream(str(temporary / LEDGER), first.select(LEDGER_COLUMNS).schema) as ledger,
        ):
            for table in itertools.chain([first], tables):
                ledger.write_table(table.select(LEDGER_COLUMNS))
                rows.write_table(_as(schema, table.filter(pc.equal(table["dropped"], ""))))
                bar.update(pc.count_distinct(table["index"]).as_py())
        try:
            temporary.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise


def _as(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """The columns of the first batch; those that a later one lacks are null."""
    extra = [name for name in table.column_names if name not in (*schema.names, *OUTCOME)]
    if extra:
        raise UserError(
            f"a column '{extra[0]}' that the first rows do not have",
            fix="let your function give every row the same columns",
        )
    columns = [
        table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _tables(dataset: Dataset, pass_: Pass, options: PreparationOptions) -> Iterator[pa.Table]:
    """The pass over every batch, in order."""
    size = options.batch_size
    batches = (range(start, min(start + size, len(dataset))) for start in range(0, len(dataset), size))
    if options.num_proc and options.num_proc > 1:
        return _in_processes(dataset, pass_, batches, options.num_proc)
    return _in_stages(dataset, pass_, batches)


def _in_stages(dataset: Dataset, pass_: Pass, batches: Iterator[range]) -> Iterator[pa.Table]:
    with ThreadPoolExecutor(1) as beside:
        running: tuple[Begun, Future[Any]] | None = None
        for indices in batches:
            begun = pass_.begin(rows_of(dataset[indices]), indices)
            future = beside.submit(pass_.encode, begun)
            if running:
                yield pass_.finish(running[0], running[1].result())
            running = begun, future
        if running:
            yield pass_.finish(running[0], running[1].result())


# Several processes

_shared: tuple[Dataset, Pass]


def _in_processes(
    dataset: Dataset, pass_: Pass, batches: Iterator[range], processes: int
) -> Iterator[pa.Table]:
    """At most two batches of each process are under way, so none pile up before the writer."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with ProcessPoolExecutor(processes, context, _share, (dataset, pass_)) as pool:
        running: deque[Future[pa.Table]] = deque()
        for indices in batches:
            running.append(pool.submit(_work, indices))
            if len(running) > 2 * processes:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _share(dataset: Dataset, pass_: Pass) -> None:
    global _shared
    _shared = dataset, pass_
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for every core already


def _work(indices: range) -> pa.Table:
    dataset, pass_ = _shared
    return pass_(rows_of(dataset[indices]), indices)
