"""The model as `certify` needs it for a comparison, and as it was afterwards.

Rules that only bite at length (windows, chunks, top-k selection, scaling by position) are shrunk, so
that they bite within a few tokens; unless training never meets them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from burnish.models.noise import noise, without
from burnish.models.precision import HALF, WorkingCopies
from burnish.models.states import patched
from burnish.models.tiers import configs

LENGTH_RULES = {
    "sliding_window": 6,
    "sliding_window_size": 6,
    "attention_chunk_size": 6,
    "index_topk": 6,
    "keep_window_size": 6,
    "floor_scale": 6,
    "log_scaling_n_floor": 6,
    "topk_blocks": 2,
    "block_size": 2,
}
"""Names, in configs and modules, of the lengths after which attention changes its rule, and what they
become during the check."""

BY_DEPTH = frozenset({"sliding_window", "attention_chunk_size"})
"""Those that look at a token's depth in its own sequence. The others look at the whole row."""

PROBED = 2**22
"""Numbers whose gradients are compared."""


def probed(model: nn.Module) -> list[nn.Parameter]:
    """Trainable parameters, smallest first: every vector, and matrices while they are few numbers."""
    chosen: list[nn.Parameter] = []
    numbers = 0
    for parameter in sorted((p for p in model.parameters() if p.requires_grad), key=torch.numel):
        numbers += parameter.numel()
        if chosen and parameter.ndim > 1 and numbers > PROBED:
            break
        chosen.append(parameter)
    return chosen


def coarsest_dtype(model: nn.Module) -> torch.dtype:
    """The dtype whose rounding shows: of a parameter, or of what quantized layers compute in."""
    dtypes = {p.dtype for p in model.parameters()} | {
        getattr(m, "compute_dtype", None) for m in model.modules()
    }
    usual = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
    return next(dtype for dtype in usual if dtype in dtypes)


@contextmanager
def comparable(
    model: nn.Module,
    parameters: list[nn.Parameter],
    max_length: float = math.inf,
    max_tokens: float = math.inf,
    dtype: torch.dtype | None = None,
) -> Iterator[None]:
    """In training mode (where checkpointing is on), without noise, with rules of length that bite, and
    gradients for `parameters` alone; in `dtype` (None: as it is stored). The random state stays as it is."""
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(_accelerators(model)))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_training(model))
        stack.enter_context(_only(model, parameters))
        stack.enter_context(without(noise(model)))  # separate runs would draw it differently
        stack.enter_context(_short_rules(model, max_length, max_tokens))
        stack.enter_context(_one_dtype(model, dtype))
        yield


def _one_dtype(model: nn.Module, dtype: torch.dtype | None) -> AbstractContextManager[None]:
    """Weights in `dtype`, or else trained weights that are stored in float32 on a 16-bit base in the base's,
    as in training: a new head could not take the base's output otherwise."""
    if dtype is None:
        dtype = coarsest_dtype(model)
        if dtype not in HALF:
            return nullcontext()
    return WorkingCopies(model, dtype)()


@contextmanager
def counted(layers: list[nn.Module]) -> Iterator[list[nn.Module]]:
    """Collects the layers that are called."""
    calls: list[nn.Module] = []
    handles = [layer.register_forward_hook(lambda layer, *_: calls.append(layer)) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _accelerators(model: nn.Module) -> list[torch.device]:
    return list({p.device for p in model.parameters() if p.device.type == "cuda"})


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    """In training mode, where gradient checkpointing is on."""
    before = [(module, module.training) for module in model.modules()]
    model.train()
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def _only(model: Any, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gradients for these parameters alone."""
    chosen = set(map(id, parameters))
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
    handles = []
    # The reentrant kind of checkpointing starts from an input that needs a gradient.
    if any(getattr(module, "gradient_checkpointing", False) for module in model.modules()):
        embeddings = model.get_input_embeddings()
        handles.append(embeddings.register_forward_hook(lambda _, __, output: output.requires_grad_()))
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in others:
            parameter.requires_grad_(True)


@contextmanager
def _short_rules(model: Any, max_length: float, max_tokens: float) -> Iterator[None]:
    """Rules of length bite within the check, if training can meet them at all."""
    changes = [
        (owner, name, short)
        for owner in [*model.modules(), *configs(model)]
        for name, short in LENGTH_RULES.items()
        if isinstance(value := vars(owner).get(name), int)
        and short < value < (max_length if name in BY_DEPTH else max_tokens)
        and (name != "block_size" or hasattr(owner, "topk_blocks"))
    ]
    with patched(changes):
        yield
