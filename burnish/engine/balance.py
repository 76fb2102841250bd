"""The balancing loss of mixtures of experts in a step (`models/routers.py`).

It is a product of two means over all tokens of a step, so it is no sum over micro-batches: where a step takes
several forwards, the routers are asked first, without gradient, how many tokens go to each expert. Then the
loss is a sum over tokens, and the same however the step is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.losses.output import LossOutput, Mean
from burnish.models.forward import inner_model
from burnish.models.routers import Routed, experts_per_token

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine


class Balance:
    """What a run does of the balancing loss: nothing, where the coefficient is 0."""

    def __init__(self, coefficient: float, experts_per_token: int) -> None:
        self.coefficient, self.experts_per_token = coefficient, experts_per_token
        self.share: Tensor | None = None  # of the step that runs

    @staticmethod
    def of(engine: Engine) -> Balance:
        """By `router_aux_loss_coef`, or the model's own config. Raises `UserError` where it cannot be."""
        inner = inner_model(engine.model)
        asked = getattr(engine.args, "router_aux_loss_coef", None)
        experts = experts_per_token(inner)
        if experts is None and asked:
            raise UserError(
                f"{type(inner).__name__} has no balancing loss of experts",
                where="router_aux_loss_coef",
                fix="leave it out",
            )
        if experts is None or engine.task != "causal":
            return Balance(0.0, experts or 0)
        own = getattr(inner.config.get_text_config(), "router_aux_loss_coef", 0.0)
        return Balance(float(own if asked is None else asked), experts)

    def line(self) -> tuple[str, str] | None:
        """For the plan; None where there are no experts to balance."""
        if not self.experts_per_token:
            return None
        if not self.coefficient:
            return "no balancing loss", "router_aux_loss_coef is 0, or this method has none"
        reason = "over all tokens of a step; one forward more where a step takes several (0 turns it off)"
        return f"balancing loss times {self.coefficient:g}", reason

    def begin_step(self, engine: Engine, model: nn.Module, batches: list[list[TokenizedExample]]) -> None:
        """Ask the routers first, where no forward sees the whole step."""
        self.share = None
        if self.coefficient and (len(batches) > 1 or engine.accelerator.num_processes > 1):
            self.share = self._sent_share(engine, model, batches)

    def listen(self, forest: Forest) -> None:
        if self.coefficient:
            forest.routed = Routed(self.experts_per_token, self.share)

    def terms(self, forest: Forest, output: LossOutput) -> tuple[Mean, ...]:
        """The terms of the loss, and this one; says in the metrics how much it is."""
        if not self.coefficient:
            return output.terms
        found = forest.routed.loss()
        output.metrics["aux_loss"] = found
        return *output.terms, found * self.coefficient

    @torch.no_grad()
    def _sent_share(
        self, engine: Engine, model: nn.Module, batches: list[list[TokenizedExample]]
    ) -> Tensor:  # float[E]
        """How many tokens of the step go to each expert, for each token there is."""
        found = []
        for examples in batches:
            forest = Forest.pack(examples or [engine.filler()]).to(engine.args.device)
            forest.routed = Routed(self.experts_per_token, survey=True)
            model(forest=forest)
            sent = torch.cat([forest.routed.sent, forest.routed.tokens[None] * forest.routed.layers])
            found.append(sent * bool(examples))
        total = engine.accelerator.reduce(torch.stack(found).sum(0), "sum")
        return total[:-1] / total[-1]
