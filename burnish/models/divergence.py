"""`divergence`: how far a student is from its teacher at the trained tokens, over the whole vocabulary.

Both backbones run on the forest; kept are their hidden states at the trained tokens. Then a tile of the
student's logits meets the same tile of the teacher's, gives its values and their gradient, and is gone
(`tiles.py`). Neither model's full logits ever exist, and the teacher needs no more than a forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.forward import Hidden
from burnish.models.head import Head, language_head
from burnish.models.score import Details
from burnish.models.tiles import SOFTMAX_ROWS, Tile, accurate, make_tile, read_tiles

Measure = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Log-probabilities of student and teacher, float[n, V] each -> values float[n], and their gradient by the
student's logits float[n, V]."""


@dataclass(frozen=True)
class Divergences:
    """Per trained token, in the order of `Forest.target`."""

    value: Tensor  # float[N]
    details: Details | None = None  # of the student, as it is compared


class Predictions(NamedTuple):
    """What a model says at the trained tokens: `head.logits(states)`, which is not computed."""

    states: Tensor  # float[N, D]
    head: Head

    def as_compared(self, vocabulary: int, temperature: float) -> Predictions:
        """Over the first tokens of the vocabulary, with logits divided by `temperature`."""
        head = self.head if self.size == vocabulary else self.head.first(vocabulary)
        return Predictions(self.states, head.tempered(temperature))

    @property
    def size(self) -> int:
        """V, the tokens it can say."""
        return self.head.weight.shape[0]


def divergence(
    student: nn.Module,
    teacher: nn.Module,
    forest: Forest,
    measure: Measure,
    *,
    temperature: float = 1.0,
    details: bool = False,
) -> Divergences:
    """What `measure` says of the trained tokens of `forest`, with gradient for the student.

    Both models run forests (`forward.attach`). Logits are divided by `temperature` first. Where one of them
    has more of these than the other, which are paddings of its table, the tokens are compared that both have.
    `details` adds the student's entropy and top-1 tokens, at this temperature.
    """
    with torch.no_grad():
        target = teacher(forest=forest, read=_read_predictions)
    read = partial(
        _read_divergences, target=target, measure=measure, temperature=temperature, details=details
    )
    return student(forest=forest, read=read)


def _read_predictions(model: nn.Module, hidden: Hidden) -> Predictions:
    forest = hidden.forest
    return Predictions(hidden.states[forest.parent[forest.target]], language_head(model))


def _read_divergences(
    model: nn.Module,
    hidden: Hidden,
    target: Predictions,
    measure: Measure,
    temperature: float,
    details: bool,
) -> Divergences:
    own = _read_predictions(model, hidden)
    vocabulary = min(own.size, target.size)
    student, teacher = (each.as_compared(vocabulary, temperature) for each in (own, target))
    return compared(student, teacher, measure, details)


def compared(
    student: Predictions, teacher: Predictions, measure: Measure, details: bool = False
) -> Divergences:
    """Predictions of the same tokens over the same vocabulary -> what `measure` says of them."""
    like = student.states.new_empty(0, dtype=accurate(student.states))
    found = Details.empty(len(student.states), like) if details else None
    value = read_tiles(
        student.states,
        student.head,
        partial(_against, teacher, measure),
        uniform=True,
        watch=found.fill if found is not None else None,
        logits_per_token=student.size + teacher.size,
    )
    return Divergences(value, found)


def _against(
    teacher: Predictions, measure: Measure, part: slice, tile: Tile, differentiate: bool
) -> tuple[Tensor, Tensor | None]:
    """A few rows at a time, so that what `measure` makes of them is small; the gradient takes their place."""
    target = make_tile(teacher.states[part], teacher.head).logprobs.to(tile.logprobs.dtype)
    values = []
    for own, other in zip(tile.logprobs.split(SOFTMAX_ROWS), target.split(SOFTMAX_ROWS), strict=True):
        value, gradient = measure(own, other)
        values.append(value)
        own.copy_(gradient)
    return torch.cat(values), tile.logprobs if differentiate else None
