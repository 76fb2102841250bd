"""The reference of a policy with an adapter is the model that training started from, whatever is trained."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.adapters import adapter_of, switched_off, trained_when_off
from burnish.models.forward import attach
from burnish.models.reference import Reference, reference_kind
from burnish.models.score import score

TARGETS = ["q_proj", "v_proj", "down_proj"]
LORA = {"r": 4, "target_modules": TARGETS}
TIED = {
    "r": 4,
    "target_modules": ["q_proj"],
    "modules_to_save": ["embed_tokens"],
    "ensure_weight_tying": True,
}

REMOVABLE = {
    "lora": peft.LoraConfig(**LORA),
    "gaussian": peft.LoraConfig(**LORA, init_lora_weights="gaussian"),
    "rslora": peft.LoraConfig(**LORA, use_rslora=True),
    "dora": peft.LoraConfig(**LORA, use_dora=True),
    "head": peft.LoraConfig(**LORA, modules_to_save=["lm_head"]),
    "tied head": peft.LoraConfig(**TIED),
    "ia3": peft.IA3Config(target_modules=TARGETS, feedforward_modules=["down_proj"]),
    "oft": peft.OFTConfig(oft_block_size=4, target_modules=TARGETS, use_cayley_neumann=False),
    "vera": peft.VeraConfig(r=4, target_modules=["q_proj"]),
    "adalora": peft.AdaLoraConfig(target_modules=TARGETS, total_step=10),
    "tokens": peft.LoraConfig(**LORA, trainable_token_indices=[3, 11]),
    "tied tokens": peft.LoraConfig(**LORA, trainable_token_indices=[3, 11]),
    "norms": peft.LNTuningConfig(target_modules=["input_layernorm"]),
}
TRAINED = {
    "random": peft.LoraConfig(**LORA, init_lora_weights=False),
    "pissa": peft.LoraConfig(**LORA, init_lora_weights="pissa"),
    "olora": peft.LoraConfig(**LORA, init_lora_weights="olora"),
    "all biases": peft.LoraConfig(**LORA, bias="all"),
    "its biases": peft.LoraConfig(**LORA, bias="lora_only"),
}


def llama(tied: bool = False):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        attention_bias=True,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config)


def adapted(name: str):
    torch.manual_seed(1)
    return peft.get_peft_model(llama("tied" in name), (REMOVABLE | TRAINED)[name])


def forest():
    rows = [TokenizedExample([3, 9, 27], [[17, 51, 25], [11, 33]], [[True] * 3, [True] * 2])]
    return Forest.pack(rows)


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "continued"])
@pytest.mark.parametrize("name", [*REMOVABLE, *TRAINED])
def test_the_reference_stays_what_the_policy_was_before_training(name, fresh):
    policy = attach(adapted(name)).eval()
    with torch.no_grad():
        start = forest().per_branch(score(policy, forest()).logprob)
    kind = reference_kind(adapter_of(policy, fresh))
    assert kind == ("adapter off" if fresh and name in REMOVABLE else "frozen adapter")
    reference = Reference.of(kind, policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
        moved = forest().per_branch(score(policy, forest()).logprob)
    assert (moved - start).abs().max() > 0.1
    torch.testing.assert_close(reference.score(policy, forest()), start, rtol=1e-5, atol=1e-5)


def test_an_adapter_that_goes_on_is_copied_and_no_adapter_has_no_weights_of_its_own():
    assert reference_kind(adapter_of(adapted("lora"), fresh=True), moves=True) == "frozen adapter"
    assert reference_kind(adapter_of(llama(), fresh=True)) == "precomputed"
    assert reference_kind(None, in_every_step=True) == "frozen copy"
    assert reference_kind(None, given=True, moves=True) == "given"


@pytest.mark.parametrize("name", ["lora", "all biases", "pissa", "random"])
def test_a_model_without_numbers_is_judged_alike(name):
    with torch.device("meta"):
        policy = peft.get_peft_model(llama(), REMOVABLE.get(name) or TRAINED[name], low_cpu_mem_usage=True)
    assert (adapter_of(policy, fresh=True) == "removable") == (name in REMOVABLE)


def test_weights_that_no_switch_reaches_are_named():
    assert trained_when_off(adapted("lora")) == []
    found = trained_when_off(adapted("its biases"))
    assert {name.rsplit(".", 2)[-2] for name in found} == {"base_layer"} and len(found) == 4


def test_what_was_frozen_by_hand_stays_frozen():
    policy = adapted("lora")
    for name, parameter in policy.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
    before = {name: parameter.requires_grad for name, parameter in policy.named_parameters()}
    with switched_off(policy):
        pass
    assert {name: parameter.requires_grad for name, parameter in policy.named_parameters()} == before
