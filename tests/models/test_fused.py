"""Fused modules give what the stock ones give, and what is not the same is left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from burnish.models.fused import fuse, unfuse

SIZES = {
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, 5),  # norms: two per layer and the last one
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, 9),  # and one each for queries and keys
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, 9),  # four per layer; weights as distances from one
}


def build(family: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    model_class, config_class, _ = FAMILIES[family]
    model = model_class(config_class(**SIZES, attn_implementation="eager"))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter, 1, 0.3)
    return model.to(dtype).train()


def gradients(model: nn.Module) -> list[Tensor]:
    """The hidden states, and the gradient of every parameter that has one."""
    model.zero_grad()
    states = model.model(input_ids=torch.arange(24).view(2, 12)).last_hidden_state
    states.square().sum().backward()
    return [states.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("family", FAMILIES)
def test_same_numbers(family: str) -> None:
    model = build(family, torch.float32)
    expected = gradients(model)
    names = fuse(model, gates=True)
    assert sum("norm" in name for name in names) == FAMILIES[family][2]
    assert sum(name.endswith("mlp") for name in names) == 2
    for a, b in zip(gradients(model), expected, strict=True):
        assert (a - b).norm() <= 2e-6 * b.norm()


def test_float64() -> None:
    """Stock norms drop to float32 there, which ours would not, so only the gates are equal to rounding."""
    model = build("llama", torch.float64)
    expected = gradients(model)
    assert [name.endswith("mlp") for name in fuse(model, gates=True)] == [True, True]
    for a, b in zip(gradients(model), expected, strict=True):
        assert (a - b).norm() <= 1e-12 * b.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_as_exact_as_stock(family: str) -> None:
    """Also where the rule was found in float32, and the weights were cast later."""
    model = build(family, torch.float32)
    assert len(fuse(model, gates=True)) == FAMILIES[family][2] + 2
    model.bfloat16()
    fused = copy.deepcopy(model)
    unfuse(model)
    exact = gradients(copy.deepcopy(model).double())
    stock = gradients(model)
    found = gradients(fused)

    def error(values: list[Tensor]) -> float:
        return sum(
            float((v.double() - e).norm() ** 2 / e.norm() ** 2) for v, e in zip(values, exact, strict=True)
        )

    assert [v.dtype for v in found] == [v.dtype for v in stock]
    assert error(found) <= 1.3 * error(stock)


def kept_bytes(model: nn.Module) -> int:
    """Bytes that a forward pass keeps for the backward pass."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = model.model(input_ids=torch.arange(24).view(2, 12)).last_hidden_state
        del states
    return sum(storages.values())


def test_each_keeps_less() -> None:
    stock, norms, both = (build("llama", torch.bfloat16) for _ in range(3))
    fuse(norms)
    fuse(both, gates=True)
    assert kept_bytes(both) < kept_bytes(norms) < kept_bytes(stock)


def test_unfuse_restores_and_fuse_repeats() -> None:
    model = build("llama", torch.float32)
    expected = gradients(model)
    names = fuse(model)
    assert len(names) == 5 and fuse(model) == []
    unfuse(model)
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(gradients(model), expected, strict=True))
    assert fuse(model) == names


def test_frozen_weights_get_no_gradient() -> None:
    model = build("llama", torch.float32)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("q_proj" in name)
    expected = gradients(model)
    fuse(model, gates=True)
    found = gradients(model)
    assert len(found) == len(expected) == 3
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


class ShiftedRMSNorm(nn.Module):
    """Looks like one, computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.eps = 1e-6

    def forward(self, states: Tensor) -> Tensor:
        centred = states - states.mean(-1, keepdim=True)
        return self.weight * centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + self.eps)


class HiddenEpsilonRMSNorm(ShiftedRMSNorm):
    """Off by one part in two thousand."""

    def forward(self, states: Tensor) -> Tensor:
        return self.weight * states * torch.rsqrt(states.square().mean(-1, keepdim=True) + 1e-3)


class DroppingMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (nn.Linear(8, 8) for _ in range(3))
        self.act_fn = nn.SiLU()

    def forward(self, states: Tensor) -> Tensor:
        gated = self.act_fn(self.gate_proj(states)) * self.up_proj(states)
        return self.down_proj(nn.functional.dropout(gated, 0.5, self.training))


def test_what_differs_is_left_alone() -> None:
    model = nn.Sequential(ShiftedRMSNorm(), HiddenEpsilonRMSNorm(), DroppingMLP()).eval()
    assert fuse(model, gates=True) == []
    assert not any(module.training for module in model.modules())


def test_a_copy_is_fused_on_its_own() -> None:
    model = build("llama", torch.float32)
    fuse(model)
    other = copy.deepcopy(model)
    nn.init.zeros_(other.model.norm.weight)
    states = torch.ones(1, 1, 32)
    assert other.model.norm(states).abs().max() == 0 < model.model.norm(states).abs().max()


@pytest.mark.parametrize("norm", [GptOssRMSNorm, LlamaRMSNorm])  # multiplies before the cast, and after it
def test_a_norm_whose_weights_are_still_one_is_told_apart(norm):
    model = nn.Sequential(norm(32))
    assert fuse(model) == ["0"]
    nn.init.normal_(model[0].weight, 1, 0.3)
    states = torch.randn(64, 32).bfloat16()
    stock = norm(32)
    stock.weight = model[0].weight
    for weight in (stock.weight, nn.Parameter(stock.weight.data.bfloat16())):
        stock.weight = model[0].weight = weight
        torch.testing.assert_close(model(states), stock(states), rtol=0, atol=0)
