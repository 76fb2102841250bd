"""The arguments that say which rows to train on; scripts and stages share them."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.data.sources.mixture import Entry
from burnish.engine.compat import apply_compat, refused
from burnish.errors import UserError
from burnish.options import described
from burnish.pipeline.unknown import KnownOptions


@dataclass
class ScriptArguments(KnownOptions):
    """The dataset of a script or a stage."""

    dataset_name: list[str] | str | None = described(
        None,
        "Rows to train on: a file, a folder, a pattern, or an id on the hub; several are mixed. "
        "rows.jsonl#500 takes 500 of them, rows.jsonl:0.5 a half.",
    )
    dataset_config: str | None = described(None, "Name of the dataset's configuration, where it has several.")
    dataset_train_split: str = described("train", "Split to train on.")
    dataset_test_split: str = described("test", "Split to evaluate on, where eval_strategy is not 'no'.")
    datasets: list[dict] | None = described(
        None,
        "Several sources, in place of dataset_name: {path, name, split, data_files, columns, weight} each. "
        "The weight is how many times a source's rows are in an epoch; a fraction, in its place, is its "
        "share of all rows.",
    )
    eval_dataset_name: list[str] | str | None = described(
        None,
        "Rows to evaluate on, where they are no split of dataset_name. Evaluated after training at least.",
    )
    test_split_size: float | None = described(
        None,
        "Hold out so many rows to evaluate on, a share below 1 or a number. Rows with the same prompt stay "
        "together.",
    )
    dataset_streaming: bool = described(
        False, "Read, check and tokenize rows while training runs; needs max_steps."
    )
    ignore_bias_buffers: bool = refused(False, "it works around a fault of old models only")

    def __post_init__(self) -> None:
        apply_compat(self)
        if self.dataset_name is not None and self.datasets is not None:
            raise UserError(
                "both dataset_name and datasets are given", where="datasets", fix="give one of them"
            )
        if self.eval_dataset_name is not None and self.test_split_size is not None:
            raise UserError(
                "both eval_dataset_name and test_split_size are given",
                where="test_split_size",
                fix="evaluate on rows of their own, or on a part that is held out",
            )
        if self.dataset_streaming and self.test_split_size is not None:
            raise UserError(
                "a stream cannot be split by prompt: its rows are not known before training",
                where="test_split_size",
                fix="give eval_dataset_name, or leave out dataset_streaming",
            )

    def sources(self) -> list[Entry]:
        """What to train on. Raises `UserError`."""
        return entries(self.dataset_name if self.datasets is None else self.datasets)

    def evaluation(self) -> list[Entry]:
        """Rows of their own to evaluate on; none, where none are named."""
        return entries(self.eval_dataset_name)


def entries(names: list | str | None) -> list[Entry]:
    given = names if isinstance(names, list) else [names]
    return [Entry.of(each) for each in given if each is not None]
