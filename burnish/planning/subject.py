"""Whom a stage trains, as shapes: the model with its adapter, the reference or teacher beside it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from burnish.engine.assembly import compute_dtype, fast_at_half, init_kwargs, settle_weights, with_adapter
from burnish.engine.referenced import ReferenceEngine
from burnish.models.adapters import adapter_of, switched_off
from burnish.models.forward import inner_model
from burnish.models.load import ModelConfig
from burnish.models.noise import Silenced, noise
from burnish.models.precision import WorkingCopies
from burnish.models.twin import checkpoint_dtype, make_twin

BITS = {"load_in_4bit": 4.5, "load_in_8bit": 8.1}
"""Per quantized weight, with the scales: of 64 weights in 4 bit one float32, of a row in 8 bit another."""


@dataclass(frozen=True)
class Subject:
    """What is known of a stage's model before it is loaded.

    `model` names the model to describe: that of the stage, or the one that an earlier stage starts from; it
    may be an adapter's folder. `adapter` is put on it, and `fresh` says that it is a new one.
    """

    trainer_class: Any
    args: Any
    model_args: ModelConfig
    model: str
    adapter: Any = None
    fresh: bool = True
    teacher_model: str | None = None
    fast_bfloat16: bool | None = None  # of the device; None: this machine

    @property
    def is_fast(self) -> bool:
        return fast_at_half(self.args, self.fast_bfloat16)

    def twin(self, layers: int | None = None) -> nn.Module:
        """The model as it is trained, without weights. Raises `UserError`."""
        adapter = self.adapter
        kwargs = {**self.args.head_kwargs(), **init_kwargs(self.args)}
        task = self.trainer_class.task
        model = make_twin(
            self.model, task, trained=adapter is None, fast=self.is_fast, layers=layers, **kwargs
        )
        if adapter is not None:
            with torch.device("meta"):
                model = with_adapter(model, task, adapter, self.args)
        settle_weights(model, self.args)
        if self.args.disable_dropout:
            Silenced(noise(model))
        return model

    def teacher(self, layers: int | None = None) -> nn.Module | None:
        if self.teacher_model is None:
            return None
        kwargs = init_kwargs(self.args, "teacher_model_init_kwargs")
        twin = make_twin(
            self.teacher_model,
            self.trainer_class.task,
            trained=False,
            fast=self.is_fast,
            layers=layers,
            **kwargs,
        )
        return twin.requires_grad_(False)

    @cached_property
    def whole(self) -> nn.Module:
        return self.twin()

    @property
    def config(self) -> Any:
        return inner_model(self.whole).config

    @property
    def has_adapter(self) -> bool:
        return hasattr(self.whole, "peft_config")

    @cached_property
    def computes_in(self) -> torch.dtype | None:
        """None: in what is stored."""
        return compute_dtype(self.whole, self.args, self.fast_bfloat16)

    # The reference

    @cached_property
    def reference(self) -> str:
        """Its kind, as `models/reference.py` names them; or teacher, or none."""
        if self.teacher_model is not None:
            return "teacher"
        if not issubclass(self.trainer_class, ReferenceEngine):
            return "none"
        return self.trainer_class.reference_kind(self.args, adapter_of(self.whole, self.fresh))

    @property
    def reference_in_step(self) -> bool:
        """Whether the reference scores the forests of a step, or all rows before step 1."""
        in_advance = getattr(self.args, "precompute_ref_log_probs", False)
        return self.reference in ("adapter off", "frozen adapter", "frozen copy") and not in_advance

    def as_reference(self, model: Any) -> AbstractContextManager:
        """Within this context a twin is its own reference."""
        return switched_off(model) if self.reference == "adapter off" else nullcontext()

    # Bytes

    @cached_property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.whole.parameters())

    @cached_property
    def trained(self) -> int:
        return sum(p.numel() for p in self.whole.parameters() if p.requires_grad)

    @cached_property
    def trained_bytes(self) -> int:
        return sum(p.nbytes for p in self.whole.parameters() if p.requires_grad)

    @cached_property
    def weight_bytes(self) -> int:
        """All that is stored; of quantized layers in so many bits, of the others then in float32."""
        bits = next((bits for name, bits in BITS.items() if getattr(self.model_args, name)), None)
        if bits is None:
            return sum(p.nbytes for p in self.whole.parameters())
        quantized = quantized_weights(inner_model(self.whole))
        weights = {id(p): p for p in self.whole.parameters()}
        return int(sum(p.numel() * (bits / 8 if key in quantized else 4) for key, p in weights.items()))

    @cached_property
    def file_bytes(self) -> int:
        """What is read of a checkpoint to be converted; one that is kept as it is lies in memory once."""
        dtype = checkpoint_dtype(self.model, **init_kwargs(self.args))
        return 0 if dtype == weights_dtype(self.whole) else self.parameters * dtype.itemsize

    @cached_property
    def copy_bytes(self) -> int:
        """Working copies, in the dtype that is computed in."""
        return copies_of(inner_model(self.whole), self.computes_in)

    @cached_property
    def reference_bytes(self) -> int:
        """What the reference, or the teacher, has of its own."""
        kind = self.reference
        if kind == "teacher":
            teacher = self.teacher()
            assert teacher is not None
            return sum(p.nbytes for p in teacher.parameters()) + copies_of(teacher, self.computes_in)
        if kind == "frozen adapter":
            return self.trained_bytes
        if kind != "frozen copy":
            return 0
        copies, tables = self.copy_bytes, tables_of(inner_model(self.whole))
        return self.weight_bytes if not copies else copies + sum(t.nbytes for t in tables.values())


def weights_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of a model's weights, those of an adapter left aside."""
    return next(p.dtype for p in inner_model(model).parameters() if p.is_floating_point())


def copies_of(model: nn.Module, dtype: torch.dtype | None) -> int:
    """Bytes of the copies that stand in for weights while a forward runs."""
    if dtype is None:
        return 0
    replaceable = WorkingCopies(model, dtype)._replaceable
    copied = {
        id(weight): weight.numel()
        for path, owner in model.named_modules()
        if not isinstance(owner, nn.Embedding)
        for name, weight in owner._parameters.items()
        if weight is not None and replaceable(weight, f"{path}.{name}")
    }
    return sum(copied.values()) * dtype.itemsize


def tables_of(model: nn.Module) -> dict[int, Tensor]:
    return {id(m.weight): m.weight for m in model.modules() if isinstance(m, nn.Embedding)}


def quantized_weights(model: Any) -> set[int]:
    """Those of linear layers, but for the head and what shares its weight, and adapters."""
    head = model.get_output_embeddings()
    kept = {id(head.weight)} if head is not None else set()
    return {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name and name not in ("score", "classifier")
    } - kept
