"""Leaner RMSNorm and gated MLP, for training: the same numbers with fewer tensors kept.

Autograd keeps what every elementary operation needs: a float32 copy of the input of each norm, and the
activated gate of each MLP. Here both are worked out again in the backward pass. In the Llama blocks of
SmolLM2-135M (2000 tokens, bfloat16) the norms are a fifth of all activations, and take a quarter less
time; the gates are an eighth, and take half as long again, about 1 % of a step.

`fuse` replaces the `forward` of single modules, recognised by what they contain, and only after the
replacement has given the module's own output and gradients on a random input. Whatever differs
(another formula, dropout, a quantised or absent weight) stays as it was. `unfuse` takes it all back.

Left out: rotary embeddings, which Transformers calls as a module-level function, so that replacing them
would reach beyond the model; and anything that needs a compiler.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class NormRule(NamedTuple):
    """How a family writes its RMSNorm."""

    plus_one: bool  # the weight is stored as a distance from one
    late: bool  # multiplied by the weight before, not after, the cast back to the input's dtype


class Activation(NamedTuple):
    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]  # gradient of the output, input -> gradient of the input


NORM_RULES = [NormRule(plus_one, late) for plus_one in (False, True) for late in (False, True)]

ACTIVATIONS = {
    "silu": Activation(nn.functional.silu, torch.ops.aten.silu_backward),
    "gelu": Activation(nn.functional.gelu, torch.ops.aten.gelu_backward),
    "gelu_tanh": Activation(
        lambda gate: nn.functional.gelu(gate, approximate="tanh"),
        lambda grad, gate: torch.ops.aten.gelu_backward(grad, gate, approximate="tanh"),
    ),
}


def fuse(model: nn.Module, *, gates: bool = False) -> list[str]:
    """Replace what can be replaced exactly; returns the names of those modules.

    Norms always; with `gates` the gated MLPs too, which saves memory, not time.
    """
    replaced = []
    verdicts: dict[Hashable, Callable[..., Tensor] | None] = {}
    for name, module in model.named_modules():
        if "forward" in vars(module) or any(
            p.is_meta or not p.is_floating_point() for p in module.parameters()
        ):
            continue
        kind = _kind(module)
        if kind is None or (_is_gated(module) and not gates):
            continue
        if kind not in verdicts:  # modules of one kind differ in nothing but their numbers
            verdicts[kind] = _best(module)
        forward = verdicts[kind]
        if forward is not None:
            module.forward = types.MethodType(forward, module)
            module.is_fused = True
            replaced.append(name)
    return replaced


def unfuse(model: nn.Module) -> None:
    """Give every module that `fuse` replaced its own `forward` back."""
    for module in model.modules():
        if vars(module).pop("is_fused", False):
            del module.forward


def _kind(module: nn.Module) -> Hashable | None:
    """What makes two modules compute the same function of their weights; None for those we do not know."""
    plain = tuple((k, v) for k, v in sorted(vars(module).items()) if isinstance(v, int | float | str))
    if _is_norm(module):
        return type(module), plain, module.weight.shape, module.weight.dtype
    if _is_gated(module):
        children = tuple((name, type(child), repr(child)) for name, child in module.named_children())
        return type(module), plain, children, tuple((p.shape, p.dtype) for p in module.parameters())
    return None


def _is_norm(module: nn.Module) -> bool:
    own = [name for name, _ in module.named_parameters()]
    return type(module).__name__.endswith("RMSNorm") and own == ["weight"] and _epsilon(module) is not None


def _epsilon(module: nn.Module) -> float | None:
    found = [
        v
        for name in ("variance_epsilon", "eps", "epsilon")
        if isinstance(v := getattr(module, name, None), float)
    ]
    return found[0] if found else None


def _is_gated(module: nn.Module) -> bool:
    return {name for name, _ in module.named_children()} == {"gate_proj", "up_proj", "down_proj", "act_fn"}


def _candidates(module: nn.Module) -> Iterator[Callable[..., Tensor]]:
    """Forwards that might equal the module's own."""
    if _is_norm(module):
        epsilon = _epsilon(module)
        for rule in NORM_RULES:
            yield lambda self, states, rule=rule: _RMSNorm.apply(states, self.weight, epsilon, rule)
        return
    for activation in ACTIVATIONS.values():
        yield lambda self, states, activation=activation: self.down_proj(
            _Gate.apply(self.gate_proj(states), self.up_proj(states), activation)
        )


def _best(module: nn.Module) -> Callable[..., Tensor] | None:
    """The candidate nearest to the module's own forward, if it equals it.

    Rules for norms differ in where they round, which only a low precision shows; and the module may run
    in another one later (autocast, working copies), so both are compared. Weights of 1, as norms start with,
    would round nothing: copies have other ones.
    """
    versions = [module]
    if _is_norm(module):
        versions = [noisy := _with_noise(module), copy.deepcopy(noisy).bfloat16()]
    distances = [(sum(_distance(v, c) for v in versions), i, c) for i, c in enumerate(_candidates(module))]
    distance, _, best = min(distances)
    return best if distance < float("inf") else None


@torch.no_grad()
def _with_noise(module: nn.Module) -> nn.Module:
    noisy = copy.deepcopy(module)
    for weight in noisy.parameters():
        noise = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0))
        weight.add_(noise.to(weight))
    return noisy


def _distance(module: nn.Module, forward: Callable[..., Tensor]) -> float:
    """How far output and gradients of `forward` are from the module's in training; infinite if unequal."""
    weight = next(module.parameters())
    width: Any = weight.shape[0] if _is_norm(module) else module.get_submodule("gate_proj").in_features
    states = torch.randn(4, width, generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)
    states.requires_grad_()
    inputs = [states, weight] if _is_norm(module) and weight.requires_grad else [states]
    was_training = module.training
    module.train()
    try:
        expected = _results(module.forward, inputs)
        found = _results(types.MethodType(forward, module), inputs)
    except (
        RuntimeError,
        TypeError,
        NotImplementedError,
    ):  # needs other arguments, or other tensors than these
        return float("inf")
    finally:
        module.train(was_training)
    if not all(_close(a, b) for a, b in zip(found, expected, strict=True)):
        return float("inf")
    return sum(float((a.double() - b.double()).abs().sum()) for a, b in zip(found, expected, strict=True))


def _results(forward: Callable[[Tensor], Tensor], inputs: list[Tensor]) -> list[Tensor]:
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # dropout inside adapters falls alike
        output = forward(inputs[0])
        grad = torch.linspace(-1, 1, output.numel(), dtype=output.dtype, device=output.device).view_as(output)
        return [output.detach(), *torch.autograd.grad(output, inputs, grad)]


def _close(found: Tensor, expected: Tensor) -> bool:
    """Equal up to a few roundings of the dtype, measured against the largest entry."""
    tolerance = 8 * torch.finfo(expected.dtype).eps * expected.abs().max()
    return found.dtype == expected.dtype and bool(((found - expected).abs() <= tolerance).all())


class _RMSNorm(torch.autograd.Function):
    """`x / sqrt(mean(x^2) + epsilon) * weight`, statistics in float32; keeps `x` and one number per row."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float, rule: NormRule) -> Tensor:
        total = torch.promote_types(states.dtype, torch.float32)
        squares = torch.linalg.vector_norm(states, dim=-1, keepdim=True, dtype=total).square_()
        rate = squares.div_(states.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(states, weight, rate)
        ctx.rule = rule
        if rule.late:
            return (states * rate).mul_(_scale(weight, rule, total)).to(states.dtype)
        normal = torch.mul(states, rate, out=torch.empty_like(states))
        return normal * _scale(weight, rule, weight.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, rate = ctx.saved_tensors
        normal = states * rate
        by_weight = None
        if ctx.needs_input_grad[1]:
            by_weight = (grad * normal).flatten(0, -2).sum(0).to(weight.dtype)
        by_normal = grad * _scale(weight, ctx.rule, rate.dtype)
        along = (by_normal * normal).mean(-1, keepdim=True)
        by_states = by_normal.addcmul_(normal, along, value=-1)
        return torch.mul(by_states, rate, out=torch.empty_like(states)), by_weight, None, None


def _scale(weight: Tensor, rule: NormRule, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype) + 1 if rule.plus_one else weight.to(dtype)


class _Gate(torch.autograd.Function):
    """`activation(gate) * up`; keeps gate and up, not the activated gate."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: Activation) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return activation.forward(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        by_up = ctx.activation.forward(gate).mul_(grad)
        return ctx.activation.backward(grad * up, gate), by_up, None
