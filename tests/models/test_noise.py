"""Dropout, wherever a modeling file keeps its rates."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from burnish.models.certify import certify
from burnish.models.forward import detach
from burnish.models.noise import Silenced, attention_dropout, noise

SMALL = {
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "emb_dim", "word_embed_proj_dim", "dim", "d_ff"), 32
    ),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "d_inner"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 2),
    **dict.fromkeys(
        ("num_attention_heads", "num_key_value_heads", "n_head", "n_heads", "attention_heads"), 2
    ),
    **dict.fromkeys(("decoder_attention_heads", "num_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "vocab_size"), 64),
    "head_dim": 16,
    "moe_intermediate_size": 16,
    "encoder_layers": 1,
    "rotary_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""What configs call their sizes."""

IN_MODULES, IN_ATTRIBUTES, IN_CONFIGS = (
    ["gpt2", "gpt_neox"],
    ["opt", "bloom", "biogpt"],
    ["falcon", "nemotron"],
)
LAYERS_AND_ROUTERS = ["xglm", "mixtral", "phimoe"]


def noisy(kind: str, rate: float = 0.3):
    """A tiny model with every rate of its config set, or None where these sizes do not make one."""
    names = vars(AutoConfig.for_model(kind))
    config = AutoConfig.for_model(kind, **{name: size for name, size in SMALL.items() if name in names})
    rates = [
        n for n, v in vars(config).items() if isinstance(v, float | int) and ("drop" in n or "jitter" in n)
    ]
    for name in rates:
        setattr(config, name, rate)
    with torch.device("meta"):
        twin = AutoModelForCausalLM.from_config(config)
    if sum(parameter.numel() for parameter in twin.parameters()) > 3e7:
        return None
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()


def runs_alike(model) -> bool:
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        one, other = (model(input_ids=tokens).logits for _ in range(2))
    return torch.equal(one, other)


@pytest.mark.parametrize("kind", [*IN_MODULES, *IN_ATTRIBUTES, *IN_CONFIGS, *LAYERS_AND_ROUTERS])
def test_a_silenced_model_runs_twice_alike_in_training_mode(kind):
    model = noisy(kind)
    config = model.config.to_dict()
    assert not runs_alike(model)
    silenced = Silenced(noise(model))
    assert runs_alike(model)
    silenced.remove()
    assert not runs_alike(model)
    assert model.config.to_dict() == config


@pytest.mark.slow
def test_no_family_of_transformers_keeps_its_noise():
    """All that these sizes make; the others want sizes of their own."""
    left, found = [], 0
    for kind in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        try:
            model = noisy(kind)
            before = model is None or runs_alike(model)
        except Exception:
            continue
        if before:
            continue
        found += 1
        Silenced(noise(model))
        left += [] if runs_alike(model) else [kind]
    assert not left
    assert found > 110


@pytest.mark.parametrize(
    ("kind", "tier"), [("persimmon", "registered"), ("opt", "registered"), ("falcon", "mask")]
)
def test_dropout_of_any_kind_does_not_keep_a_model_from_its_certificate(kind, tier):
    """Our attention takes none, whoever keeps its rate; other dropout stays as it is."""
    model = noisy(kind)
    config = model.config.to_dict()
    rates = noise(model)
    assert certify(model).tier == tier
    assert noise(model)
    assert not attention_dropout(model)
    detach(model)
    assert noise(model) == rates
    assert model.config.to_dict() == config
