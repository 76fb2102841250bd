"""The balancing loss of mixtures of experts: E · Σ_e f_e · p_e (Switch Transformers, arXiv:2101.03961).

    f_e    tokens that were sent to expert e, for each token there is; without gradient
    p_e    mean probability that a router gives to expert e

Both are means over tokens and layers, as in transformers' `load_balancing_loss_func`. A token of a shared
prompt counts once for every completion, so the loss is the one of separate rows.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from burnish.losses.output import Mean


class Routed:
    """What routers said in a forward, added up. It travels with a forest, and no wrapper looks into it."""

    def __init__(self, experts_per_token: int, share: Tensor | None = None, survey: bool = False) -> None:
        """`share`: f_e of the whole step, float[E]; None: that of this forest. `survey`: without gradient."""
        self.experts_per_token, self.share, self.survey = experts_per_token, share, survey
        self.sent: Any = 0  # float[E]
        self.probability: Any = 0  # float[E], summed
        self.tokens: Any = 0  # float[], of one layer
        self.layers = 0

    @property
    def listens(self) -> bool:
        """Whether the forward that runs is the one to listen to: a reference's has no gradient."""
        return self.survey or torch.is_grad_enabled()

    def add(self, logits: tuple[Tensor, ...], weight: Tensor) -> None:
        """Router logits of every layer, float[T, E], and how often each token counts, float[T]."""
        for layer in logits:
            probability = layer.float().softmax(-1)
            chosen = probability.topk(self.experts_per_token, -1).indices
            times = weight.repeat_interleave(self.experts_per_token)
            self.sent = self.sent + weight.new_zeros(layer.shape[-1]).index_add(0, chosen.flatten(), times)
            self.probability = self.probability + weight @ probability
        self.layers, self.tokens = len(logits), self.tokens + weight.sum()

    def loss(self) -> Mean:
        """This forest's part of the balancing loss of its step, and its tokens."""
        share = self.sent / (self.tokens * self.layers) if self.share is None else self.share
        return Mean(len(share) * (share.detach() @ self.probability) / self.layers, self.tokens)


def experts_per_token(inner: nn.Module) -> int | None:
    """How many experts a token goes to; None where the model is no mixture with a balancing loss."""
    config: Any = inner.config.get_text_config()  # type: ignore[operator,union-attr]
    has_loss = hasattr(sys.modules[type(inner).__module__], "load_balancing_loss_func")
    if not has_loss or not hasattr(config, "output_router_logits"):
        return None
    names = ("num_experts_per_tok", "moe_k", "num_experts_per_token")
    return next((int(getattr(config, name)) for name in names if getattr(config, name, None)), None)
