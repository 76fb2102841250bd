"""The head as numbers gives the model's own logits, for every rule a family has."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.coverage import tiny_model
from burnish.errors import UserError
from burnish.models.forward import attach, inner_model
from burnish.models.head import language_head
from tests.models.oracle import forest_logits, forest_loss, gradients, separate_logits
from tests.models.test_tiers import SIZES, forest

RULES = {
    "llama": "plain",
    "gemma2": "soft-cap, tied",
    "cohere": "scale multiplies",
    "granite": "scale divides",
    "hyperclovax": "scale multiplies under the name that divides",
    "minicpm3": "scale divides",
    "falcon_h1": "multiplier",
    "nanochat": "soft-cap, untied",
    "gptj": "bias",
    "inkling_text": "padded vocabulary, divided",
    "bert": "layers before the projection",
    "roberta": "layers before the projection",
    "rembert": "layers before the projection",
    "electra": "layers before the projection",
    "modernbert-decoder": "layers before the projection",
}


@pytest.mark.parametrize("family", RULES)
def test_logits_equal_the_models_own(family):
    model = tiny_model(family).eval()
    expected = separate_logits(model, forest())
    found = forest_logits(attach(model, "padded"), forest())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))


def lora(**options):
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**SIZES))
    return get_peft_model(base, LoraConfig(**{"r": 2, "init_lora_weights": False, **options})).double()


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ],
)
def test_adapters_on_the_head_are_part_of_it(options):
    model, trees = lora(**options), forest()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lm_head" in name and parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    expected = separate_logits(model, trees)
    attach(model)
    torch.testing.assert_close(forest_logits(model, trees), expected, rtol=1e-6, atol=1e-7)
    with model.disable_adapter():
        off = separate_logits(model, trees)
        torch.testing.assert_close(forest_logits(model, trees), off, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(off, expected, atol=1e-2)
    gradients(model, forest_loss(model, trees))
    on_head = [p for n, p in model.named_parameters() if "lm_head" in n and p.requires_grad]
    assert on_head and all(p.grad is not None and p.grad.abs().sum() > 0 for p in on_head)


@pytest.mark.parametrize(
    ("options", "key"), [({"lora_dropout": 0.1}, "lora_dropout"), ({"use_dora": True}, "target_modules")]
)
def test_what_cannot_be_one_matrix_is_refused(options, key):
    model = lora(target_modules=["lm_head"], **options).train()
    with pytest.raises(UserError, match=key):
        language_head(inner_model(model))


def test_a_frozen_head_gets_no_gradient():
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    model.lm_head.weight.requires_grad_(False)
    attach(model)
    gradients(model, forest_loss(model, forest()))
    assert model.lm_head.weight.grad is None and model.model.norm.weight.grad is not None
