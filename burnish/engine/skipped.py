"""Steps that are not applied leave no trace in logged means and in what is carried from step to step.

A step counts in the base's sum of losses, in the meter and in `Engine.running` before its gradient is known.
Where that is not finite, all three go back to what they were, so one bad step does not spoil what follows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine


class SkippedSteps:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.of_run = 0  # steps that were not applied since training began here
        self._since_log = [0, 0]  # steps applied, and not, since the last log
        self._loss: Tensor | None = None
        self._running: dict[str, float] = {}

    def begin_run(self) -> None:
        self.of_run, self._since_log = 0, [0, 0]

    def begin_step(self) -> None:
        """Remember what there is before a step adds to it."""
        self._loss = self.engine._tr_loss.clone()
        self._running = dict(self.engine.running)

    def end_step(self, applied: bool) -> None:
        """Keep what the step added, or take it back."""
        engine = self.engine
        self._since_log[not applied] += 1
        engine._meter.settle(keep=applied)
        if not applied:
            self.of_run += 1
            engine._tr_loss.copy_(self._loss)
            engine.running = self._running

    def correct(self, logs: dict[str, float]) -> None:
        """Make the losses of a log means over the steps that were applied; not a number where none was.

        The base divides by all steps.
        """
        if "loss" in logs:
            (applied, skipped), self._since_log = self._since_log, [0, 0]
            if skipped:
                logs["loss"] = logs["loss"] * (applied + skipped) / applied if applied else math.nan
            self.engine._tr_loss.zero_()  # the base subtracts it from itself, and inf - inf is not 0
        if "train_loss" in logs and self.of_run:
            steps = self.engine.state.global_step - self.engine._initial_global_step
            applied = steps - self.of_run
            logs["train_loss"] = logs["train_loss"] * steps / applied if applied else math.nan
