"""The reference policy of preference methods: what the model was before training.

    adapter off     the policy is a fresh adapter: the base under it is the reference
    frozen adapter  the policy continues an adapter: a frozen copy of it takes its place
    given           a model of its own
    precomputed     full fine-tuning: every row is scored once, before step 1, and kept

The first two score the very forest that the policy scores, so the first step has a margin of exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.models.score import score

COLUMN = "reference_logprob"
"""The column of precomputed scores: one float per completion."""


class Reference:
    """Scores completions under the reference policy."""

    def __init__(
        self, kind: str, model: nn.Module | None, as_reference: Callable[[], AbstractContextManager]
    ) -> None:
        self.kind = kind
        self.model = model  # None: the policy itself, within `as_reference`
        self._as_reference = as_reference

    @staticmethod
    def of(policy: Any, given: nn.Module | None = None, *, fresh_adapter: bool = False) -> Reference:
        """The reference for `policy` as it is now. `fresh_adapter`: its adapter was only just put on."""
        if given is not None:
            given.eval().requires_grad_(False)
            return Reference("given", given, nullcontext)
        if not hasattr(policy, "disable_adapter"):
            return Reference("precomputed", None, nullcontext)
        if fresh_adapter:
            return Reference("adapter off", None, policy.disable_adapter)
        frozen = {
            name: weight.detach().clone()
            for name, weight in policy.named_parameters()
            if weight.requires_grad
        }
        return Reference("frozen adapter", None, lambda: substituted(policy, frozen))

    @property
    def why(self) -> str:
        """The reason for this kind of reference."""
        return {
            "given": "ref_model",
            "adapter off": "the model under the adapter is the reference, on the same forest",
            "frozen adapter": "training continues an adapter, so a copy of it is the reference",
            "precomputed": "all weights change, so rows are scored before step 1",
        }[self.kind]

    @property
    def is_live(self) -> bool:
        """Whether it can score any forest at any time; otherwise rows must have been scored before step 1."""
        return self.kind != "precomputed"

    def logprob(self, policy: nn.Module, forest: Forest) -> Tensor:  # float[B]
        """Summed log-probability of every branch under the reference; the stored one where there is one."""
        if COLUMN in forest.columns:
            return forest.columns[COLUMN].flatten()
        assert self.is_live, "rows were not scored by the reference before step 1"
        return self.score(policy, forest)

    @torch.no_grad()
    def score(self, policy: nn.Module, forest: Forest) -> Tensor:  # float[B]
        """Score `forest` now. For a precomputed reference this is right only before step 1."""
        model = self.model if self.model is not None else policy
        with evaluating(model), self._as_reference():
            return forest.per_branch(score(model, forest).logprob)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within this context `model` is in evaluation mode.

    Less its bitsandbytes layers, which have no other use of the mode than to repack their weights for
    inference, and back for training.
    """
    modules = [m for m in model.modules() if m.training and not type(m).__module__.startswith("bitsandbytes")]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


@contextmanager
def substituted(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Within this context the named parameters of `model` are the given tensors."""
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for path, weight in weights.items():
            owner_path, _, name = path.rpartition(".")
            owner = model.get_submodule(owner_path)
            replaced.append((owner, name, owner._parameters[name]))
            owner._parameters[name] = weight.to(replaced[-1][2].device)  # type: ignore[assignment]
        yield
    finally:
        for owner, name, original in replaced:
            owner._parameters[name] = original
