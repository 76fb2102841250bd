"""Weights from a folder or the hub into a model, whole or not at all.

Transformers draws at random what a checkpoint lacks, and leaves out what has no place. Here its own report
decides: nothing may be missing but the head that a reward model is about to be trained with, and what is left
out is said by name.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from burnish.errors import UserError, nearest
from burnish.models.adapter_chain import safetensors_header
from burnish.models.classification import HEADS
from burnish.progress import own_bars

logger = logging.getLogger("burnish")

INDEX = "model.safetensors.index.json"
LANGUAGE_HEADS = ("lm_head", "embed_out", "output")
"""Names of heads over the vocabulary, which a model with a classification head has no place for."""


def read_weights(loader: Any, name: str, kwargs: dict[str, Any], *, new_head: bool) -> PreTrainedModel:
    """`loader.from_pretrained`, with all weights from the checkpoint; a `new_head` is drawn at random.

    Raises `UserError` where weights are missing, have other shapes, or cannot be read.
    """
    try:
        with own_bars():
            model, report = loader.from_pretrained(name, output_loading_info=True, **kwargs)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise not_readable(name, error) from error
    check_report(name, model, report, new_head=new_head)
    return model


def check_report(name: str, model: Any, report: dict[str, Any], *, new_head: bool) -> None:
    """What a checkpoint lacks, or has too much. Raises `UserError`, or says what is left out."""
    missing = {key for key in report["missing_keys"] if not (new_head and key.split(".")[0] in HEADS)}
    unexpected = set(report["unexpected_keys"])
    if missing:
        raise UserError(
            f"the checkpoint lacks {_listed(missing)} of the {len(model.state_dict()):,} tensors of this "
            "model, which would be drawn at random",
            where=name,
            fix=_how_to_complete(missing, unexpected),
        )
    if report["mismatched_keys"]:
        key, found, needed = sorted(report["mismatched_keys"])[0]
        raise UserError(
            f"{key} has the shape {list(found)}, and {list(needed)} is needed; it would be drawn at random",
            where=name,
            fix="give a config.json that fits the weights, and leave out ignore_mismatched_sizes",
        )
    if new_head:
        unexpected = {key for key in unexpected if key.split(".")[0] not in LANGUAGE_HEADS}
    if unexpected:
        logger.warning("%s: not loaded, as the model has no place for it: %s", name, _listed(unexpected))


def _how_to_complete(missing: Collection[str], unexpected: Collection[str]) -> str:
    for key in unexpected:
        for lost in missing:
            if key.endswith(f".{lost}"):
                prefix = key.removesuffix(lost)
                return f"take '{prefix}' off the names: the checkpoint has the tensor as {key}"
    if any(key.split(".")[0] in HEADS for key in unexpected):
        return "this is a model with a classification head: give the language model that it was made from"
    if all(key.split(".")[0] in HEADS for key in missing):
        return "the head is missing: give the model that training saved, or the language model under it"
    return (
        "give a complete checkpoint, as `save_pretrained` writes it, with the config.json that belongs to it"
    )


def _listed(keys: Collection[str]) -> str:
    """`lm_head.weight`, or `14 tensors (a, b, c ...)`."""
    names = sorted(keys)
    if len(names) == 1:
        return names[0]
    return f"{len(names):,} tensors ({', '.join(names[:3])}{' ...' * (len(names) > 3)})"


def read_config(name: str, **kwargs: Any) -> Any:
    """The config of a model. Raises `UserError` where there is none, or one that cannot be."""
    try:
        config = AutoConfig.from_pretrained(name, **kwargs)
        text = config.get_text_config()
    except Exception as error:  # configs are written by hand, and raise what they like
        raise not_readable(name, error) from error
    for option in ("hidden_size", "num_hidden_layers", "vocab_size"):
        value = getattr(text, option, None)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(
                f"{option} is {value!r}",
                where=str(Path(name) / "config.json"),
                fix="write a whole number from 1",
            )
    return config


def not_readable(name: str, error: Exception) -> UserError:
    """What is wrong with a model that could not be loaded: its files first, then what the loader said."""
    path = Path(name).expanduser()
    said = first_line(error)
    if path.is_dir():
        if (found := faulty_file(path)) is not None:
            return found
        return UserError(
            f"the folder holds no model that can be read ({said})", where=name, fix=_fix_of(error, path)
        )
    if isinstance(error, ImportError):
        return UserError(said, where=name, fix="install the package that it names")
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
    return UserError(
        f"no such model: there is no such folder, and the hub did not give it ({said}).{near}",
        where=name,
        fix="check the spelling of the folder, or go online for a model on the hub",
    )


def _fix_of(error: Exception, path: Path) -> str:
    if isinstance(error, ImportError):
        return "install the package that it names"
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "such a pickle would run code, which is refused: get model.safetensors from whoever made it"
    if any(path.glob("*.safetensors")):
        return "give a config.json and weights that belong together, as `save_pretrained` writes them"
    return "give a folder with a config.json and weights, as `save_pretrained` writes it"


def faulty_file(folder: Path) -> UserError | None:
    """The first file of a model's folder that is damaged, or named and not there."""
    for name in ("config.json", INDEX, "generation_config.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            return UserError(
                f"this is not JSON ({first_line(error)})",
                where=str(folder / name),
                fix="copy or download it again",
            )
        if not isinstance(found, dict):
            return UserError(
                "this is no JSON object", where=str(folder / name), fix="copy or download it again"
            )
        if name == INDEX and (lost := _lost_shard(folder, found)):
            return lost
    for path in sorted(folder.glob("*.safetensors")):
        try:
            safetensors_header(path)
        except UserError as error:
            return error
    return None


def _lost_shard(folder: Path, index: dict[str, Any]) -> UserError | None:
    shards: Sequence[str] = sorted({str(shard) for shard in (index.get("weight_map") or {}).values()})
    lost = [shard for shard in shards if not (folder / shard).is_file()]
    if not lost:
        return None
    return UserError(
        f"{len(lost)} of {len(shards)} files of weights are not there, the first is {lost[0]}",
        where=str(folder / INDEX),
        fix="copy or download them again",
    )


def first_line(error: Exception) -> str:
    """What an error says, in a line, without advice to trust pickles."""
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "its weights are a pickle with more in it than tensors"
    said = str(error).strip().split("\n")[0][:160]
    return (
        said if isinstance(error, OSError | ValueError | ImportError) else f"{type(error).__name__}: {said}"
    )
