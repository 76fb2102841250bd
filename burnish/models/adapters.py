"""Whether a model with its adapter switched off is the model that training starts from.

It is for a LoRA adapter as PEFT makes it by default, and then the reference costs no weights. It is not where
an initialization rewrites the base (PiSSA, OLoRA, CorDA, LoftQ), where the adapter changes the model at once
(`init_lora_weights=False`), or where something is trained that no switch reaches (`bias="all"`). PEFT has
dozens of kinds, so nothing is told by their names: the switch is tried.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from burnish.models.conditions import coarsest_dtype
from burnish.models.forward import inner_model
from burnish.models.states import evaluating

Adapter = Literal["removable", "trained"]
"""removable: switching it off gives the model that training starts from; trained: only a copy of it does."""

PROBE = 24
"""Tokens that both models are asked."""

SAME = {torch.bfloat16: 2**-8, torch.float16: 2**-10}
"""Relative distance of logits that is rounding, as of weights that DoRA divides by their own norm."""

KEEPS_THE_BASE = (True, "gaussian")
"""Initializations of LoRA that change nothing, where a model cannot be tried (`_can_be_tried`)."""


def has_adapter(model: nn.Module) -> bool:
    return hasattr(model, "disable_adapter")


def adapter_of(policy: Any, fresh: bool) -> Adapter | None:
    """What the adapter of `policy` is to its reference; None where all weights are trained.

    `fresh` says that it was only just put on. Works on models without numbers (`meta`), too.
    """
    if not has_adapter(policy):
        return None
    removable = fresh and not trained_when_off(policy) and _changes_nothing(policy)
    return "removable" if removable else "trained"


@contextmanager
def switched_off(policy: Any) -> Iterator[None]:
    """Within this context `policy` runs without its adapter.

    PEFT unfreezes all of an adapter when it switches it on again; here what was frozen stays so.
    """
    frozen = [parameter for parameter in policy.parameters() if not parameter.requires_grad]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Careful, disabling adapter layers with bias")
        off = policy.disable_adapter()
        off.__enter__()
    try:
        yield
    finally:
        off.__exit__(None, None, None)
        for parameter in frozen:
            parameter.requires_grad_(False)


def trained_when_off(policy: Any) -> list[str]:
    """Names of trained weights that are in use while the adapter is off: the base's biases, say."""
    trained = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    with switched_off(policy):
        still = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    return [name for name in trained if name in still]


def _can_be_tried(policy: Any) -> bool:
    """Whether there are numbers, and asking for them changes none.

    On a CPU bitsandbytes packs 4-bit weights anew in the first forward of evaluation, and cannot do so with
    every size.
    """
    if any(parameter.is_meta or not parameter.numel() for parameter in policy.parameters()):
        return False
    on_cpu = next(policy.parameters()).device.type == "cpu"
    return not (on_cpu and getattr(inner_model(policy), "is_quantized", False))


def _changes_nothing(policy: Any) -> bool:
    """Whether the model gives the same logits with its adapter as without."""
    if not _can_be_tried(policy):
        configs = policy.peft_config.values()
        return all(getattr(config, "init_lora_weights", True) in KEEPS_THE_BASE for config in configs)
    size = inner_model(policy).config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(size, (1, PROBE), generator=generator).to(next(policy.parameters()).device)
    with torch.no_grad(), evaluating(policy):
        on = policy(input_ids=tokens).logits.float()
        with switched_off(policy):
            off = policy(input_ids=tokens).logits.float()
    limit = SAME.get(coarsest_dtype(policy), 2**-18)
    return bool((on - off).norm() <= limit * off.norm())
