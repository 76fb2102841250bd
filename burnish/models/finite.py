"""Weights that are not finite: found by name, before training and before anything is saved."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from burnish.errors import UserError

NAMED = 3
"""Tensors that a message names."""


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """The names of the tensors that hold NaN or infinity."""
    return [name for name, tensor in tensors if not _is_finite(tensor)]


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta or tensor.element_size() < 2:
        return True
    least, most = tensor.detach().aminmax()  # NaN if any is; no second tensor of that size is made
    return bool(torch.isfinite(least) & torch.isfinite(most))


def require_finite(tensors: Iterable[tuple[str, Tensor]], what: str, fix: str, where: str = "model") -> None:
    """Refuse weights that are not finite. Raises `UserError` with `what` is wrong, and their names."""
    if found := not_finite(tensors):
        names = ", ".join(found[:NAMED]) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
        raise UserError(f"{what}: NaN or infinity in {names}", where=where, fix=fix)
