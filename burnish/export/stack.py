"""What a model folder is made of: a base, and the adapters on top of it, each with its place.

    runs/dpo (adapter) -> runs/sft (adapter) -> SmolLM2-135M (weights)

`load_whole` puts it together as one model without adapters, exactly: in float32, each adapter added to the
weights it was trained on.
"""

from __future__ import annotations

import json
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from burnish.errors import UserError, nearest
from burnish.export.facts import ADAPTER
from burnish.models.load import TASK_TYPES, Task, load_model, load_tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Stack:
    """`adapters` are folders, the one next to the base first; empty for a model without adapters."""

    folder: str
    base: str
    revision: str | None
    adapters: tuple[Path, ...]
    task: Task

    @staticmethod
    def of(folder: str | Path) -> Stack:
        """Follow the adapters of a folder down to the base. Raises `UserError` where they lead nowhere."""
        place, adapters, revision = str(folder), list[Path](), None
        settings: dict[str, Any] = {}
        while (config := Path(place).expanduser() / ADAPTER).is_file():
            if config.parent in adapters:
                raise UserError("this adapter stands on itself", where=str(config), fix="name its base in it")
            adapters.insert(0, config.parent)
            found = json.loads(config.read_text(encoding="utf-8"))
            settings, revision = settings or found, found.get("revision")
            place = _base_of(found, config)
        if not adapters and not (Path(place).expanduser().is_dir() or _is_an_id(place)):
            raise UserError("there is no such model folder", where=place, fix="check the path")
        return Stack(str(folder), place, revision, tuple(adapters), _task(place, settings, str(folder)))

    @property
    def stored_dtype(self) -> torch.dtype:
        """What the base's weights are stored in."""
        dtype = self.config().get_text_config().dtype
        return dtype if isinstance(dtype, torch.dtype) else torch.float32

    def config(self) -> Any:
        """The base's config, with as many labels as the head on top has."""
        try:
            return AutoConfig.from_pretrained(self.base, **self._at_revision(), **self._labels())
        except (OSError, ValueError) as error:
            raise UserError(
                f"the model below the adapter cannot be read ({_first_line(error)})",
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
        return load_tokenizer(self.base, **self._at_revision())

    def load(self) -> PreTrainedModel:
        """The model as it was trained: in float32, the adapters merged except for the topmost.

        Raises `UserError` where the base is quantized, or an adapter of a kind that cannot be merged.
        """
        config = self.config()
        if getattr(config, "quantization_config", None) is not None and self.adapters:
            raise UserError(
                "the base is quantized, and an adapter cannot be merged into it exactly",
                where=self.base,
                fix="name the model it was quantized from as base_model_name_or_path of the adapter",
            )
        where: dict[str, Any] = {**self._at_revision(), **self._labels()}
        model = load_model(self.base, self.task, trained=False, dtype="float32", **where)
        for folder in self.adapters:
            model = merged(model)
            model = _with_adapter(model, folder)
        return model.eval()

    def _at_revision(self) -> dict[str, str]:
        return {"revision": self.revision} if self.revision else {}

    def _labels(self) -> dict[str, int]:
        """The number of labels that an adapter's head was trained with."""
        if self.task == "causal" or not self.adapters:
            return {}
        shapes = adapter_shapes(self.adapters[-1])
        heads = [
            shape for name, shape in shapes.items() if name.endswith(("score.weight", "classifier.weight"))
        ]
        return {"num_labels": heads[0][0]} if heads else {}


def load_whole(stack: Stack, dtype: str | None = None) -> PreTrainedModel:
    """The model without adapters, merged in float32 and then cast: to `dtype`, else to the base's own."""
    model = merged(stack.load())
    chosen = stack.stored_dtype if dtype is None else dtype_named(dtype)
    model.config.dtype = chosen
    return cast(model, chosen).eval()


def cast(model: Any, dtype: torch.dtype) -> Any:
    """The model with its weights in `dtype`; tables that are not saved, as of positions, stay float32."""
    kept = dict(model.named_buffers())
    saved = model.state_dict().keys()
    model.to(dtype)
    for name, buffer in kept.items():
        if name not in saved:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, buffer)
    return model


def merged(model: Any) -> PreTrainedModel:
    """The model with the adapter that is on it added to its weights; one without is given back."""
    if not hasattr(model, "peft_config"):
        return model
    if not hasattr(model, "merge_and_unload"):
        kind = next(iter(model.peft_config.values())).peft_type
        raise UserError(
            f"an adapter of type {getattr(kind, 'value', kind)} changes no weights, so it cannot be merged",
            fix="keep base and adapter apart, or train a LoRA adapter",
        )
    tied = _untie(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no longer tied.*")  # `_tie_equal` decides
        whole = model.merge_and_unload(safe_merge=True)
    if tied:
        _tie_equal(whole)
    if hasattr(whole, "peft_config"):
        del whole.peft_config  # left behind by peft; transformers would save an adapter for it
    whole._hf_peft_config_loaded = False
    return whole


def _untie(model: Any) -> bool:
    """Give every module a weight of its own: an adapter of a tied head changes the head alone.

    Returns whether head and embedding were tied.
    """
    owned: set[int] = set()
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None and id(weight) in owned:
            module.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        owned.add(id(module._parameters.get("weight")))
    return bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))


def _tie_equal(model: PreTrainedModel) -> None:
    """Tie head and embedding again where they are still the same, and say in the config whether they are."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None:
        return
    equal = torch.equal(head.weight, embedding.weight)
    model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = equal
    if equal:
        head.weight = embedding.weight


def dtype_named(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise UserError(
            f"'{name}' is no dtype of weights.{nearest(name, DTYPES)}",
            where="--dtype",
            fix=f"choose one of {', '.join(DTYPES)}",
        )
    return DTYPES[name]


def adapter_shapes(folder: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in an adapter's file, read from its header alone."""
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise UserError(
            "the adapter's weights are missing",
            where=str(path),
            fix="give the folder that training wrote; weights in .bin files are not read",
        )
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _with_adapter(model: PreTrainedModel, folder: Path) -> Any:
    from peft import PeftModel

    embedding = model.get_input_embeddings()
    names = [name for name, module in model.named_modules() if module is embedding]
    for name, shape in adapter_shapes(folder).items():  # tokens that were added when it was trained
        if names and name.endswith(f"{names[0]}.weight") and shape[0] != embedding.weight.shape[0]:
            model.resize_token_embeddings(shape[0], mean_resizing=False)
    try:
        return PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"the adapter does not fit the model below it ({_first_line(error)})",
            where=str(folder),
            fix="check base_model_name_or_path in its adapter_config.json",
        ) from error


def _base_of(settings: dict[str, Any], config: Path) -> str:
    name = settings.get("base_model_name_or_path")
    if not name:
        raise UserError(
            "the adapter does not say which model it is for",
            where=str(config),
            fix="add base_model_name_or_path",
        )
    beside = config.parent / name
    return str(beside) if not Path(name).expanduser().is_dir() and beside.is_dir() else name


def _task(base: str, settings: dict[str, Any], folder: str) -> Task:
    """What the model is for: by the adapter, or by the architecture that the config names."""
    if settings.get("task_type"):
        tasks = {kind: task for task, kind in TASK_TYPES.items()}
        if settings["task_type"] not in tasks:
            raise UserError(
                f"an adapter of task {settings['task_type']}, and {' or '.join(tasks)} can be taken away",
                where=folder,
                fix="give an adapter that Burnish or TRL trained",
            )
        return tasks[settings["task_type"]]
    try:
        architectures = AutoConfig.from_pretrained(base).architectures or []
    except (OSError, ValueError) as error:
        raise UserError(
            f"no model can be read there ({_first_line(error)})",
            where=base,
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


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
