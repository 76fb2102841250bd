"""certify takes the first exact way, says so, refuses what is wrong, and leaves the model as it was."""

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
)

from benchmarks.coverage import examine, tiny_config, tiny_model
from burnish.errors import UserError
from burnish.models import attention, conditions
from burnish.models.certify import certify
from burnish.models.forward import is_attached
from tests.models.oracle import forest_loss, separate_loss
from tests.models.test_tiers import SIZES, forest, llama

DTYPES = [torch.float64, torch.float32, torch.bfloat16]

EXPECTED = {
    "llama": "registered",
    "gemma2": "registered",  # soft-capping, windows in every second layer
    "gpt_oss": "registered",  # attention sinks
    "qwen3_moe": "registered",
    "deepseek_v3": "registered",  # latent attention
    "diffllama": "registered",  # attends twice in a layer
    "falcon": "mask",  # no attention interface
    "stablelm": "mask",  # keeps the keyword to itself
    "deepseek_v32": "mask",  # top-k selection reads the mask
    "gpt_neo": "packed",  # a window built into a buffer, by place in the row
    "bloom": "padded",  # distances from the mask
    "mamba": "padded",
    "lfm2": "padded",  # convolutions run across branches
}


@pytest.mark.parametrize("family", EXPECTED)
def test_the_first_exact_tier_is_taken(family):
    row = examine(family)
    assert row["tier"] == EXPECTED[family], row["reason"]
    assert row["forward_error"] < 2e-6 and row["gradient_error"] < 1e-5


def test_the_line_says_what_was_chosen_and_why():
    line = certify(llama().float()).line()
    assert line.startswith("attention: registered (forest equals separate runs: forward ")
    assert line.endswith("3 of 3 layers)")


def test_a_model_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(conditions, "PROBED", 0)  # vectors only, as in a large model
    model = LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.0, sliding_window=64)).eval()
    model.model.norm.weight.requires_grad_(False)
    model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
    weights = {name: p.clone() for name, p in model.named_parameters()}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    model.model.norm.register_forward_hook(lambda *_: torch.rand(1) and None)
    config, random = model.config.to_dict(), torch.get_rng_state()
    certify(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.config.to_dict() == config and model.config._attn_implementation == "sdpa"
    assert not any(module.training for module in model.modules())
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == frozen
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert torch.equal(model.lm_head.weight.grad, torch.ones_like(model.lm_head.weight))
    assert all(p.grad is None for name, p in model.named_parameters() if name != "lm_head.weight")


def blind(module, query, key, value, mask, *, forest, scaling, **_):
    """Attention that takes the forest for one sequence."""
    forest.attention_calls += 1
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=True, scale=scaling
    )
    return out.transpose(1, 2).contiguous(), None


def forgetful(module, query, key, value, mask, *, forest, scaling, **_):
    """Right, but no gradient reaches the keys of the prompt from completions."""
    forest.attention_calls += 1
    shared = (forest.branch < 0)[None, None, :, None]
    key = torch.where(shared, key.detach(), key)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=forest.ancestors, enable_gqa=True, scale=scaling
    )
    return out.transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_shares(dtype):
    assert certify(llama().to(dtype)).tier == "registered"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("broken", [blind, forgetful])
def test_a_broken_tier_is_found_out(broken, dtype):
    attention.AttentionInterface.register(attention.NAME, broken)
    try:
        certificate = certify(llama().to(dtype))
    finally:
        attention.AttentionInterface.register(attention.NAME, attention.forest_attention)
    assert certificate.tier == "mask"
    assert "registered gave" in certificate.line()


def test_fewer_calls_than_layers_is_no_pass():
    model = llama().float()
    # Whatever this layer attends to, logits and gradients are exact.
    model.model.layers[1].self_attn.o_proj.weight.data.zero_()
    model.model.layers[1].self_attn.o_proj.weight.requires_grad_(False)

    def stock(self, *args, forest=None, **kwargs):
        kwargs["attention_mask"] = None
        implementation, self.config._attn_implementation_internal = self.config._attn_implementation, "sdpa"
        try:
            return type(self).forward(self, *args, **kwargs)
        finally:
            self.config._attn_implementation_internal = implementation

    layer = model.model.layers[1].self_attn
    layer.forward = stock.__get__(layer)
    certificate = certify(model)
    assert "2 of 3 layers" in certificate.tried["registered"] and certificate.tier != "registered"


def test_a_model_that_cannot_run_is_named():
    model = llama().float()
    model.model.norm = torch.nn.LayerNorm(7)
    with pytest.raises(UserError, match="own forward fails"):
        certify(model)


def test_a_model_that_fails_everything_is_refused():
    model = llama().float()
    model.config.logit_scale = 2.0  # a rule of another family: the head reads it, this model does not
    with pytest.raises(UserError, match=r"'llama'.*registered: forward .*padded: forward"):
        certify(model)
    assert not is_attached(model)


def test_a_model_that_sees_the_future_is_refused():
    config = tiny_config("bert")
    config.is_decoder = False
    with pytest.raises(UserError, match=r"^model: in this 'bert' model a token sees"):
        certify(type(tiny_model("bert"))(config))


def test_virtual_tokens_are_refused():
    with pytest.raises(UserError, match="LoRA"):
        certify(get_peft_model(llama(), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")))


def test_rules_of_length_bite_unless_training_never_meets_them():
    assert certify(tiny_model("llama4_text")).tier == "padded"
    assert certify(tiny_model("llama4_text"), max_tokens=8192).tier == "mask"
    assert certify(tiny_model("llama4_text"), max_tokens=8192, max_length=64).tier == "registered"


def test_attention_dropout_is_set_to_zero_and_said():
    model = LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.25)).train()
    certificate = certify(model)
    assert certificate.line().endswith("attention dropout 0.25 set to 0")
    torch.testing.assert_close(forest_loss(model, forest()), separate_loss(model.eval(), forest()))


def test_adapters_and_reentrant_checkpointing():
    model = get_peft_model(llama().float(), LoraConfig(target_modules=["q_proj", "v_proj"], lora_dropout=0.1))
    model.gradient_checkpointing_enable({"use_reentrant": True})
    certificate = certify(model)
    assert certificate.tier == "registered" and 0 < certificate.gradient_error < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_a_four_bit_base_with_adapters(tmp_path):
    pytest.importorskip("bitsandbytes")
    llama().float().save_pretrained(tmp_path)
    bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
    base = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=bits)
    model = get_peft_model(base, LoraConfig(target_modules="all-linear"))
    assert certify(model).tier == "registered"


def test_reward_models():
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(LlamaConfig(**SIZES, num_labels=1))
    assert certify(model).tier == "registered"


def test_nothing_trainable_is_checked_forward():
    certificate = certify(llama().float().requires_grad_(False))
    assert certificate.tier == "registered" and certificate.gradient_error != certificate.gradient_error


def test_tiers_can_be_chosen():
    model = llama().float()
    assert certify(model, tiers=["packed"]).tier == "packed"
    assert model(forest=forest()).forest.trees == 6


@pytest.mark.parametrize("family", ["bloom", "lfm2"])
def test_16_bits_take_no_tier_that_float32_refuses(family):
    certificate = certify(tiny_model(family).bfloat16())
    assert certificate.tier == EXPECTED[family]
    assert certificate.tried["registered"].endswith("in float32")


def test_a_model_without_layers_to_compare_in_float32_says_so(monkeypatch):
    monkeypatch.setattr("burnish.models.certify.float32_twin", lambda model: model.nothing_of_the_kind)
    assert "checked in 16 bits only" in certify(llama().bfloat16()).line()
    assert "16 bits" not in certify(llama().float()).line()


@pytest.mark.parametrize(
    ("family", "fails"), [("llama", ""), ("mamba", ""), ("xglm", "RuntimeError: mixed dtype")]
)
def test_a_run_in_the_dtype_of_training_stands_in_the_certificate(family, fails):
    certificate = certify(tiny_model(family).float(), computes_in=torch.bfloat16)
    assert certificate.fails_in[: len(fails) or None] == fails


def test_arguments_of_attention_that_nobody_knows_are_refused():
    trees = forest()
    query = torch.zeros(1, 2, trees.size, 4)

    def attend(**others):
        return attention.forest_attention(None, query, query, query, None, forest=trees, **others)

    attend(position_ids=trees.position, indices=None, is_causal=True, rescaled=False)
    for others in ({"indices": torch.ones(2)}, {"is_causal": False}, {"logit_bonus": 2.0}):
        with pytest.raises(RuntimeError, match=f"does not know {next(iter(others))}"):
            attend(**others)
