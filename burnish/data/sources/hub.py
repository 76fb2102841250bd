"""Datasets of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import load_dataset

from burnish.errors import UserError

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer before giving up."""


def from_hub(
    name: str,
    config: str | None = None,
    data_files: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    cache_dir: str | None = None,
    streaming: bool = False,
) -> Any:
    """All splits of a dataset: a `DatasetDict`, or an `IterableDatasetDict`. Raises `UserError`."""
    _check_hub(name)
    try:
        return load_dataset(
            name, config, split=None, data_files=data_files, cache_dir=cache_dir, streaming=streaming
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"cannot be loaded from the hub: {reason}", where=name) from error


def _check_hub(name: str) -> None:
    """Ask the hub for the dataset once, with a short timeout: `load_dataset` retries for minutes."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the hub has no dataset of that name for you ({reason})",
            where=name,
            fix="check the name, log in with `hf auth login` if it is private, or give a local file",
        ) from None
    except Exception as error:  # whatever the transport raises
        raise UserError(
            f"no file or folder of that name, and {constants.ENDPOINT} cannot be reached ({error})",
            where=name,
            fix="give a local .jsonl, .json, .csv or .parquet file or a folder; or set HF_HUB_OFFLINE=1 "
            "to use a dataset that was downloaded before",
        ) from None
