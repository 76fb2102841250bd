"""A batch of an evaluation: sums and counts for its loss and metrics, and what `compute_metrics` gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.engine.assembly import stack_rows
from burnish.engine.ranks import without_repeats

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine


@torch.no_grad()
def evaluated(
    engine: Engine, model: nn.Module, batch: list[list[TokenizedExample]], with_predictions: bool
) -> tuple[Tensor, Tensor] | None:
    """Adds to the evaluation's sums; returns predictions and labels of every row, if asked for.

    Ranks run equally many forwards, and return equally many rows: the base gathers all, and then drops what
    repeats.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    examples = [example for pack in batch for example in pack]
    own = without_repeats(examples, engine.accelerator)
    with engine.compute_loss_context_manager():
        for cut in engine.cut(own, in_order=True):
            forest = Forest.pack(cut or examples[:1]).to(engine.args.device)
            output = engine.objective(model, forest)
            if cut:
                engine._eval_meter.add({"loss": output.loss, **output.metrics})
            if with_predictions:
                parts.append(engine.predictions(model, forest))
    if not parts:
        return None
    predictions, labels = (stack_rows(each, len(examples)) for each in zip(*parts, strict=True))
    return predictions, labels
