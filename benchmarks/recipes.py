"""The table of docs/recipes.md: memory of models of published sizes, as `burnish plan` predicts it.

    python -m benchmarks.recipes [NAME ...] [--json FILE]

No weights are read and nothing is trained: a model is its config, with the sizes that its authors publish.
Rows have 1,000 tokens of prompt and 1,000 of each answer, a micro-batch at most 4,096 tokens; adapters are
on every linear layer, with rank 16. A card fits if the peak is below nine tenths of it, less what CUDA keeps.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from transformers import AutoConfig, AutoTokenizer

from benchmarks._statistics import write_json
from burnish import units
from burnish.demo.folder import write_rows
from burnish.demo.task import make_rows
from burnish.demo.tiny import tiny_model
from burnish.pages.markdown import lines_of
from burnish.pipeline.run import read_pipeline
from burnish.pipeline.settings import read_document
from burnish.planning.devices import named_device
from burnish.planning.fitting import usable_bytes
from burnish.planning.predict import predict

HEADS_OF_128 = {"head_dim": 128, "num_key_value_heads": 8}
QWEN3 = {"model_type": "qwen3", "vocab_size": 151936, "tie_word_embeddings": True, **HEADS_OF_128}
LLAMA = {"model_type": "llama", "vocab_size": 128256, "tie_word_embeddings": True, "num_key_value_heads": 8}


def sizes(hidden: int, inner: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


MODELS: dict[str, dict[str, Any]] = {
    "Qwen3-0.6B": QWEN3 | sizes(1024, 3072, 28, 16),
    "Qwen3-1.7B": QWEN3 | sizes(2048, 6144, 28, 16),
    "Qwen3-4B": QWEN3 | sizes(2560, 9728, 36, 32),
    "Qwen3-8B": QWEN3 | sizes(4096, 12288, 36, 32) | {"tie_word_embeddings": False},
    "Llama-3.2-1B": LLAMA | sizes(2048, 8192, 16, 32) | {"head_dim": 64},
    "Llama-3.2-3B": LLAMA | sizes(3072, 8192, 28, 24) | {"head_dim": 128},
    "gemma-3-1b": {
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "head_dim": 256,
        "num_key_value_heads": 1,
        "sliding_window": 512,
        **sizes(1152, 6912, 26, 4),
    },
    "SmolLM3-3B": {"model_type": "smollm3", "num_key_value_heads": 4} | sizes(2048, 11008, 36, 16),
}
"""Sizes as in the `config.json` of each model."""

ADAPTER = {"use_peft": True, "lora_target_modules": ["all-linear"]}
TRAINED: dict[str, dict[str, Any]] = {
    "all weights": {},
    "LoRA": ADAPTER,
    "QLoRA": {**ADAPTER, "load_in_4bit": True},
}
CARDS = {"24 GB": "rtx4090", "40 GB": "a100-40gb", "48 GB": "l40s", "80 GB": "h100", "141 GB": "h200"}
METHODS = ("sft", "dpo")
ROW = 1000
"""Tokens of a prompt, and of an answer."""

console = Console(highlight=False, soft_wrap=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(words)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as name:
        folder = Path(name)
        tiny_model(folder / "tiny", make_rows(0, lessons=40, preferences=8, held_out=4), seed=0)
        write_data(folder)
        os.chdir(folder)
        for model in options.names or MODELS:
            write_model(folder, model)
            found += planned(folder, model)
            console.print(model)
            write_json({"row_tokens": ROW, "stages": found}, options.json)
    console.print(lines_of(table(found)))


def write_data(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny")
    ids = tokenizer("Please send the rye loaves to Jonas on Sunday. " * ROW, truncation=False)["input_ids"]
    text = tokenizer.decode(ids[:ROW])
    pair = {"prompt": text, "chosen": text, "rejected": text + "."}
    write_rows(folder / "dpo.jsonl", [pair] * 8)
    write_rows(folder / "sft.jsonl", [{"prompt": text, "completion": text}] * 8)


def write_model(folder: Path, name: str) -> None:
    """A folder that `burnish plan` takes for the model: its config, and a tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny")
    given = dict(MODELS[name])
    ids = {"bos_token_id": None, "pad_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(given.pop("model_type"), **given, **ids, dtype="bfloat16")
    config.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)


def planned(folder: Path, model: str) -> Iterator[dict[str, Any]]:
    """The peak of each method and way to train; with recomputed activations too, where they are too many."""
    for method in METHODS:
        for trained, given in TRAINED.items():
            settings = {"model": model, "dataset": f"{method}.jsonl", "max_length": 2 * ROW + 48, **given}
            kept = peak_bytes(folder, method, settings)
            small = kept <= usable(next(iter(CARDS)))
            recomputed = None if small else peak_bytes(folder, method, settings, recompute=True)
            yield {"model": model, "method": method, "trained": trained, "peak_bytes": kept} | {
                "recomputed_bytes": recomputed
            }


def peak_bytes(folder: Path, method: str, settings: Mapping[str, Any], recompute: bool = False) -> int:
    given = {"tokens_per_forward": 4096, "max_steps": 2, "gradient_checkpointing": recompute}
    stage = {"name": "planned", "method": method, **settings, **given}
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump({"stages": [stage]}))
    (ready,) = read_pipeline(read_document(str(file))).prepare()
    return predict(ready, device=CARDS["141 GB"]).memory.peak


def table(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each model and way to train it: the peak and the smallest card, by method."""
    known = {(each["model"], each["trained"], each["method"]): each for each in found}
    lines = [["model", "trained", *(cell for name in METHODS for cell in (name.upper(), "card"))]]
    lines.append(["---"] * len(lines[0]))
    for model, trained in dict.fromkeys((each["model"], each["trained"]) for each in found):
        cells = [cell for method in METHODS for cell in card(known[model, trained, method])]
        lines.append([model, trained, *cells])
    return lines


def card(found: Mapping[str, Any]) -> tuple[str, str]:
    """The peak and the smallest card; with a star, of recomputed activations, where that card is smaller."""
    kept, recomputed = found["peak_bytes"], found["recomputed_bytes"]
    own, other = smallest(kept), smallest(recomputed or kept)
    if other == own:
        return units.size(kept), own
    return units.size(recomputed), f"{other} *"


def smallest(size: int) -> str:
    return next((name for name in CARDS if size <= usable(name)), "several")


def usable(name: str) -> int:
    return usable_bytes(named_device(CARDS[name]))


if __name__ == "__main__":
    main()
