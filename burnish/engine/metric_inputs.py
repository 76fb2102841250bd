"""What `compute_metrics` is handed, and what is said where it takes that for something else.

No logits are kept, so a language model's predictions are the most likely tokens, each beside the right one.
Functions written for logits take an argmax over a last axis that is not there, or shift once more: the first
breaks, the second gives a wrong number without a sign of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from transformers import EvalPrediction

from burnish.errors import UserError


class Tokens(np.ndarray):
    """int[rows, longest], aligned; refuses an argmax and a shift. `np.asarray` of it is plain."""

    def argmax(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _not_logits("takes an argmax of them", "leave out argmax: predictions are token ids already")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) > 1 and key[-1] in (slice(None, -1), slice(1, None)):
            raise _not_logits(
                f"shifts them ([..., {'1:' if key[-1] == slice(1, None) else ':-1'}])",
                "compare predictions with labels as they are: each prediction stands beside its label",
            )
        found = super().__getitem__(key)
        return found.view(np.ndarray) if isinstance(found, Tokens) else found


def _not_logits(mistake: str, fix: str) -> UserError:
    return UserError(
        f"predictions are the most likely tokens, no logits, and the function {mistake}",
        where="compute_metrics",
        fix=fix,
    )


def explained(compute_metrics: Callable | None, trainer_class: Any) -> Callable | None:
    """The function, with what it was given in its errors. Raises `UserError` where it raises."""
    if compute_metrics is None:
        return None

    @functools.wraps(compute_metrics)
    def metrics(prediction: EvalPrediction, *args: Any, **kwargs: Any) -> Any:
        if trainer_class.predicts_tokens:
            prediction.predictions = _as_tokens(prediction.predictions)
            prediction.label_ids = _as_tokens(prediction.label_ids)
        try:
            return compute_metrics(prediction, *args, **kwargs)
        except UserError:
            raise
        except Exception as error:  # a person's own function raises anything
            shapes = [np.shape(each) for each in (prediction.predictions, prediction.label_ids)]
            given = " ".join((trainer_class.predictions.__doc__ or "").split("\n\n")[0].split())
            raise UserError(
                f"the function raised {type(error).__name__}: {error}",
                where="compute_metrics",
                fix=f"it was given predictions of shape {shapes[0]} and labels of {shapes[1]}. {given}",
            ) from error

    return metrics


def _as_tokens(values: Any) -> Any:
    return values.view(Tokens) if isinstance(values, np.ndarray) else values
