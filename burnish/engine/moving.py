"""A reference that follows the policy while it is trained (TR-DPO, arXiv:2404.09656)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import TrainerCallback

from burnish.engine.config import ComparingConfig
from burnish.errors import UserError
from burnish.models.reference import Reference
from burnish.options import described


@dataclass
class ReferenceConfig(ComparingConfig):
    """What the configs of methods with a reference share."""

    precompute_ref_log_probs: bool = described(
        False,
        "Score all rows by the reference before step 1. Always so in full fine-tuning without a ref_model.",
    )
    sync_ref_model: bool = described(False, "Let the reference follow the policy during training.")
    ref_model_mixup_alpha: float = described(0.6, "The policy's share when the reference follows it.")
    ref_model_sync_steps: int = described(512, "Steps after which the reference follows.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_moving(self)


class MovingReference(TrainerCallback):
    """Every `ref_model_sync_steps`: reference = α policy + (1 - α) reference, α = `ref_model_mixup_alpha`."""

    def __init__(self, policy: nn.Module, reference: Reference) -> None:
        self.policy, self.reference = policy, reference

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % args.ref_model_sync_steps == 0:
            self.reference.follow(self.policy, args.ref_model_mixup_alpha)


def check_moving(options: ReferenceConfig) -> None:
    """Refuse options of a reference that moves which make no sense. Raises `UserError`."""
    if not options.sync_ref_model:
        for name in ("ref_model_mixup_alpha", "ref_model_sync_steps"):
            if getattr(options, name) != getattr(type(options), name):
                raise UserError(
                    "the reference does not move", where=name, fix="leave it out, or give sync_ref_model=True"
                )
        return
    if options.precompute_ref_log_probs:
        raise UserError(
            "scores taken before step 1 are not those of a reference that moves",
            where="precompute_ref_log_probs",
            fix="leave it out, or leave out sync_ref_model",
        )
    if options.fsdp or options.deepspeed:
        raise UserError(
            "the reference cannot follow weights that lie in parts on several devices",
            where="sync_ref_model",
            fix="leave it out, or train without FSDP and DeepSpeed",
        )
    if not 0 < options.ref_model_mixup_alpha <= 1:
        raise UserError(
            f"found {options.ref_model_mixup_alpha}, the policy's share in the mixed weights",
            where="ref_model_mixup_alpha",
            fix="give more than 0 and at most 1",
        )
    if options.ref_model_sync_steps < 1:
        raise UserError(
            f"must be at least 1, found {options.ref_model_sync_steps}",
            where="ref_model_sync_steps",
            fix="give a number of steps",
        )
