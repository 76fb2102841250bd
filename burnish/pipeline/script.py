"""The arguments that say which rows to train on; scripts and stages share them."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.engine.compat import apply_compat, refused
from burnish.options import described


@dataclass
class ScriptArguments:
    """The dataset of a script or a stage."""

    dataset_name: str | None = described(None, "Rows to train on: a file, a folder, or an id on the hub.")
    dataset_config: str | None = described(None, "Name of the dataset's configuration, where it has several.")
    dataset_train_split: str = described("train", "Split to train on.")
    dataset_test_split: str = described("test", "Split to evaluate on, where eval_strategy is not 'no'.")
    eval_dataset_name: str | None = described(
        None,
        "Rows to evaluate on, where they are no split of dataset_name. Evaluated after training at least.",
    )
    dataset_streaming: bool = refused(False, "rows are prepared before training, not while it runs")
    ignore_bias_buffers: bool = refused(False, "it works around a fault of old models only")

    def __post_init__(self) -> None:
        apply_compat(self)
