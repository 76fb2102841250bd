"""The arguments that say which rows to train on; scripts and stages share them."""

from __future__ import annotations

from dataclasses import dataclass, field

from burnish.engine.compat import apply_compat, refused


@dataclass
class ScriptArguments:
    """The dataset of a script or a stage."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Rows to train on: a file, a folder, or a dataset id on the hub."}
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Name of the dataset's configuration, where it has several."}
    )
    dataset_train_split: str = field(default="train", metadata={"help": "Split to train on."})
    dataset_test_split: str = field(
        default="test", metadata={"help": "Split to evaluate on, read when eval_strategy is not 'no'."}
    )
    dataset_streaming: bool = refused(False, "rows are prepared before training, not while it runs")
    ignore_bias_buffers: bool = refused(False, "it works around a fault of old models only")

    def __post_init__(self) -> None:
        apply_compat(self)
