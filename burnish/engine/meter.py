"""Adds up metrics between two logs, on the device, reduced over ranks once, when a log is written."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator

from burnish.losses.output import Extreme, Mean, Metric, Sum


class Meter:
    """What is added waits until `settle` says whether it counts; a read counts what waits."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._waiting: dict[str, Metric] = {}

    def add(self, metrics: Mapping[str, Metric]) -> None:
        _add(self._waiting, {name: metric.detach() for name, metric in metrics.items()})

    def settle(self, keep: bool) -> None:
        """Count what was added since the last call, or drop it."""
        if keep:
            _add(self._metrics, self._waiting)
        self._waiting = {}

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """The value of every metric since the last read, over all ranks; starts anew.

        One for which nothing was counted (the rewards of a class that no row was of) is left out.
        """
        self.settle(keep=True)
        metrics, self._metrics = self._metrics, {}
        names = sorted(metrics)  # the same order on every rank
        if accelerator.num_processes > 1:
            metrics = {name: _reduced(metrics[name], accelerator) for name in names}
        return {name: float(metrics[name].value()) for name in names if _counted(metrics[name])}


def _add(metrics: dict[str, Metric], more: Mapping[str, Metric]) -> None:
    for name, metric in more.items():
        metrics[name] = metrics[name] + metric if name in metrics else metric  # type: ignore[operator]


def _counted(metric: Metric) -> bool:
    if isinstance(metric, Sum):
        return all(map(_counted, metric.terms))
    return isinstance(metric, Extreme) or bool(metric.count != 0)


def _reduced(metric: Metric, accelerator: Accelerator) -> Metric:
    if isinstance(metric, Sum):
        return Sum(tuple(_reduced_mean(term, accelerator) for term in metric.terms))
    if isinstance(metric, Extreme):
        return Extreme(accelerator.gather(metric.signed[None]).max(), metric.sign)
    return _reduced_mean(metric, accelerator)


def _reduced_mean(metric: Mean, accelerator: Accelerator) -> Mean:
    total, count = accelerator.reduce(torch.stack([metric.total, metric.count.to(metric.total)]), "sum")
    return Mean(total, count)
