"""The balancing loss of a forest is transformers' own of its rows, one by one."""

from __future__ import annotations

import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.forward import attach
from burnish.models.routers import Routed, experts_per_token
from tests.models.test_tiers import llama

EXAMPLES = [
    TokenizedExample([5, 6, 7], [[8, 9], [10, 11, 12]], [[True] * 2, [True] * 3]),
    TokenizedExample([], [[4, 3, 2, 1]], [[True] * 4]),
]


def mixtral():
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.2,
        router_aux_loss_coef=0.5,
    )
    return MixtralForCausalLM(config)


@pytest.mark.parametrize("tier", ["registered", "mask", "packed", "padded"])
def test_the_balancing_loss_is_that_of_separate_rows(tier):
    model = mixtral()
    rows = [e.prompt + completion for e in EXAMPLES for completion in e.completions]
    logits = [model(input_ids=torch.tensor([row]), output_router_logits=True).router_logits for row in rows]
    expected = load_balancing_loss_func(tuple(map(torch.cat, zip(*logits, strict=True))), 4, top_k=2)

    forest = Forest.pack(EXAMPLES)
    forest.routed = Routed(experts_per_token(model))
    attach(model, tier)(forest=forest)
    with torch.no_grad():
        model(forest=forest)  # as a reference does: nobody listens
    found = forest.routed.loss()
    assert found.count == sum(map(len, rows))
    torch.testing.assert_close(found.value(), expected)
    gate = next(p for name, p in model.named_parameters() if "gate" in name)
    torch.testing.assert_close(*(torch.autograd.grad(x, gate)[0] for x in (found.value(), expected)))


def test_a_dense_model_has_none():
    assert experts_per_token(mixtral()) == 2 and experts_per_token(llama()) is None
