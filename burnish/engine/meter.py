"""Adds up metrics between two logs, on the device, reduced over ranks once, when a log is written."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate import Accelerator
from accelerate.utils import gather_object

from burnish.losses.output import Extreme, Metric, Sum


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
        found, self._metrics = self._metrics, {}
        if accelerator.num_processes > 1:  # some may be of one rank alone, as where another ran out of rows
            parts = gather_object([{name: metric.cpu() for name, metric in found.items()}])
            found = {}
            for metrics in parts:
                _add(found, metrics)
        return {name: float(found[name].value()) for name in sorted(found) if _counted(found[name])}


def _add(metrics: dict[str, Metric], more: Mapping[str, Metric]) -> None:
    for name, metric in more.items():
        metrics[name] = metrics[name] + metric if name in metrics else metric  # type: ignore[operator]


def _counted(metric: Metric) -> bool:
    if isinstance(metric, Sum):
        return all(map(_counted, metric.terms))
    return isinstance(metric, Extreme) or bool(metric.count != 0)
