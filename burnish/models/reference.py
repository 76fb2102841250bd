"""The reference policy of preference methods: what the model was before training.

    given           a model of its own
    adapter off     the policy is a fresh adapter that changes nothing yet: the base under it is the reference
    frozen adapter  any other adapter: a frozen copy of all that is trained takes its place
    frozen copy     full fine-tuning, where the reference moves or is asked for rows that change
    precomputed     full fine-tuning: every row is scored once, before step 1, and kept

`reference_kind` decides, for the trainer, the plan and the pipeline alike.

A reference that has weights of its own may move: `follow` mixes the policy's weights into them (TR-DPO,
arXiv:2404.09656). Of an adapter its factors are mixed.

With an adapter the reference scores the very forest that the policy scores, so the first step has a margin of
exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.models.adapters import Adapter, switched_off
from burnish.models.score import score
from burnish.models.states import evaluating, substituted

COLUMN = "reference_logprob"
"""The column of precomputed scores: one float per completion."""

FILE = "reference.safetensors"
"""The weights of a reference that moves, in a checkpoint."""

Kind = Literal["given", "adapter off", "frozen adapter", "frozen copy", "precomputed"]

AddUp = Callable[[Forest, Tensor], Tensor]
"""How log-probabilities of tokens, float[N], make those of completions, float[B]."""


def reference_kind(
    adapter: Adapter | None, *, given: bool = False, moves: bool = False, in_every_step: bool = False
) -> Kind:
    """Which reference a run has.

    `adapter`: what `adapters.adapter_of` says of the policy. `given`: there is a `ref_model`. `moves`: the
    reference follows the policy. `in_every_step`: it scores completions that are known in their step only.
    """
    if given:
        return "given"
    if adapter is None:
        return "frozen copy" if moves or in_every_step else "precomputed"
    return "adapter off" if adapter == "removable" and not moves else "frozen adapter"


class Reference:
    """Scores completions under the reference policy."""

    def __init__(
        self,
        kind: Kind,
        model: nn.Module | None,
        as_reference: Callable[[], AbstractContextManager] = nullcontext,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.kind = kind
        self.model = model  # None: the policy itself, within `as_reference`
        self.weights = weights or {}  # its own, by their names in the policy
        self.moves = ""  # how it follows the policy, in words
        self.add_up: AddUp = Forest.per_branch
        self.ready: Callable[[], AbstractContextManager] = nullcontext  # in which models run forests
        self._as_reference = as_reference

    @staticmethod
    def of(kind: Kind, policy: Any, other: nn.Module | None = None) -> Reference:
        """The reference of this kind for `policy` as it is now; `other` is the model given, or the copy."""
        if other is not None:
            return Reference(kind, other, weights=dict(other.named_parameters()))
        if kind == "precomputed":
            return Reference(kind, None)
        if kind == "adapter off":
            return Reference(kind, None, lambda: switched_off(policy))
        trained = {name: weight for name, weight in policy.named_parameters() if weight.requires_grad}
        frozen = {name: weight.detach().clone() for name, weight in trained.items()}
        return Reference(kind, None, lambda: substituted(policy, frozen), frozen)

    @property
    def why(self) -> str:
        """The reason for this kind of reference, and how it moves."""
        reason = {
            "given": "ref_model",
            "frozen copy": "all weights change, and the reference is asked in every step",
            "adapter off": "the model under the adapter is the reference, on the same forest",
            "frozen adapter": "a copy of all that is trained, as it is before step 1, is the reference",
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
        with self.ready(), evaluating(model), self._as_reference():
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
