"""A model that is compared: found, checked, loaded when it is asked, and freed.

A candidate is a folder (a whole model, or an adapter with its base) or a hub id. Its content is named by the
hash of its files, so that answers can be kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from burnish.data.example import Example
from burnish.errors import UserError, nearest
from burnish.evaluation.reward_model import default_device
from burnish.export.stack import Stack, load_whole
from burnish.models.hub import hub_within_reach
from burnish.models.load import load_model
from burnish.models.memory import give_back
from burnish.models.precision import fast_bfloat16

Models = Sequence[str | Path] | Mapping[str, str | Path]
"""Folders or hub ids; a mapping gives them names."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")


@dataclass(frozen=True)
class Candidate:
    name: str
    path: str
    stack: Stack
    tokenizer: PreTrainedTokenizerBase
    config: Any
    content: str | None  # the hash of all files; None: a model of the hub

    @property
    def positions(self) -> int | None:
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    def knows(self, example: Example) -> bool:
        """Whether the prompt can be asked as it is: a chat needs a chat template."""
        return bool(self.tokenizer.chat_template) or not example.is_chat

    @contextmanager
    def loaded(self, dtype: str = "auto", device: str | torch.device | None = None) -> Iterator[Any]:
        """The model, in evaluation mode and without gradients; its memory is given back afterwards."""
        where = torch.device(device) if device is not None else default_device()
        model: Any = self.load(dtype, where)
        try:
            yield model
        finally:
            del model
            give_back()

    def load(self, dtype: str = "auto", device: torch.device | None = None) -> Any:
        """Adapters are merged. `auto` is the dtype of the files, or float32 where 16 bits are slow."""
        device = device or default_device()
        if dtype == "auto" and not fast_bfloat16(device):
            dtype = "float32"
        with hub_within_reach(self.stack.base):
            if self.stack.adapters:
                model: Any = load_whole(self.stack, None if dtype == "auto" else dtype)
            else:
                model = load_model(self.path, "causal", trained=False, dtype=dtype)
        return model.requires_grad_(False).eval().to(device)


def candidates(models: Models) -> list[Candidate]:
    """Every model found and checked before one of them is loaded. Raises `UserError`."""
    named = isinstance(models, Mapping)
    paths = [str(path) for path in (models.values() if isinstance(models, Mapping) else models)]
    names = list(models) if named else distinct_names(paths)
    return [find(str(name), path) for name, path in zip(names, paths, strict=True)]


def find(name: str, path: str) -> Candidate:
    """Raises `UserError` where there is no such model, at once where it can be no hub id."""
    folder = Path(path).expanduser()
    near = nearest(
        folder.name, [each.name for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
    )
    if not folder.is_dir() and not HUB_ID.fullmatch(path):
        raise UserError(
            f"there is no such folder.{near}",
            where=path,
            fix="give the folder of a model or an adapter, as a run leaves it",
        )
    try:
        with hub_within_reach(path):
            stack = Stack.of(path)
    except UserError as error:
        if folder.is_dir():
            raise
        raise UserError(
            f"there is no such folder, and no model of that name on the hub or in its cache.{near}",
            where=path,
            fix="check the spelling, or the way to the hub",
        ) from error
    with hub_within_reach(stack.base):
        tokenizer, config = stack.tokenizer(), stack.config()
    if stack.task != "causal":
        raise UserError(
            "it gives a number and no text: a reward model",
            where=path,
            fix="give models that generate; --reward takes a reward model to judge them",
        )
    return Candidate(name, path, stack, tokenizer, config, content_of(stack))


def distinct_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, with as many before it as tell them apart."""
    parts = [Path(path).parts or (path,) for path in paths]
    for count in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(paths, start=1)]


# Content


def content_of(stack: Stack) -> str | None:
    """The hash of a model's files, an adapter's with those of what it stands on."""
    folders = [Path(stack.base).expanduser(), *stack.adapters]
    if not folders[0].is_dir():
        return None
    return hashlib.sha256(" ".join(map(folder_hash, folders)).encode()).hexdigest()


FILES = ("*.safetensors", "*.bin", "*.json", "*.model", "*.txt", "*.jinja", "*.py")
NOT_OF_THE_MODEL = frozenset({"trainer_state.json", "preparation.json", "run.json", "comparison.json"})


def folder_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of the files that a model is loaded from."""
    digest = hashlib.sha256()
    found = {file for pattern in FILES for file in folder.glob(pattern) if file.is_file()}
    for file in sorted(found):
        if file.name not in NOT_OF_THE_MODEL:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(f"{file.name} {content}\n".encode())
    return digest.hexdigest()
