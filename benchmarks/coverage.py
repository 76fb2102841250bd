"""Which model families run a forest exactly, and how: `python -m benchmarks.coverage`.

Builds a tiny random model of every causal-LM type in transformers (float32, CPU), runs `certify` on
it and prints what came out. Each type has a process of its own, so a crash costs one row.

    --json FILE     also write the rows: type, tier, forward_error, gradient_error, reason
    --types a,b     only these types
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from burnish.errors import UserError
from burnish.models.certify import certify
from burnish.models.tiers import SHARING

TIME_LIMIT = 120.0
"""Seconds for one type; the slowest takes a few."""

Row = dict[str, Any]


# Tiny models

SIZES: dict[int, str] = {
    0: "pad_token_id num_nextn_predict_layers",
    1: "bos_token_id n_shared_experts num_shared_experts moe_num_shared_experts first_k_dense_replace "
    "topk_group",
    2: "eos_token_id num_key_value_heads num_kv_heads num_experts_per_tok num_experts_per_token moe_topk "
    "moe_k n_group num_expert_group linear_num_key_heads",
    4: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers "
    "num_encoder_layers num_attention_heads n_head n_heads num_heads encoder_attention_heads attention_heads "
    "decoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads num_experts "
    "n_routed_experts num_local_experts moe_num_experts index_n_heads linear_num_value_heads",
    8: "head_dim qk_rope_head_dim qk_nope_head_dim v_head_dim kv_lora_rank index_head_dim rotary_dim "
    "attention_head_dim query_pre_attn_scalar kv_channels linear_key_head_dim linear_value_head_dim",
    16: "q_lora_rank moe_intermediate_size shared_expert_intermediate_size qk_head_dim",
    32: "hidden_size d_model n_embd emb_dim embedding_size embedding_dim word_embed_proj_dim",
    64: "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size n_inner d_inner dff "
    "dim_ff sliding_window index_topk shared_intermediate_size intermediate_size_mlp attention_chunk_size",
    128: "vocab_size vocab_size_per_layer_input",
    256: "max_position_embeddings n_positions n_ctx max_seq_len",
}
"""Names of sizes in configs, by the value that they get."""

SMALL = {name: value for value, names in SIZES.items() for name in names.split()}

HEAD_DIM: dict[str, Any] = {"head_dim": 8}
MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_chunk_size": 8}

GEMMA3N_LAYERS = ["sliding_attention", "full_attention"] * 3

OVERRIDES: dict[str, dict[str, Any]] = {
    "bamba": MAMBA2,
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "dbrx": {
        "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 64},
    },
    "deepseek_v2": {"first_k_dense_replace": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "dots1": {
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_routed_experts": 4,
    },
    "falcon_h1": {**MAMBA2, "mamba_d_ssm": 64},
    "gemma3n_text": {"num_kv_shared_layers": 2, "num_hidden_layers": 6, "layer_types": GEMMA3N_LAYERS},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 6},
    "granitemoehybrid": MAMBA2,
    "hunyuan_v1_dense": HEAD_DIM,
    "hunyuan_v1_moe": HEAD_DIM,
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse", "full_attention", "minimax_m3_sparse"],
        "index_n_heads": 2,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 16, "n_groups": 2, "chunk_size": 8},
    "ministral": HEAD_DIM,
    "nemotron": {"num_key_value_heads": 2},
    "reformer": {"axial_pos_embds": False, "lsh_attn_chunk_length": 8, "local_attn_chunk_length": 8},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 32},
    "xlm": {"causal": True},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layer_types": ["linear_attention", "hybrid"] * 2},
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "chunk_size": 8,
        "mamba_d_state": 16,
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""What one type needs besides."""


def tiny_config(model_type: str) -> PreTrainedConfig:
    """The default config of a type with every size shrunk."""
    config_class = CONFIG_MAPPING[model_type]
    default = config_class()
    settings = _shrunk(default)
    for name in default.sub_configs:
        if isinstance(part := getattr(default, name, None), PreTrainedConfig):
            settings[name] = {"model_type": part.model_type, **_shrunk(part)}
    return config_class(**_merged(settings, OVERRIDES.get(model_type, {})))


def _shrunk(config: PreTrainedConfig) -> dict[str, Any]:
    present = {name for name, value in vars(config).items() if value is not None}
    settings: dict[str, Any] = {name: value for name, value in SMALL.items() if name in present}
    if "initializer_range" in present:
        settings["initializer_range"] = 0.2  # attention that matters
    if "is_decoder" in present:
        settings["is_decoder"] = True
    if "kv_lora_rank" in present and "num_key_value_heads" in present:
        settings["num_key_value_heads"] = settings["num_attention_heads"]  # latent attention has no groups
    types = list(dict.fromkeys(vars(config).get("layer_types") or []))
    if len(types) > 1:  # every type of layer, whatever the pattern
        settings["num_hidden_layers"] = max(4, len(types))
        settings["layer_types"] = [types[i % len(types)] for i in range(settings["num_hidden_layers"])]
    return settings


def _merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in more.items():
        merged[name] = _merged(merged.get(name, {}), value) if isinstance(value, dict) else value
    return merged


def tiny_model(model_type: str) -> PreTrainedModel:
    """A random model of this type with a few thousand parameters."""
    config = tiny_config(model_type)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


# One type


def examine(model_type: str) -> Row:
    """Build a tiny model of one type and certify it."""
    row: Row = {"type": model_type, "tier": None, "forward_error": None, "gradient_error": None}
    try:
        model = tiny_model(model_type)
    except Exception as error:  # any config may fail in its own way; the row says how
        return {**row, "reason": f"not built: {_first_line(error)}"}
    try:
        certificate = certify(model)
    except UserError as error:
        return {**row, "reason": f"refused: {error.what}"}
    except Exception as error:
        return {**row, "reason": f"failed: {_first_line(error)}"}
    return {
        "type": model_type,
        "tier": certificate.tier,
        "forward_error": certificate.forward_error,
        "gradient_error": certificate.gradient_error,
        "reason": certificate.reason,
    }


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:200]}"


def examine_apart(model_type: str) -> Row:
    """The same in a forked process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(examine(model_type)))
    process.start()
    sender.close()
    empty: Row = {"type": model_type, "tier": None, "forward_error": None, "gradient_error": None}
    try:
        if not receiver.poll(TIME_LIMIT):
            return {**empty, "reason": f"failed: no answer in {TIME_LIMIT:.0f} s"}
        return receiver.recv()
    except EOFError:
        return {**empty, "reason": "failed: the process died"}
    finally:
        process.kill()
        process.join()


# All types


def report(row: Row) -> str:
    def number(value: float | None) -> str:
        return f"{value:8.0e}" if value is not None else " " * 8

    return (
        f"{row['type']:28} {row['tier'] or '-':11} {number(row['forward_error'])} "
        f"{number(row['gradient_error'])}  {row['reason'] if row['tier'] not in SHARING else ''}"
    )


def summary(rows: list[Row]) -> str:
    tiers = Counter(row["tier"] or row["reason"].split(":")[0] for row in rows)
    shared = sum(tiers[tier] for tier in SHARING)
    parts = ", ".join(f"{count} {name}" for name, count in tiers.most_common())
    return f"{shared} of {len(rows)} types share prefixes exactly ({parts})"


def main() -> None:
    parser = argparse.ArgumentParser(description="How every causal-LM type in transformers runs a forest.")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--types", help="comma-separated types; all without it")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    types = arguments.types.split(",") if arguments.types else sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    started, rows = time.perf_counter(), []
    print(f"{'type':28} {'tier':11}  forward gradient  reason")
    for model_type in types:
        rows.append(examine_apart(model_type))
        print(report(rows[-1]), flush=True)
    print(f"\n{summary(rows)}; {time.perf_counter() - started:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
