"""A run that SIGTERM ended early (`enable_jit_checkpoint`) is not finished, and says so.

The base saves a checkpoint and returns from `train()` as it does at the end, so whatever comes next would
take a model of 59 of 3,000 steps for the trained one.
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer
from transformers.trainer_jit_checkpoint import JITCheckpointCallback

from burnish.errors import UserError


class Termination:
    """Remembers that a checkpoint was written because of SIGTERM."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.step: int | None = None  # of the checkpoint
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, JITCheckpointCallback) and callback.jit_manager is not None:
                self._watch(callback.jit_manager)

    def _watch(self, manager: Any) -> None:
        save = manager.execute_jit_checkpoint

        def saved() -> None:
            save()
            self.step = self.trainer.state.global_step

        manager.execute_jit_checkpoint = saved

    def check(self) -> None:
        """Raises `UserError` if a run ended before its last step because of SIGTERM."""
        if self.step is None:
            return
        step, self.step = self.step, None
        if step < self.trainer.state.max_steps:
            raise UserError(
                f"SIGTERM ended training at step {step} of {self.trainer.state.max_steps}; checkpoint-{step} "
                "is complete, and there is no final model",
                where="enable_jit_checkpoint",
                fix="run the same command again, or train(resume_from_checkpoint=True), to resume from it",
            )
