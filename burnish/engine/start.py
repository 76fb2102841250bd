"""What must hold when a run begins, whatever the model, the adapter and the method: checked once.

    StartCheck    policy and reference are one model before the first update: no margin, DPO's loss is ln 2
    FirstSteps    every trained tensor gets a gradient, and moves

Each stands for a kind of fault: a reference that is another model than the one that training starts from,
dropout that is still on, weights that no optimizer has, modules that no loss reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from burnish.data.forest import Forest
from burnish.engine.rules import Notice
from burnish.errors import UserError
from burnish.models.conditions import coarsest_dtype
from burnish.models.noise import noise

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

ROUNDING = {torch.bfloat16: 0.05, torch.float16: 0.05}
"""Nats per token, over a whole micro-batch, by which two runs of one model differ in other forests."""

UPDATES = 3
"""Updates in which a tensor must get a gradient. At the first the A factors of LoRA have none, B being 0."""

NAMED = 5
"""Tensors that are named."""


class StartCheck:
    """Compares policy and reference in the first training forward of a trainer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_open = True
        self.distance: float | None = None  # nats per completion, where they were compared

    def compare(self, policy: Tensor, reference: Tensor, forest: Forest) -> None:
        """Raises `UserError` where their log-probabilities, float[B], differ by more than rounding."""
        engine = self.engine
        if not (self.is_open and engine.model.training):
            return
        self.is_open = False
        if engine.state.global_step or engine.args.neftune_noise_alpha or noise(engine.model):
            return  # a run that goes on, or a policy that draws
        apart = (policy.detach().double() - reference.double()).abs()
        per_token = float(apart.sum() / forest.trained_per_branch.sum().clamp(min=1))
        limit = ROUNDING.get(engine.compute_dtype or coarsest_dtype(engine.model), 1e-3)
        if per_token > limit:  # what is not finite is told by the gradient
            raise UserError(
                f"before the first update the policy is {per_token:.2g} nats a token away from its reference "
                f"({engine.reference.kind}), though they are one model",
                where="ref_model",
                fix="pass the model that training starts from as ref_model; and leave weights as they are "
                "between the making of the trainer and its training",
            )
        self.distance = float(apart.mean())

    def loss(self, found: float, expected: float, beta: float) -> None:
        """Raises `UserError` where the first loss is not what it is at a margin of 0."""
        if self.distance is None:
            return
        distance, self.distance = self.distance, None
        if abs(found - expected) > 1e-3 + 2 * beta * distance:
            raise UserError(
                f"the first loss is {found:.4f}, and without a margin it is {expected:.4f}",
                where="loss_type",
                fix="this is a fault of Burnish: report it with the options of this run",
            )


class FirstSteps(TrainerCallback):
    """Names the trained tensors that the first updates do not reach."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._updates = UPDATES  # still to be seen
        self._without: dict[str, nn.Parameter] = {}  # no gradient so far
        self._still: dict[str, nn.Parameter] = {}  # not seen to move so far
        self._before: dict[
            str, tuple[Tensor, Tensor]
        ] = {}  # where the gradient is largest, and the weight there
        self._trained = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        trained = {n: p for n, p in self.engine.model.named_parameters() if p.requires_grad and p.numel()}
        hidden = args.fsdp or args.deepspeed or "layerwise" in str(args.optim)  # no gradients to be seen
        self._without = {} if hidden else dict(trained)
        self._still, self._before, self._trained = dict(self._without), {}, len(trained)
        self._updates = UPDATES if self._without else 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if not self._updates:
            return
        self._before = {}
        asked = {**self._without, **self._still}
        places = {n: p.grad.detach().abs().flatten().argmax() for n, p in asked.items() if p.grad is not None}
        if not places:
            return  # a step that is not applied
        grads = torch.stack([asked[n].grad.flatten()[i].float().to(args.device) for n, i in places.items()])  # type: ignore[union-attr]
        for (name, place), gradient in zip(places.items(), grads.tolist(), strict=True):
            if gradient:
                self._without.pop(name, None)
                if name in self._still:
                    self._before[name] = (place, asked[name].detach().flatten()[place].clone())

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if not self._before:
            return
        rates = {id(p): float(g["lr"]) for g in self.engine.optimizer.param_groups for p in g["params"]}
        if not any(rates.values()):
            return  # warmup
        self._updates -= 1
        for name, (place, before) in self._before.items():
            if not torch.equal(self._still[name].detach().flatten()[place], before):
                del self._still[name]
        if not self._updates:
            self._say(state.global_step + 1)

    def _say(self, step: int) -> None:
        none, still = list(self._without), [name for name in self._still if name not in self._without]
        for names, what in (
            (none, f"get no gradient in the first {UPDATES} updates: they stay as they are"),
            (still, "have a gradient and do not move: is each of them in the optimizer?"),
        ):
            if names:
                shown = ", ".join(names[:NAMED]) + (
                    f" and {len(names) - NAMED} more" if names[NAMED:] else ""
                )
                text = f"{len(names)} of {self._trained} trained tensors {what} ({shown})"
                self.engine.watch.say(Notice(step, "untrained_tensors", "warning", text))
