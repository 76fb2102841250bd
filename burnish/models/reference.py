"""The reference policy of preference methods: what the model was before training.

    adapter off     the policy is a fresh adapter: the base under it is the reference
    frozen adapter  the policy continues an adapter: a frozen copy of it takes its place
    given           a model of its own
    frozen copy     full fine-tuning, where the reference moves or is asked for rows that change
    precomputed     full fine-tuning: every row is scored once, before step 1, and kept

A reference that has weights of its own may move: `follow` mixes the policy's weights into them (TR-DPO,
arXiv:2404.09656). Of an adapter its factors are mixed.

The first two score the very forest that the policy scores, so the first step has a margin of exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.models.score import score

COLUMN = "reference_logprob"
"""The column of precomputed scores: one float per completion."""

FILE = "reference.safetensors"
"""The weights of a reference that moves, in a checkpoint."""

AddUp = Callable[[Forest, Tensor], Tensor]
"""How log-probabilities of tokens, float[N], make those of completions, float[B]."""


class Reference:
    """Scores completions under the reference policy."""

    def __init__(
        self,
        kind: str,
        model: nn.Module | None,
        as_reference: Callable[[], AbstractContextManager] = nullcontext,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.kind = kind
        self.model = model  # None: the policy itself, within `as_reference`
        self.weights = weights or {}  # its own, by their names in the policy
        self.moves = ""  # how it follows the policy, in words
        self.add_up: AddUp = Forest.per_branch
        self._as_reference = as_reference

    @staticmethod
    def of(
        policy: Any, given: nn.Module | None = None, *, fresh_adapter: bool = False, moves: bool = False
    ) -> Reference:
        """The reference for `policy` as it is now.

        `fresh_adapter`: its adapter was only just put on. `moves`: it must have weights of its own.
        """
        if given is not None:
            given.eval().requires_grad_(False)
            return Reference("given", given, weights=dict(given.named_parameters()))
        if not hasattr(policy, "disable_adapter"):
            assert not moves, "full fine-tuning has no weights but the policy's: give a copy"
            return Reference("precomputed", None)
        if fresh_adapter and not moves:
            return Reference("adapter off", None, policy.disable_adapter)
        frozen = {
            name: weight.detach().clone()
            for name, weight in policy.named_parameters()
            if weight.requires_grad
        }
        return Reference("frozen adapter", None, lambda: substituted(policy, frozen), frozen)

    @property
    def why(self) -> str:
        """The reason for this kind of reference, and how it moves."""
        reason = {
            "given": "ref_model",
            "frozen copy": "all weights change, and the reference is asked in every step",
            "adapter off": "the model under the adapter is the reference, on the same forest",
            "frozen adapter": "a copy of the adapter as it is before step 1 is the reference",
            "precomputed": "all weights change, so rows are scored before step 1",
        }[self.kind]
        return f"{reason}; {self.moves}" if self.moves else reason

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
            return self.add_up(forest, score(model, forest).logprob)

    # A reference that moves

    def check_like(self, policy: nn.Module) -> None:
        """Its weights must be the policy's, by name and shape, to follow them. Raises `UserError`."""
        own = dict(policy.named_parameters())
        for name, weight in self.weights.items():
            if name not in own or own[name].shape != weight.shape:
                raise UserError(
                    f"the policy has no weight like the reference's {name}, which should follow it",
                    where="ref_model",
                    fix="leave out ref_model, for a reference like the policy",
                )

    @torch.no_grad()
    def follow(self, policy: nn.Module, share: float) -> None:
        """Move to `share * policy + (1 - share) * reference`, weight by weight."""
        own = dict(policy.named_parameters())
        for name, weight in self.weights.items():
            weight.copy_(weight.float().lerp(own[name].to(weight.device).float(), share))

    def save(self, folder: str) -> None:
        save_file({name: weight.contiguous() for name, weight in self.weights.items()}, Path(folder) / FILE)

    @torch.no_grad()
    def load(self, folder: str) -> None:
        """Take the weights that were saved in a checkpoint. Raises `UserError`."""
        file = Path(folder) / FILE
        if not file.is_file():
            raise UserError(
                "the checkpoint has no reference that moved",
                where=str(file),
                fix="resume from a checkpoint that was written with sync_ref_model",
            )
        for name, weight in load_file(file).items():
            self.weights[name].copy_(weight)


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
