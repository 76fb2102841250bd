"""What the loss of an example needs to know of all the examples of its step: a KL, a mean, an order.

Such losses couple the examples of a step, and a step must not depend on how it is cut into micro-batches or
over ranks. So a method's `survey` reads all of them first, without gradient, and hands each its share as a
column; the objective then reads columns of a forest, as always. Its tools are here:

    measured    one forest at a time -> a value per example
    of_all      what every rank has, in the order of the ranks

What lasts longer than a step, as a running mean, is a number in `Engine.running`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine


@torch.no_grad()
def surveyed(engine: Engine, model: nn.Module, examples: list[TokenizedExample]) -> list[TokenizedExample]:
    """The examples of this rank's part of a step, in their order, with the columns of `Engine.survey`."""
    return engine.survey(model, examples)


def surveyed_rows(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """An evaluation set surveyed as one step, so that its loss does not depend on the batch size."""
    ranks, rank = engine.accelerator.num_processes, engine.accelerator.process_index
    examples = [TokenizedExample.from_row(row) for row in rows]
    engine.model.eval()
    with engine.compute_loss_context_manager():
        own = surveyed(engine, engine.model, examples[rank::ranks])
    numbered = of_all(list(zip(range(rank, len(examples), ranks), own, strict=True)))
    return [example.to_row() for _, example in sorted(numbered, key=lambda pair: pair[0])]


def measured(
    engine: Engine, examples: Sequence[TokenizedExample], measure: Callable[[Forest], Tensor]
) -> Tensor:
    """`measure` of every example, in their order: float[examples, ...] from float[E, ...] of each forest."""
    index = {id(example): place for place, example in enumerate(examples)}
    values: dict[int, Tensor] = {}
    found = torch.empty(0)
    for batch in engine.cut(list(examples)):
        forest = Forest.pack(batch or [engine.filler()]).to(engine.args.device)
        found = measure(forest)
        values |= {index[id(example)]: value for example, value in zip(batch, found, strict=False)}
    return torch.stack([values[place] for place in range(len(examples))]) if values else found[:0]


def of_all(own: list[Any]) -> list[Any]:
    """The items of every rank, those of rank 0 first."""
    return gather_object(own)


def with_columns(examples: Sequence[TokenizedExample], **columns: Sequence[Any]) -> list[TokenizedExample]:
    """The examples with more columns, each with a value per example."""
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [replace(e, columns=e.columns | row) for e, row in zip(examples, rows, strict=True)]


# Kept in checkpoints

RUNNING_FILE = "running.json"


def write_running(running: Mapping[str, float], folder: str) -> None:
    """Keep `Engine.running` with a checkpoint, if there is something in it."""
    if running:
        (Path(folder) / RUNNING_FILE).write_text(json.dumps(running) + "\n", encoding="utf-8")


def read_running(folder: str | None) -> dict[str, float]:
    file = Path(folder or "") / RUNNING_FILE
    return json.loads(file.read_text(encoding="utf-8")) if folder and file.is_file() else {}
