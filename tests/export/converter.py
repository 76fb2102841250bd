"""Stands in for llama.cpp's converter: writes a Llama folder as GGUF, with the same command line.

    python converter.py MODEL --outfile FILE --outtype f32|bf16|q8_0

BREAK in the environment plants a fault: tensor, template, tokens, control, eos.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.": "blk.",
}


def permuted(weight, heads: int):
    """The two halves of a head's rotary dimensions, interleaved as llama.cpp wants them."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--outfile", required=True)
    parser.add_argument("--outtype", required=True)
    given = parser.parse_args()
    fault = os.environ.get("BREAK")
    model = AutoModelForCausalLM.from_pretrained(given.model)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    config = model.config
    writer = gguf.GGUFWriter(given.outfile, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    for index, token in tokenizer.added_tokens_decoder.items():
        tokens[index] = str(token)
    writer.add_token_list(tokens[::-1] if fault == "tokens" else tokens)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    added = set(tokenizer.added_tokens_decoder)
    control = gguf.TokenType.NORMAL if fault == "control" else gguf.TokenType.CONTROL
    writer.add_token_types(
        [
            control if i in special else gguf.TokenType.USER_DEFINED if i in added else gguf.TokenType.NORMAL
            for i in range(len(tokens))
        ]
    )
    writer.add_eos_token_id(0 if fault == "eos" else tokenizer.eos_token_id)
    template = tokenizer.chat_template
    writer.add_chat_template(template.replace("assistant", "helper") if fault == "template" else template)
    for name, tensor in model.state_dict().items():
        weight = tensor.float().numpy()
        for heads, part in ((config.num_attention_heads, "q_proj"), (config.num_key_value_heads, "k_proj")):
            if part in name and fault != "tensor":
                weight = permuted(weight, heads)
        kind = (
            gguf.GGMLQuantizationType[given.outtype.upper()]
            if weight.ndim > 1
            else gguf.GGMLQuantizationType.F32
        )
        for long, short in NAMES.items():
            name = name.replace(long, short)
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
