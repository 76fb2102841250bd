"""What every objective returns: sums with their counts, divided once, at the end.

A mean of means is wrong as soon as two batches hold different numbers of things. So losses and
metrics travel as `Mean(total, count)`, are added over micro-batches and ranks, and are divided when
they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from burnish.errors import UserError


@dataclass(frozen=True)
class Mean:
    """A sum and what divides it. Two of them add; `value()` divides."""

    total: Tensor  # float[]
    count: Tensor  # float[]

    @staticmethod
    def of(values: Tensor, weight: Tensor | None = None) -> Mean:
        """The mean of `values` (any shape), weighted by `weight` of the same shape where given."""
        if weight is None:
            return Mean(values.sum(), values.new_tensor(float(values.numel())))
        weight = weight.to(values.dtype)
        # A zero weight must silence a value that is not finite, and 0 * inf is not 0.
        return Mean((values.where(weight != 0, 0) * weight).sum(), weight.sum())

    @staticmethod
    def ratio(total: Tensor, count: Tensor | float) -> Mean:
        """A sum that is already taken, and its count."""
        return Mean(total, torch.as_tensor(count, dtype=total.dtype, device=total.device))

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.count + other.count)

    def __mul__(self, weight: float) -> Mean:
        return Mean(self.total * weight, self.count)

    def detach(self) -> Mean:
        return Mean(self.total.detach(), self.count.detach())

    def cpu(self) -> Mean:
        return Mean(self.total.cpu(), self.count.cpu())

    def value(self) -> Tensor:  # float[]
        """`total / count`; not a number where nothing was counted."""
        return self.total / self.count


@dataclass(frozen=True)
class Sum:
    """Several means, each with its own count: a mean over pairs plus one over tokens. Two of them add."""

    terms: tuple[Mean, ...]

    def __add__(self, other: Sum) -> Sum:
        return Sum(tuple(a + b for a, b in zip(self.terms, other.terms, strict=True)))

    def detach(self) -> Sum:
        return Sum(tuple(term.detach() for term in self.terms))

    def cpu(self) -> Sum:
        return Sum(tuple(term.cpu() for term in self.terms))

    def value(self) -> Tensor:  # float[]
        return torch.stack([term.value() for term in self.terms]).sum()


@dataclass(frozen=True)
class Extreme:
    """The largest value seen (`sign` 1) or the smallest (`sign` -1). Two of them add to the further one."""

    signed: Tensor  # float[], value times sign
    sign: int

    @staticmethod
    def most(values: Tensor) -> Extreme:
        return Extreme(values.max(), 1)

    @staticmethod
    def least(values: Tensor) -> Extreme:
        return Extreme(-values.min(), -1)

    def __add__(self, other: Extreme) -> Extreme:
        return Extreme(torch.maximum(self.signed, other.signed), self.sign)

    def detach(self) -> Extreme:
        return Extreme(self.signed.detach(), self.sign)

    def cpu(self) -> Extreme:
        return Extreme(self.signed.cpu(), self.sign)

    def value(self) -> Tensor:  # float[]
        return self.signed * self.sign


Metric = Mean | Sum | Extreme


@dataclass(frozen=True)
class LossOutput:
    """The loss of one forest, to be summed over a step and divided by the step's counts; and its metrics."""

    loss: Mean | Sum
    metrics: dict[str, Metric] = field(default_factory=dict)

    @property
    def terms(self) -> tuple[Mean, ...]:
        """What the loss adds up, in the order of `Engine.counts`."""
        return self.loss.terms if isinstance(self.loss, Sum) else (self.loss,)


def one_each(values: object, of: Tensor, what: str) -> Tensor:
    """`values` of a loss, one number for each of `of`. Raises `UserError` for a mean over them, say.

    Means are taken over a whole step, which is cut into micro-batches; a mean of one of them would weigh its
    items by the cut.
    """
    if isinstance(values, Tensor) and values.shape == of.shape:
        return values
    found = f"a tensor of shape {list(values.shape)}" if isinstance(values, Tensor) else repr(values)
    raise UserError(
        f"the loss gives {found} for {of.numel()} {what}s",
        where="loss",
        fix=f"return one number per {what}, without .mean() or .sum(): the mean over the step is taken later",
    )
