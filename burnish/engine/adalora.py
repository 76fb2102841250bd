"""AdaLoRA: what PEFT leaves to the training loop (arXiv:2303.10512).

After every optimizer step the importance of each singular value is updated and the rank cut to the schedule's
budget; and the factors are held near orthogonal by a term that PEFT adds to a loss that it computes itself,
of which there is none here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from burnish.errors import UserError


def adalora_of(model: nn.Module) -> Any:
    """The AdaLoRA tuner of a model with such an adapter; None for any other model."""
    tuner = getattr(model, "base_model", None)
    return tuner if hasattr(tuner, "update_and_allocate") else None


class RankSchedule(TrainerCallback):
    """Cuts the rank as training goes on. A step that was not applied changes nothing."""

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner
        self.config = tuner.peft_config[tuner.trainable_adapter_name]

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if args.fsdp or args.deepspeed:
            raise UserError(
                "AdaLoRA needs whole gradients on every device", where="peft_config", fix="use LoRA"
            )
        if args.load_best_model_at_end:
            refuse_checkpoint("load_best_model_at_end")
        reached = self.config.total_step - self.config.tfinal
        if reached > state.max_steps:
            raise UserError(
                f"AdaLoRA would reach its target rank at step {reached}, and training has {state.max_steps}",
                where="peft_config",
                fix=f"AdaLoraConfig(total_step={state.max_steps}, ...)",
            )

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if all(weight.grad is not None for weight in factors(self.tuner)):
            self.tuner.update_and_allocate(state.global_step + 1)


def refuse_checkpoint(option: str) -> None:
    """PEFT cannot load a cut rank into factors of full size, and saves no importance. Raises `UserError`."""
    raise UserError(
        "a checkpoint of AdaLoRA cannot be trained on: its ranks are cut, and what cut them is not in it",
        where=option,
        fix=f"leave out {option}, or use LoRA",
    )


def factors(tuner: Any) -> list[nn.Parameter]:
    """The trained A and B of every layer."""
    named = tuner.model.named_parameters()
    return [p for name, p in named if p.requires_grad and ("lora_A" in name or "lora_B" in name)]


def add_orthogonality(model: nn.Module) -> None:
    """Add the gradient of orth_reg_weight times the mean distance of A Aᵀ and BᵀB from the identity."""
    tuner = adalora_of(model)
    if tuner is None or not (weight := tuner.peft_config[tuner.trainable_adapter_name].orth_reg_weight):
        return
    trained = factors(tuner)
    with torch.enable_grad():
        distance = torch.stack([_from_orthogonal(factor) for factor in trained]).mean()
    # Not `backward`: gradients are reduced over ranks already, and this one is the same on all.
    gradients = torch.autograd.grad(weight * distance, trained)
    for factor, gradient in zip(trained, gradients, strict=True):
        factor.grad = gradient if factor.grad is None else factor.grad + gradient


def _from_orthogonal(factor: Tensor) -> Tensor:  # float[r, in] or float[out, r] -> float[]
    narrow = factor if factor.shape[0] <= factor.shape[1] else factor.T
    product = narrow @ narrow.T
    return torch.linalg.matrix_norm(product - torch.eye(len(product)).to(product))
