"""Every tier gives what separate runs give, and the model at rest is what it was."""

import copy

import pytest
import torch
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from benchmarks.coverage import tiny_model
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.forward import attach, detach
from burnish.models.tiers import SHARING, TIERS, row_limit
from tests.models.oracle import forest_loss, gradients, separate_loss

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


def llama(**more) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **more)).double()


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def forest() -> Forest:
    draw = torch.Generator().manual_seed(1)

    def tokens(length: int) -> list[int]:
        return torch.randint(1, 64, (length,), generator=draw).tolist()

    pair = TokenizedExample(tokens(6), [tokens(4), tokens(7)], [[True] * 4, [True] * 7])
    triple = TokenizedExample(tokens(3), [tokens(2), tokens(1), tokens(5)], [[True] * 2, [True], [True] * 5])
    document = TokenizedExample([], [tokens(8)], [[True] * 8])
    return Forest.pack([pair, document, triple])


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_equals_separate_runs(tier):
    model, trees = llama(), forest()
    expected = separate_loss(model, trees)
    found = forest_loss(attach(model, tier), trees)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    found_flat, expected_flat = flat(gradients(model, found)), flat(gradients(model, expected))
    # Llama's norms take float32 sums even in a float64 model.
    assert (found_flat - expected_flat).norm() < 1e-6 * expected_flat.norm()


@pytest.mark.parametrize("tier", TIERS)
def test_windows_go_by_depth(tier):
    model = tiny_model("mistral").double()
    model.config.sliding_window = 4
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 4
    trees = forest()
    torch.testing.assert_close(
        forest_loss(attach(model, tier), trees), separate_loss(model, trees), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("tier", TIERS)
def test_only_sharing_tiers_run_the_shared_forest(tier):
    model, trees = attach(llama(), tier), forest()
    hidden = model(forest=trees)
    assert (hidden.forest is trees) == (tier in SHARING)
    assert len(hidden.states) == hidden.forest.size


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("tier", TIERS)
def test_checkpointing_recomputes_the_same(tier, reentrant):
    model, trees = llama().train(), forest()
    attach(model, tier)
    plain = gradients(model, forest_loss(model, trees))
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    again = gradients(model, forest_loss(model, trees))
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("tier", TIERS)
def test_plain_forwards_and_generate_do_not_change(tier):
    model = llama().float().eval()
    prompt = torch.tensor([[0, 0, 5, 6, 7], [1, 2, 3, 4, 5]])
    mask = (prompt != 0).long()
    options = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False}
    before = model(prompt, attention_mask=mask).logits
    generated = model.generate(prompt, **options)
    attach(model, tier)
    model(forest=forest())
    assert torch.equal(model(prompt, attention_mask=mask).logits, before)
    assert torch.equal(model.generate(prompt, **options), generated)
    assert torch.equal(model.generate(prompt, cache_implementation="static", **options), generated)


def test_a_plain_forward_between_forward_and_backward_does_no_harm():
    model, trees = attach(llama().train()), forest()
    expected = gradients(model, forest_loss(model, trees))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    loss = forest_loss(model, trees)
    model(torch.tensor([[1, 2, 3]]))
    for a, b in zip(gradients(model, loss), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("tier", TIERS)
def test_a_saved_config_names_no_implementation_of_ours(tier, tmp_path):
    model = attach(llama(), tier)
    model(forest=forest())
    model.save_pretrained(tmp_path)
    assert "forest" not in (tmp_path / "config.json").read_text()
    assert AutoConfig.from_pretrained(tmp_path)._attn_implementation != "forest"
    assert model.config._attn_implementation == "sdpa"


def test_an_error_inside_a_forward_restores_the_implementation():
    model = attach(llama())
    broken = forest()
    broken.tokens = broken.tokens + 1000  # outside the vocabulary
    with pytest.raises(IndexError):
        model(forest=broken)
    assert model.config._attn_implementation == "sdpa"


def test_detach_leaves_nothing():
    model = llama()
    before = set(vars(model))
    attach(attach(model), "mask")
    detach(model)
    assert set(vars(model)) - before <= {"forward"}
    assert not any(layer.self_attn._forward_pre_hooks for layer in model.model.layers)
    with pytest.raises(TypeError):
        model.model.layers[0].self_attn(forest=forest())


def test_a_copy_of_an_attached_model_stands_alone():
    model, trees = attach(llama()), forest()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    original = llama()
    torch.testing.assert_close(forest_loss(twin, trees), separate_loss(original, trees), rtol=1e-12, atol=0)


@pytest.mark.parametrize("tier", TIERS)
def test_rewards_at_the_leaves_equal_separate_runs(tier):
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=1)).double()
    trees = forest()
    apart = trees.unshared()
    expected = torch.stack([model(apart.tokens[None, s.start : s.stop]).logits[0] for s in apart.segments])
    attach(model, tier)
    found = model(forest=trees, read=lambda inner, hidden: inner.score(hidden.states[hidden.forest.leaf]))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_packed_row_is_no_longer_than_the_table_of_a_model_that_has_one():
    model = tiny_model("gpt_neo").double()
    limit = int(row_limit(model))
    examples = [TokenizedExample([5] * 9, [[7] * (limit // 4)] * 2, [[True] * (limit // 4)] * 2)] * 3
    trees = Forest.pack(examples)
    assert trees.unshared_size == trees.unshared().size > limit
    packed, padded = (attach(model, tier)(forest=trees).states for tier in ("packed", "padded"))
    torch.testing.assert_close(packed, padded)
    assert row_limit(llama()) > 1e9
