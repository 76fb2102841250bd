"""The folder in which the commands of a document are run: the files that documents speak of, small ones.

A block of a document whose first line is `# name.ending` is a file of that name. The others are the demo's
rows, whole and in other people's layouts, a tiny model named MODEL, a reward model in runs/reward, and what a
plan reads of Qwen2.5-7B-Instruct: its config, and the tiny model's tokenizer.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.demo.folder import write_rows
from burnish.demo.task import Rows, make_rows
from burnish.demo.tiny import tiny_model

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^```\w+\n# ([\w./]+\.\w+)\n(.*?)^```", re.S | re.M)

PIPELINE = """\
defaults: {model: MODEL, max_length: 256, max_steps: 2, report_to: none}
stages:
  - {name: sft, method: sft, dataset: chats.jsonl}
  - {name: reward, method: reward, model: sft, dataset: pairs.jsonl}
  - {name: dpo, method: dpo, model: sft, dataset: pairs.jsonl}
"""
STAGE = "method: dpo\nmodel_name_or_path: MODEL\ndataset_name: pairs.jsonl\nmax_length: 256\nmax_steps: 2\n"


def furnish(folder: Path, document: Path) -> None:
    """Write what the commands of `document` read."""
    rows = make_rows(0, lessons=40, preferences=32, held_out=8)
    tiny_model(folder / "MODEL", rows, seed=0)
    save_reward_model(folder / "MODEL", folder / "runs" / "reward")
    save_config(folder / "MODEL", folder / "Qwen2.5-7B-Instruct")
    for name, content in files(rows).items():
        write_rows(folder / name, content)
    shutil.copytree(ROOT / "examples", folder / "examples")
    text = document.read_text(encoding="utf-8")
    (folder / "dpo.yaml").write_text(STAGE)
    if "burnish init" not in text:
        (folder / "pipeline.yaml").write_text(PIPELINE)
    for name, content in FILE.findall(text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def files(rows: Rows) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    pairs = rows.held_out_preferences
    last = [{key: value[-1]["content"] for key, value in pair.items()} for pair in pairs]
    return {
        "chats.jsonl": [{"messages": [*row["prompt"], *row["completion"]]} for row in rows.lessons],
        "pairs.jsonl": rows.preferences,
        "held_out.jsonl": rows.held_out,
        "held_out_pairs.jsonl": pairs,
        "data/train.jsonl": rows.preferences,
        "data/validation.jsonl": pairs,
        "rewardbench.jsonl": [row | {"subset": "notes"} for row in last],
        "samples.jsonl": [
            {"prompt": p["prompt"], "completions": [p["chosen"], p["rejected"]], "scores": [1.0, 0.0]}
            for p in last
        ],
        "export.jsonl": [
            {"question": p["prompt"], "good_answer": p["chosen"], "bad_answer": p["rejected"]} for p in last
        ],
        "tickets.jsonl": [{"ticket": {"question": p["prompt"], "reply": p["chosen"]}} for p in last],
    }


def save_reward_model(base: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


QWEN = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}
"""The shape of Qwen2.5-7B (arXiv:2412.15115)."""


def save_config(base: Path, folder: Path) -> None:
    from transformers import AutoTokenizer, Qwen2Config

    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen2Config(**QWEN, **ids, architectures=["Qwen2ForCausalLM"], dtype="bfloat16")
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
