"""Master weights and working copies: what is stored, and what is computed with.

Full fine-tuning in bfloat16 alone loses every update smaller than 1/256 of a weight. So trainable
weights are stored in float32, which is what the optimizer, gradient clipping, checkpoints and every
wrapper see, and the forward computes with bfloat16 copies of them. A copy is made again only when
its weight has changed, once per step. Gradients come back through the copy and add up in float32.

Compared with autocast: activations stay in one dtype from the embedding to the head, where autocast
casts the inputs of every matrix product anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

HALF = (torch.bfloat16, torch.float16)


class _Copy(torch.autograd.Function):
    """Stand in for `weight` with a lower-precision copy; its gradient goes to the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, copy: Tensor) -> Tensor:
        ctx.dtype = weight.dtype
        return copy.view_as(copy)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.to(ctx.dtype), None


class WorkingCopies:
    """Copies of a model's weights in `dtype`, put in their place while a forward runs.

    Embedding tables stay as they are and their output is cast: the gradient of a lookup adds up one
    row per occurrence of a token, which must happen in float32. Modules that transformers keeps in
    float32 on purpose keep their weights too.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, plain: bool = False) -> None:
        self.dtype, self.plain = dtype, plain
        # id of a weight -> the weight, its version when copied, the copy
        self._copies: dict[int, tuple[Tensor, int, Tensor]] = {}
        self._model = model
        self._keep = _kept_in_float32(model)
        self._inside = False

    @contextmanager
    def __call__(self, module: nn.Module | None = None) -> Iterator[None]:
        """Within this context the weights of `module` (default: the model) are working copies."""
        if self._inside:
            yield
            return
        replaced: list[tuple[nn.Module, str, Any]] = []
        hooks = []
        self._inside = True
        try:
            for path, owner in (module or self._model).named_modules():
                if isinstance(owner, nn.Embedding):
                    hooks.append(owner.register_forward_hook(self._cast_output))
                    continue
                if getattr(owner, "gradient_checkpointing", False):
                    checkpoint = owner._gradient_checkpointing_func
                    replaced.append((owner, "_gradient_checkpointing_func", checkpoint))
                    owner._gradient_checkpointing_func = self._checkpoint(owner, checkpoint)
                for name, weight in owner._parameters.items():
                    if weight is not None and self._replaceable(weight, f"{path}.{name}"):
                        replaced.append((owner, name, weight))
                        owner._parameters[name] = self._working(weight)
            yield
        finally:
            for owner, name, original in replaced:
                if name in owner._parameters:
                    owner._parameters[name] = original
                else:
                    setattr(owner, name, original)
            for hook in hooks:
                hook.remove()
            self._inside = False

    def forget(self) -> None:
        """Drop the copies of trained weights, to be made again at their next use.

        Frees their memory for the optimizer's step, and serves optimizers that write weights behind
        autograd's back.
        """
        trained = {id(weight) for weight in self._model.parameters() if weight.requires_grad}
        self._copies = {key: copy for key, copy in self._copies.items() if key not in trained}

    def _checkpoint(self, layer: nn.Module, checkpoint: Any) -> Any:
        """A checkpointed layer runs again in the backward, the forward being over: with its own copies."""

        def run_with_copies(run: Any, *args: Any, **kwargs: Any) -> Any:
            with self(layer):
                return run(*args, **kwargs)

        return lambda run, *args, **kwargs: checkpoint(partial(run_with_copies, run), *args, **kwargs)

    def _replaceable(self, weight: nn.Parameter, path: str) -> bool:
        if weight.dtype == self.dtype or weight.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return False  # already there, or quantized
        return not (self._keep and self._keep.search(path))

    def _working(self, weight: nn.Parameter) -> Tensor:
        _, version, copy = self._copies.get(id(weight), (None, -1, None))
        if copy is None or version != weight._version or copy.device != weight.device:
            copy = weight.detach().to(self.dtype)
            self._copies[id(weight)] = (weight, weight._version, copy)
        return _Copy.apply(weight, copy) if weight.requires_grad and torch.is_grad_enabled() else copy

    def _cast_output(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output.to(self.dtype)


def _kept_in_float32(model: nn.Module) -> re.Pattern[str] | None:
    names: set[str] = set()
    for attribute in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
        names.update(getattr(model, attribute, None) or ())
    return re.compile("|".join(map(re.escape, sorted(names)))) if names else None


def compute_in(model: Any, dtype: torch.dtype | None, *, plain: bool = False) -> None:
    """Let forest forwards of the Transformers model `model` compute in `dtype` (None: as it is stored).

    `plain`: other forwards too, of a model that could not run them, its weights being of several dtypes.
    """
    vars(model).pop("working_copies", None)
    if dtype is not None:
        model.working_copies = WorkingCopies(model, dtype, plain)


def cast_frozen(model: nn.Module, dtype: torch.dtype | None) -> None:
    """Cast for good what working copies would cast again and again: of a model that is not trained."""
    if dtype is None:
        return
    replaceable = WorkingCopies(model, dtype)._replaceable
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for path, weight in model.named_parameters():
        if id(weight) not in tables and replaceable(weight, path):
            weight.data = weight.data.to(dtype)


def working_copies(model: nn.Module) -> Any:
    """The context in which the forest forwards of `model` run."""
    copies = getattr(model, "working_copies", None)
    return copies() if copies is not None else nullcontext()


def plain_copies(model: nn.Module) -> Any:
    """The context in which other forwards of `model` run."""
    copies = getattr(model, "working_copies", None)
    return copies() if copies is not None and copies.plain else nullcontext()


def forget_copies(model: nn.Module) -> None:
    """Drop the working copies of trained weights, before the optimizer changes these."""
    copies = getattr(model, "working_copies", None)
    if copies is not None:
        copies.forget()


def fast_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type in ("xpu", "npu")
