"""Rows that are token ids already: what their columns mean."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.data.example import TokenizedExample
from burnish.data.reading import cells
from burnish.data.reading.cells import Row
from burnish.data.reading.readers import margin_of, shared_length
from burnish.errors import UserError

MASK_COLUMNS = ("completion_mask", "assistant_masks")
IGNORED_LABEL = -100


def _token_ids(row: Row, column: str) -> list[int]:
    ids = cells.integers(row, column)
    if any(token < 0 for token in ids):
        raise UserError(
            f"token ids are 0 or more, found {min(ids)}",
            where=f"column '{column}'",
            fix=f"mark what is not trained in labels ({IGNORED_LABEL} there), not in {column}",
            reason="token ids below 0",
        )
    return ids


def token_ids(row: Row) -> TokenizedExample:
    """`labels` say what is trained (-100: not); else the masks together; else every token is trained."""
    ids = _token_ids(row, "input_ids")
    trained = [True] * len(ids)
    if row.get("labels") is not None:
        trained = [
            label != IGNORED_LABEL for label in cells.integers(row, "labels", "a list of integers or null")
        ]
    else:
        for name in MASK_COLUMNS:
            if row.get(name) is not None:
                mask = cells.integers(row, name, "a list of integers or null")
                trained = [a and bool(b) for a, b in zip(trained, mask, strict=False)] if len(mask) else []
    if len(trained) != len(ids):
        raise UserError(
            f"{len(ids)} token ids, but {len(trained)} labels or mask values",
            where="column 'input_ids'",
            fix="give every token one label or mask value",
            reason="token ids and labels differ in number",
        )
    return TokenizedExample([], [ids], [trained])


def pair_of_token_ids(row: Row) -> TokenizedExample:
    """`prompt_ids`, or else what both begin with; every token of a completion is trained."""
    chosen, rejected = (_token_ids(row, name) for name in ("chosen_ids", "rejected_ids"))
    if row.get("prompt_ids") is not None:
        prompt = _token_ids(row, "prompt_ids")
    else:
        cut = shared_length(chosen, rejected)
        prompt, chosen, rejected = chosen[:cut], chosen[cut:], rejected[cut:]
    trained = [[True] * len(ids) for ids in (chosen, rejected)]
    return TokenizedExample(prompt, [chosen, rejected], trained, margin_of(row))


def step_token_ids(row: Row) -> TokenizedExample:
    """Steps as token ids: `labels` has 0 or 1 where a step ends, and -100 everywhere else."""
    ids, labels = _token_ids(row, "input_ids"), cells.integers(row, "labels")
    judged = [label for label in labels if label != IGNORED_LABEL]
    if len(labels) != len(ids):
        raise UserError(
            f"{len(ids)} token ids, but {len(labels)} labels",
            where="columns 'input_ids', 'labels'",
            fix="give every token one label",
            reason="token ids and labels differ in number",
        )
    trained = [label != IGNORED_LABEL for label in labels]
    return TokenizedExample([], [ids], [trained], {"labels": [*map(float, judged)]})


def judges_steps(row: Row) -> bool:
    """Whether labels judge some tokens, and are not the tokens themselves."""
    labels = row["labels"]
    if not isinstance(labels, Sequence) or not all(isinstance(label, int | float) for label in labels):
        return False
    return set(labels) <= {IGNORED_LABEL, 0, 1} and not set(labels) <= {IGNORED_LABEL}
