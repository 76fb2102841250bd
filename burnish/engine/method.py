"""The contract of a method: what a trainer says of itself, and the engine asks it (`trainer.py`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import Trainer

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.engine import assembly
from burnish.engine.arguments import full_signature
from burnish.engine.config import EngineConfig
from burnish.errors import UserError
from burnish.losses.output import LossOutput
from burnish.models.load import Task


class Method(Trainer):
    """A loss and what it is computed from. Made whole by `Engine`."""

    config_class: ClassVar[type[EngineConfig]] = EngineConfig
    task: ClassVar[Task] = "causal"
    predicts_tokens: ClassVar[bool] = False  # whether `predictions` are token ids
    read_row: ClassVar[Any]  # a dataset row (a mapping) -> Example or TokenizedExample

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(cls.__mro__[: cls.__mro__.index(Method)])

    def setup(self) -> None:
        """Take the method's own arguments."""

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        """The loss and metrics of a forest, as sums and counts."""
        raise NotImplementedError

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        """What an example adds to the number of things that each term of the loss is a mean over."""
        return (1,)

    def survey(self, model: nn.Module, examples: list[TokenizedExample]) -> list[TokenizedExample]:
        """The examples of a step with the columns that depend on all of them, as a KL does (`survey.py`).

        Runs before the gradient pass and without gradient. An evaluation set is surveyed as one step.
        """
        return examples

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """What `compute_metrics` gets of a forest: predictions and labels, a row per example."""
        raise UserError(
            f"{type(self).__name__} has no predictions", where="compute_metrics", fix="leave it out"
        )

    @classmethod
    def preparation(cls, args: EngineConfig) -> dict[str, Any]:
        """Options of the data preparation that differ from the shared ones."""
        return {}

    @classmethod
    def reads(cls, args: EngineConfig) -> Any:
        """What reads a row, where it depends on the options."""
        return cls.read_row

    def completed(self, dataset: Any) -> Any:
        """Prepared rows with the columns that only the model can add."""
        return dataset

    def bind(self, loss: Callable) -> Callable:
        """A loss with its keyword arguments filled from the config by name."""
        options = [n for n, p in inspect.signature(loss).parameters.items() if p.default is not p.empty]
        return partial(
            loss, **{name: getattr(self.args, name) for name in options if hasattr(self.args, name)}
        )

    def also(
        self, model: Any, name: str = "ref_model", options: str = "model_init_kwargs"
    ) -> nn.Module | None:
        """A second model (see `second_model`), by name or loaded, ready for forests on the same device."""
        return None if model is None else assembly.second_model(model, self, name, options)
