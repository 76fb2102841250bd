"""Process reward modeling: is a step of a solution right, as far as it goes (arXiv:2305.20050)?

The prompt and all steps are one text, of which the token at the end of every step is judged. Loads and saves
as `AutoModelForTokenClassification` with two labels, wrong and right.

Use where solutions have steps and it matters which of them goes wrong, as in mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.reading.family import Family
from burnish.data.reading.formats import STEPWISE
from burnish.data.reading.readers import STEP_END
from burnish.data.reading.variants import steps_ending_in
from burnish.engine.compat import PRMTrlOptions
from burnish.engine.config import ScoringConfig
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.losses.output import LossOutput, Mean
from burnish.losses.steps import step_cross_entropy, step_metrics
from burnish.models.classification import trained_logits
from burnish.models.forward import inner_model
from burnish.options import described

LABELS = {0: "wrong", 1: "right"}


@dataclass
class PRMConfig(PRMTrlOptions, ScoringConfig):
    """Options of `PRMTrainer`."""

    learning_rate: float = described(1e-5, "The initial learning rate.")
    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    step_separator: str = described("\n", "Stands after every step, which is judged where it ends.")
    train_on_last_step_only: bool = described(False, "Judge the last step alone, as of an outcome.")

    def head_kwargs(self) -> dict[str, Any]:
        return {
            "num_labels": len(LABELS),
            "id2label": LABELS,
            "label2id": {name: label for label, name in LABELS.items()},
        }


class PRMTrainer(Engine):
    """Trains a process reward model on rows with `prompt`, `completions` (steps) and `labels`."""

    config_class = PRMConfig
    task = "steps"
    read_row = STEPWISE

    @classmethod
    def reads(cls, args: PRMConfig) -> Family:
        separator, last_only = args.step_separator, args.train_on_last_step_only
        return (
            steps_ending_in(separator, last_only) if (separator, last_only) != (STEP_END, False) else STEPWISE
        )

    def setup(self) -> None:
        found = inner_model(self.model).config.num_labels
        if found != len(LABELS):
            raise UserError(
                f"the model's head has {found} labels, and 2 are needed: wrong and right",
                where="model",
                fix="load it with AutoModelForTokenClassification and num_labels=2",
            )

    def counts(self, example: TokenizedExample) -> tuple[int, ...]:
        return (len(example.columns["labels"]),)

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        logits = trained_logits(model, forest)
        labels = forest.numbers("labels", logits)
        return LossOutput(Mean.of(step_cross_entropy(logits, labels)), step_metrics(logits, labels))

    def predictions(self, model: nn.Module, forest: Forest) -> tuple[Tensor, Tensor]:
        """Probabilities that steps are right, and labels: float[rows, most steps], filled up with -100."""
        logits = trained_logits(model, forest)
        labels = forest.numbers("labels", logits)
        right = logits.softmax(-1)[:, 1]
        return by_row(forest, right), by_row(forest, labels)


def by_row(forest: Forest, values: Tensor) -> Tensor:  # float[N] -> float[E, most]
    sizes = forest.branch[forest.trained].bincount(minlength=forest.branches).tolist()
    return nn.utils.rnn.pad_sequence(list(values.split(sizes)), batch_first=True, padding_value=-100.0)
