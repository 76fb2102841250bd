"""Experiment trackers that transformers writes to (`report_to`): known and installed, or refused at once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from burnish.errors import UserError, nearest

TRACKERS = {
    "wandb": ("wandb", "wandb"),
    "trackio": ("trackio", "trackio"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "azure_ml": ("azureml", "azureml-core"),
    "clearml": ("clearml", "clearml"),
    "codecarbon": ("codecarbon", "codecarbon"),
    "comet_ml": ("comet_ml", "comet-ml"),
    "dagshub": ("dagshub", "dagshub"),
    "dvclive": ("dvclive", "dvclive"),
    "flyte": ("flytekit", "flytekit"),
    "neptune": ("neptune", "neptune"),
    "swanlab": ("swanlab", "swanlab"),
}
"""What `report_to` may name: the module it needs, and the package that brings it."""

WITHOUT_PACKAGE = ("none", "all", "kubeflow")


def check_trackers(names: str | Sequence[str] | None) -> None:
    """Refuse a tracker that is not known, or whose package is missing. Raises `UserError`."""
    for name in [names] if isinstance(names, str) else names or []:
        if name in WITHOUT_PACKAGE:
            continue
        if name not in TRACKERS:
            raise UserError(
                f"there is no tracker {name!r}.{nearest(name, TRACKERS)}",
                where="report_to",
                fix=f"one of {', '.join(TRACKERS)}, or none",
            )
        module, package = TRACKERS[name]
        if find_spec(module) is None:
            raise UserError(
                f"{name} needs a package that is not installed",
                where="report_to",
                fix=f"pip install {package}, or leave out report_to: metrics.jsonl has every log",
            )
