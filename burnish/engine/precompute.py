"""Scoring all rows by the reference before step 1, once, kept on disk.

Full fine-tuning changes the very model that is the reference, so the reference's scores must be taken
before. They are kept under a fingerprint of weights and rows: a second run on the same finds them.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn

from burnish.data.example import TokenizedExample
from burnish.data.preparation.stream import PreparedStream
from burnish.engine.ranks import least_of
from burnish.engine.survey import measured
from burnish.errors import UserError
from burnish.models.reference import COLUMN, Reference
from burnish.paths import cache_folder
from burnish.progress import Bar

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

ROWS = 64
"""Rows that a rank scores between two gathers."""


def with_reference_scores(engine: Engine, reference: Reference, dataset: Dataset | PreparedStream) -> Dataset:
    """The dataset with the reference's log-probability of every completion as one more column."""
    if isinstance(dataset, PreparedStream):
        raise UserError(
            "the reference scores all rows before step 1, and a stream's rows are not known then",
            where="precompute_ref_log_probs",
            fix="leave it out, or load the rows without streaming",
        )
    if COLUMN in dataset.column_names:
        return dataset
    if not reference.is_live and engine.state.global_step > 0:
        raise UserError(
            "these rows were not scored by the reference before training, and the model has changed since",
            where="eval_dataset",
            fix="pass them as eval_dataset when the trainer is made, or pass a ref_model",
        )
    assert engine.plan is not None
    start = time.perf_counter()
    file = cache_folder("reference") / f"{_fingerprint(engine, reference, dataset)}.npy"
    found = bool(least_of(engine.accelerator, file.is_file()))  # they score together, or none does
    scores = np.load(file) if found else _score_rows(engine, reference, dataset)
    if not found and engine.is_world_process_zero():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, scores)
    how = "found in the cache" if found else f"scored in {time.perf_counter() - start:.1f} s"
    engine.plan.say("", f"{len(dataset)} rows scored before step 1", how)
    return dataset.add_column(COLUMN, scores.tolist(), new_fingerprint=f"{dataset._fingerprint}-reference")


def _score_rows(
    engine: Engine, reference: Reference, dataset: Dataset
) -> np.ndarray:  # float64[rows, completions]
    scores: dict[int, list[float]] = {}
    ranks, rank = engine.accelerator.num_processes, engine.accelerator.process_index
    starts = range(0, len(dataset), ROWS * ranks)
    bar = Bar("Scoring rows by the reference", len(dataset), "rows", shown=engine.is_world_process_zero())
    for start in starts:
        first = min(start + rank * ROWS, len(dataset))
        indices = range(first, min(first + ROWS, len(dataset)))
        examples = [TokenizedExample.from_row(dataset[index]) for index in indices]
        values = measured(
            engine, examples, lambda f: reference.score(engine.model, f).double().view(f.trees, -1)
        )
        scores |= dict(zip(indices, values.tolist(), strict=True))
        bar.update(min(ROWS * ranks, len(dataset) - start))
    bar.close()
    scores = _gathered(scores, ranks)
    return np.array([scores[index] for index in range(len(dataset))])


def _gathered(scores: dict[int, list[float]], ranks: int) -> dict[int, list[float]]:
    if ranks == 1:
        return scores
    parts: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(parts, scores)
    return {index: value for part in parts for index, value in part.items()}


def _fingerprint(engine: Engine, reference: Reference, dataset: Dataset) -> str:
    model = reference.model or engine.model
    digest = hashlib.blake2b(digest_size=16)
    added_up = getattr(reference.add_up, "keywords", "")  # of a `partial`
    digest.update(f"{dataset._fingerprint} {reference.kind} {engine.compute_dtype} {added_up}".encode())
    digest.update(str(getattr(model, "config", "")).encode())
    hash_weights(model, digest)
    return digest.hexdigest()


def hash_weights(model: nn.Module, digest: Any) -> None:
    """Feed the names and bytes of all weights to `digest`."""
    for name, weight in model.named_parameters():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
