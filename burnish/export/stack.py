"""What a model folder is made of: a base, and the adapters on top of it, each with its place.

    runs/dpo (adapter) -> runs/sft (adapter) -> SmolLM2-135M (weights)

`load_whole` puts it together as one model without adapters, exactly: in float32, each adapter added to the
weights it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from burnish.errors import UserError, nearest
from burnish.models.adapter_chain import ADAPTER, AdapterChain, chain_of
from burnish.models.checkpoint import first_line
from burnish.models.load import TASK_TYPES, Task, load_model, load_tokenizer, of_base
from burnish.models.merged import cast, merged

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Stack:
    """A model folder with what it is for; its adapters, the one next to the base first, stand in `chain`."""

    folder: str
    chain: AdapterChain
    task: Task

    @staticmethod
    def of(folder: str | Path) -> Stack:
        """Follow the adapters of a folder down to the base. Raises `UserError` where they lead nowhere."""
        chain = chain_of(folder)
        base = chain.base
        if not chain.adapters and not (Path(base).expanduser().is_dir() or _is_an_id(base)):
            raise UserError("there is no such model folder", where=base, fix="check the path")
        return Stack(str(folder), chain, _task(chain))

    @property
    def base(self) -> str:
        return self.chain.base

    @property
    def adapters(self) -> tuple[Path, ...]:
        return self.chain.adapters

    @property
    def stored_dtype(self) -> torch.dtype:
        """What the base's weights are stored in."""
        dtype = self.config().get_text_config().dtype
        return dtype if isinstance(dtype, torch.dtype) else torch.float32

    def config(self) -> Any:
        """The base's config, with as many labels as the head on top has."""
        kwargs = of_base(self.chain, {})
        kwargs.pop("quantization_config", None)
        try:
            return AutoConfig.from_pretrained(self.base, **kwargs)
        except (OSError, ValueError) as error:
            raise UserError(
                f"the model below the adapter cannot be read ({first_line(error)})",
                where=self.base,
                fix=f"put it there, or correct base_model_name_or_path in {self.adapters[-1] / ADAPTER}"
                if self.adapters
                else "give a folder with a config.json and weights",
            ) from error

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """That of the topmost folder which has one."""
        for folder in reversed(self.adapters):
            if (folder / "tokenizer_config.json").is_file():
                return load_tokenizer(str(folder))
        revision = {"revision": self.chain.revision} if self.chain.revision else {}
        return load_tokenizer(self.base, **revision)

    def load(self) -> PreTrainedModel:
        """The model as it was trained: in float32, the adapters merged except for the topmost.

        A base that was quantized while they were trained is what its quantized weights stand for. Raises
        `UserError` where that cannot be had, or an adapter is of a kind that cannot be merged.
        """
        self.config()
        return load_model(self.folder, self.task, trained=False, plain=True, dtype="float32").eval()

    @property
    def base_in_words(self) -> str:
        """What is below the adapters where that is not the base as it is stored; else nothing."""
        found = self.chain.quantization or getattr(self.config(), "quantization_config", None)
        if found is None or not self.adapters:
            return ""
        settings: Any = found if isinstance(found, Mapping) else found.to_dict()
        bits = 4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else None
        kind = f" to {bits} bit" if bits else ""
        return f"the adapter was trained on a base quantized{kind}, and stands on those weights here too"


def load_whole(stack: Stack, dtype: str | None = None) -> PreTrainedModel:
    """The model without adapters, merged in float32 and then cast: to `dtype`, else to the base's own."""
    model = merged(stack.load())
    chosen = stack.stored_dtype if dtype is None else dtype_named(dtype)
    model.config.dtype = chosen
    return cast(model, chosen).eval()


def dtype_named(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise UserError(
            f"'{name}' is no dtype of weights.{nearest(name, DTYPES)}",
            where="--dtype",
            fix=f"choose one of {', '.join(DTYPES)}",
        )
    return DTYPES[name]


def _task(chain: AdapterChain) -> Task:
    """What the model is for: by the adapter, or by the architecture that the config names."""
    if chain.task_type:
        tasks = {kind: task for task, kind in TASK_TYPES.items()}
        if chain.task_type not in tasks:
            raise UserError(
                f"an adapter of task {chain.task_type}, and {' or '.join(tasks)} can be taken away",
                where=chain.name,
                fix="give an adapter that Burnish or TRL trained",
            )
        return tasks[chain.task_type]
    try:
        architectures = AutoConfig.from_pretrained(chain.base).architectures or []
    except (OSError, ValueError) as error:
        raise UserError(
            f"no model can be read there ({first_line(error)})",
            where=chain.base,
            fix="give a folder with a config.json and weights, or an adapter's folder",
        ) from error
    endings: dict[Task, str] = {"reward": "ForSequenceClassification", "steps": "ForTokenClassification"}
    named = [
        task
        for task in get_args(Task)
        if task in endings and any(a.endswith(endings[task]) for a in architectures)
    ]
    return named[0] if named else "causal"


def _is_an_id(name: str) -> bool:
    """Whether a name may be one on the hub: not a path by its looks."""
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1
