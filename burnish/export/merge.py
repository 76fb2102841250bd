"""An adapter and its base as one model, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.errors import UserError
from burnish.export.stack import Stack, load_whole
from burnish.paths import share_weights

SHARD = "5GB"


def merge_adapter(folder: str | Path, output: str | Path, dtype: str | None = None) -> Path:
    """Merge an adapter into its base and save the model, tokenizer, chat template and generation config.

    An adapter on an adapter is merged in the order they were trained. The sum is taken in float32, then
    stored in the base's own dtype, or in `dtype` ("float32", "bfloat16", "float16"). Causal models, reward
    models and process reward models, with their trained heads. Returns `output`; raises `UserError` where
    the folder has no adapter, or `output` holds something already.
    """
    stack = Stack.of(folder)
    if not stack.adapters:
        raise UserError(
            "this folder has no adapter to merge",
            where=str(folder),
            fix="give a folder with an adapter_config.json; for a whole model use `burnish export`",
        )
    with new_folder(output) as partial:
        save_whole(load_whole(stack, dtype), stack.tokenizer(), partial)
    return Path(output)


def save_whole(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write all that the model needs to run elsewhere."""
    settle_generation(model, tokenizer)
    model.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)
    share_weights(folder)


def settle_generation(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let generation stop where training taught it to: at the tokenizer's end token too."""
    config = getattr(model, "generation_config", None)
    if config is None or tokenizer.eos_token_id is None:
        return
    known = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    ends = [token for token in known if token is not None]
    if tokenizer.eos_token_id not in ends:
        ends.append(tokenizer.eos_token_id)
    config.eos_token_id = ends if len(ends) > 1 else ends[0]
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id


def require_free(output: str | Path) -> Path:
    """The path of a folder that is not there yet, or empty. Raises `UserError` where it holds something."""
    path = Path(output).expanduser()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            "there is something here already, and it is not overwritten",
            where=str(path),
            fix="give another --output, or remove it",
        )
    return path


@contextmanager
def new_folder(output: str | Path) -> Iterator[Path]:
    """A folder to write in that becomes `output` at the end, so that there never is a half of it."""
    path = require_free(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    partial.chmod(0o777 & ~_umask())
    try:
        yield partial
        if path.exists():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
