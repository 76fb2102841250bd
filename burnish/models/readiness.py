"""The state in which a model of the user's runs forests, and the way back.

While it trains a model has another forward (`forward.py`), working copies (`precision.py`), leaner norms
(`fused.py`) and, where it is asked for, no dropout. Afterwards it is what transformers would have left, to
generate with, to save, wrap and copy, and to train again with another trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import nn

from burnish.models.forward import attach, detach, inner_model
from burnish.models.fused import unfuse
from burnish.models.noise import Silenced, noise
from burnish.models.precision import compute_in
from burnish.models.tiers import Tier

Lifted = Sequence[tuple[nn.Parameter, torch.dtype]]
"""Trained weights that are stored in float32 for training, with the dtype that they had."""


class Readiness:
    """Puts a model into that state and takes it out again, as often as it is needed."""

    def __init__(
        self,
        model: nn.Module,
        tier: Tier,
        dtype: torch.dtype | None,
        *,
        dropout: bool = True,
        lifted: Lifted = (),
    ) -> None:
        """`model` may be attached and fused already. `lifted` are weights that a plain forward takes in their
        own dtype only: they go back to it."""
        self.model, self.tier, self.dtype, self.lifted = model, tier, dtype, lifted
        self._dropout = dropout
        self._fused = [(m, m.forward) for m in model.modules() if getattr(m, "is_fused", False)]
        self._silenced: Silenced | None = None
        self.is_on = False

    def take_on(self) -> None:
        if self.is_on:
            return
        self.is_on = True
        detach(self.model)
        for parameter, _ in self.lifted:
            parameter.data = parameter.data.float()
        for module, forward in self._fused:
            module.forward, module.is_fused = forward, True  # type: ignore[assignment]
        if not self._dropout:
            self._silenced = Silenced(noise(self.model))
        attach(self.model, self.tier)
        compute_in(inner_model(self.model), self.dtype, plain=bool(self.lifted))

    def take_off(self) -> None:
        if not self.is_on:
            return
        self.is_on = False
        compute_in(inner_model(self.model), None)
        detach(self.model)
        unfuse(self.model)
        if self._silenced is not None:
            self._silenced.remove()
        for parameter, dtype in self.lifted:
            parameter.data, parameter.grad = parameter.data.to(dtype), None

    @contextmanager
    def for_now(self) -> Iterator[None]:
        """Within this context the model runs forests; afterwards it is as it was."""
        was_on = self.is_on
        self.take_on()
        try:
            yield
        finally:
            if not was_on:
                self.take_off()

    @contextmanager
    def as_configured(self) -> Iterator[None]:
        """Within this context dropout is what the model's config said, which is about to be saved."""
        handles = getattr(inner_model(self.model), "_forest_handles", [])
        silenced = [each for each in (*handles, self._silenced) if isinstance(each, Silenced)]
        for each in silenced if self.is_on else ():
            each.remove()
        try:
            yield
        finally:
            for each in silenced if self.is_on else ():
                each.silence()


class ReadyModels:
    """The models of a trainer: the trained one, and those beside it."""

    def __init__(self, model: nn.Module, get_ready: Callable[[], object]) -> None:
        """`get_ready` prepares `model` at its first call, adds it, and takes on the state of all."""
        self.model, self.get_ready = model, get_ready
        self._models: list[Readiness] = []
        self._at_work = False

    def add(self, model: Readiness) -> None:
        self._models.append(model)

    def take_on(self) -> None:
        for each in self._models:
            each.take_on()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within this context they are ready for forests; afterwards they are the user's again."""
        if self._at_work:
            yield
            return
        self._at_work = True
        try:
            self.get_ready()
            yield
        finally:
            self._at_work = False
            _leave(self.model)  # where its preparation failed
            for each in self._models:
                each.take_off()

    def for_now(self) -> AbstractContextManager[None]:
        """`at_work` for who asks a model between times; nothing where they are ready."""
        ready = self._models and all(each.is_on for each in self._models)
        return nullcontext() if ready else self.at_work()

    @contextmanager
    def as_configured(self) -> Iterator[None]:
        with ExitStack() as stack:
            for each in self._models:
                stack.enter_context(each.as_configured())
            yield


def _leave(model: nn.Module) -> None:
    compute_in(inner_model(model), None)
    detach(model)
    unfuse(model)
