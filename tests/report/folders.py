"""Folders as runs and pipelines leave them: three stages on a bakery's notes, with every file they write."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

GB, MB = 2**30, 2**20
PROMPTS = [
    "Do you have cinnamon rolls on Wednesday? If so, twelve for Nora. Sorry, I meant blueberry muffins.",
    "Hi, this is Omar. Could I get two loaves of rye for Saturday?",
    "Six croissants on Friday, Ms. Lindqvist will pick them up. Thank you!",
    "We need thirty bagels for the office on Monday. My name is Priya.",
]
TICKETS = [
    '{"name": "Nora", "item": "blueberry muffin", "count": 12, "day": "Wednesday"}',
    '{"name": "Omar", "item": "rye loaf", "count": 2, "day": "Saturday"}',
    '{"name": "Lindqvist", "item": "croissant", "count": 6, "day": "Friday"}',
    '{"name": "Priya", "item": "bagel", "count": 30, "day": "Monday"}',
]
WRONG = "I'm sorry for the confusion. I'm a food delivery service. I can't provide a recipe for that."


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def metrics(method: str, steps: int, every: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """Logs of a run that learns, with noise, an evaluation before it and every `every` steps."""
    draw = random.Random(seed)
    rows = []
    for step in range(steps + 1):
        way = 1 - math.exp(-4 * step / steps)
        common = {
            "step": step,
            "epoch": round(2 * step / steps, 4),
            "seconds": round(1.4 * step, 2),
            "peak_bytes": int(1.31 * GB + min(step, 9) * 7 * MB),
            "tokens_per_second": round(2310 + draw.gauss(0, 90), 1),
        }
        if step:
            rows.append(common | learned(method, way, 1.0, draw) | schedule(step, steps, draw))
        if step % every == 0:
            found = learned(method, way, 0.15, draw)
            rows.append(
                common | {f"eval_{name}": value for name, value in found.items()} | {"eval_runtime": 1.9}
            )
    return rows


def learned(method: str, way: float, noise: float, draw: random.Random) -> dict[str, float]:
    def near(value: float, spread: float) -> float:
        return round(value + draw.gauss(0, spread * noise), 5)

    if method == "sft":
        return {
            "loss": abs(near(0.803 - 0.713 * way, 0.04)),
            "mean_token_accuracy": min(near(0.71 + 0.26 * way, 0.012), 1.0),
            "entropy": abs(near(0.9 - 0.7 * way, 0.03)),
        }
    if method == "reward":
        return {
            "loss": abs(near(0.69 - 0.6 * way, 0.05)),
            "accuracy": min(max(near(0.55 + 0.44 * way, 0.06), 0.0), 1.0),
            "margin": near(4.2 * way, 0.4),
            "mean_reward": near(0.1, 0.2),
        }
    return {
        "loss": abs(near(0.693 - 0.5 * way, 0.05)),
        "rewards/chosen": near(1.1 * way, 0.15),
        "rewards/rejected": near(-2.4 * way, 0.2),
        "rewards/margins": near(3.5 * way, 0.25),
        "rewards/accuracies": min(max(near(0.5 + 0.47 * way, 0.06), 0.0), 1.0),
        "logps/chosen": near(-31 - 4 * way, 1.5),
        "logps/rejected": near(-33 - 21 * way, 2.0),
    }


def schedule(step: int, steps: int, draw: random.Random) -> dict[str, float]:
    warm = min(step / (0.1 * steps), 1.0)
    return {
        "learning_rate": 2e-4 * warm * 0.5 * (1 + math.cos(math.pi * step / steps)),
        "grad_norm": round(abs(draw.gauss(1.1, 0.25)) + 40 * (step == steps // 2), 4),
    }


def preparation(name: str, kept: int) -> dict[str, Any]:
    def report(split: str, kept: int, dropped: dict[str, Any]) -> dict[str, Any]:
        lost = sum(tally["count"] for tally in dropped.values())
        return {
            "name": f"/data/bakery/{split}_{name}",
            "format": "a chat in `messages`: the assistant's turns are trained",
            "notes": ["a sample of 600 rows of 2,400"] if split == "train" else [],
            "read": kept + lost,
            "kept": kept,
            "examples": kept,
            "dropped": dropped,
            "faults": {},
            "warnings": {},
            "truncated": 3,
            "tokens": 143 * kept,
            "trained_tokens": 31 * kept,
            "longest": 412,
        }

    dropped = {
        "the answer is empty": {"count": 7, "first": 12, "rows": [12, 44, 80, 121, 130]},
        "longer than max_length": {"count": 2, "first": 61, "rows": [61, 300]},
    }
    found = {"train": [report("train", kept, dropped)], "eval": [report("eval", kept // 10, {})]}
    found["train"][0]["warnings"] = {
        "it does not end in the stop token": {"count": 1, "first": 5, "rows": [5]}
    }
    return found


def record(name: str, method: str, steps: int, follows: str = "", **given: Any) -> dict[str, Any]:
    """`run.json`."""
    config = {
        "model_name_or_path": f"runs/bakery/{follows}" if follows else "/models/SmolLM2-135M-Instruct",
        "dataset_name": f"/data/bakery/train_{name}.jsonl",
        "output_dir": f"runs/bakery/{name}",
        "learning_rate": 2e-4,
        "num_train_epochs": 2.0,
        "per_device_train_batch_size": 8,
        "use_peft": True,
        "max_length": 512,
        "seed": 42,
        "weight_decay": 0.0,
        "warmup_ratio": 0.1,
        "bf16": False,
    } | given
    return {
        "format": 1,
        "burnish": "0.1.0",
        "name": name,
        "method": method,
        "status": "finished",
        "started": "2026-11-25T08:04:31+00:00",
        "finished": "2026-11-25T08:06:58+00:00",
        "seconds": 147.3,
        "command": f"burnish {method} --model_name_or_path {config['model_name_or_path']} "
        f"--output_dir runs/bakery/{name} --use_peft",
        "seed": 42,
        "versions": {"python": "3.12.3", "torch": "2.10.0", "transformers": "5.20.1", "peft": "0.19.0"},
        "machine": {"cpu": "AMD EPYC 7R13", "cores": 2, "device": "cpu", "memory_bytes": 16 * GB},
        "inputs": {
            "data": {
                "train": [{"name": f"/data/bakery/train_{name}.jsonl", "rows": 609, "sha256": digest(name)}],
                "eval": [
                    {"name": f"/data/bakery/eval_{name}.jsonl", "rows": 60, "sha256": digest(name + "e")}
                ],
            },
            "model": {
                "name": config["model_name_or_path"],
                "sha256": digest("m" + follows),
                "stage": follows or None,
            },
            "template": digest("template"),
            "config": digest(str(config)),
        },
        "key": digest(name + str(config)),
        "config": config,
        "given": {
            key: config[key] for key in ("learning_rate", "num_train_epochs", "use_peft", "max_length")
        },
        "defaults": {"learning_rate": 2e-5, "num_train_epochs": 3.0, "use_peft": False, "max_length": 1024},
        "decisions": [
            {
                "what": "adapter",
                "choice": f"that of '{follows}' goes on" if follows else "a new one on SmolLM2-135M-Instruct",
                "why": "both stages train adapters of one base" if follows else "use_peft is set",
            },
            *(
                [
                    {
                        "what": "reference",
                        "choice": f"a frozen copy of the adapter of '{follows}', on the same base",
                        "why": "the policy starts there",
                    }
                ]
                if method == "dpo"
                else []
            ),
        ],
        "plan": [
            ["model", "SmolLM2-135M-Instruct, llama, 134.5M parameters", ""],
            ["trained", "2.4M parameters, 1.8%", "LORA adapter, rank 16"],
            ["attention", "blocks", "exact on this model: forward within 1.2e-06"],
            ["micro-batch", "1,024 tokens", "about 310 MB of activations; the result is the same for any"],
        ],
        "predicted": {
            "peak_bytes": int(1.27 * GB),
            "seconds": 139.0,
            "steps": steps,
            "tokens": 171_600,
            "parts": {
                "weights": 513 * MB,
                "gradients": 9 * MB,
                "optimizer": 18 * MB,
                "activations": 540 * MB,
                "reference": 0,
                "base": 220 * MB,
            },
        },
        "measured": {
            "peak_bytes": int(1.37 * GB),
            "seconds": 147.3,
            "tokens_per_second": 2312.4,
            "step_seconds": 1.41,
        },
        "steps": steps,
        "metrics": {"loss": 0.09},
    }


def samples(steps: int) -> list[dict[str, Any]]:
    rows = []
    for step in (0, steps // 4, steps // 2, 3 * steps // 4, steps):
        for index, (prompt, ticket) in enumerate(zip(PROMPTS[:2], TICKETS, strict=False)):
            answer = (
                WRONG if step == 0 else ticket.replace("Wednesday", "Tuesday") if step < steps / 2 else ticket
            )
            rows.append(
                {
                    "step": step,
                    "index": index,
                    "prompt": [{"role": "user", "content": prompt}],
                    "answer": answer,
                }
            )
    return rows


def comparison() -> dict[str, Any]:
    names = ["base", "sft", "dpo"]
    right = [(0.0, 0.0, 0.04), (0.583, 0.48, 0.68), (0.844, 0.76, 0.91)]
    rewards = [(-3.24, -3.6, -2.9), (2.26, 1.8, 2.7), (4.03, 3.7, 4.4)]
    lengths = [(58.1, 51.0, 66.0), (24.2, 23.0, 25.5), (24.5, 23.4, 25.6)]

    def models(values: list[tuple[float, float, float]]) -> list[dict[str, float]]:
        return [{"mean": mean, "low": low, "high": high} for mean, low, high in values]

    def pair(a: str, b: str, rate: float, low: float, high: float, corrected: float | None) -> dict[str, Any]:
        return {
            "a": a,
            "b": b,
            "win_rate": rate,
            "low": low,
            "high": high,
            "length_controlled": corrected,
            "n": 96,
        }

    return {
        "format": 1,
        "prompts": {"name": "/data/bakery/held_out.jsonl", "rows": 96, "sha256": digest("held")},
        "models": [{"name": "base", "path": "/models/SmolLM2-135M-Instruct"}]
        + [{"name": name, "path": f"runs/bakery/{name}"} for name in names[1:]],
        "sampling": {"temperature": 0.0, "max_new_tokens": 64, "seed": 0},
        "answers": [
            {
                "index": i,
                "prompt": PROMPTS[i % 4],
                "reference": TICKETS[i % 4],
                "answers": [WRONG, TICKETS[i % 4].replace("12", "2"), TICKETS[i % 4]],
                "scores": [0.0, 0.0 if i % 4 == 0 else 1.0, 1.0],
                "rewards": [-3.4, 1.9, 4.2],
            }
            for i in range(40)
        ],
        "measures": [
            {
                "name": "length",
                "unit": "tokens",
                "higher_is_better": None,
                "models": models(lengths),
                "pairs": [],
            },
            {
                "name": "reward",
                "unit": "",
                "higher_is_better": True,
                "models": models(rewards),
                "pairs": [
                    pair("dpo", "base", 0.99, 0.97, 1.0, 0.98),
                    pair("dpo", "sft", 0.71, 0.61, 0.8, 0.7),
                ],
            },
            {
                "name": "score:grade.py:right_ticket",
                "unit": "share",
                "higher_is_better": True,
                "models": models(right),
                "pairs": [
                    pair("dpo", "base", 0.92, 0.87, 0.96, None),
                    pair("dpo", "sft", 0.63, 0.57, 0.7, None),
                    pair("sft", "base", 0.79, 0.73, 0.85, None),
                ],
            },
        ],
    }


def reward_evaluation() -> dict[str, Any]:
    def share(value: float, low: float, high: float, rows: int) -> dict[str, float]:
        return {"value": value, "low": low, "high": high, "rows": rows}

    return {
        "model": "runs/bakery/reward",
        "data": "/data/bakery/held_out_pairs.jsonl",
        "accuracy": share(0.948, 0.88, 0.98, 96),
        "calibration_error": 0.031,
        "log_loss": 0.142,
        "subsets": {"wrong count": share(0.97, 0.87, 0.99, 40), "wrong day": share(0.93, 0.83, 0.97, 56)},
    }


NOTICES = [
    {
        "step": 120,
        "rule": "gradient spike",
        "severity": "warning",
        "text": "The gradient norm is 41.2, thirty times its median; look at the rows of this step.",
        "rows": ["train_sft.jsonl:88", "train_sft.jsonl:431"],
    },
    {
        "step": 240,
        "rule": "still falling",
        "severity": "note",
        "text": "The evaluation loss was still falling at the end: more steps may help.",
        "rows": [],
    },
]


def write_run(
    folder: Path, name: str, method: str, steps: int, follows: str = "", seed: int = 0, **given: Any
) -> Path:
    write_json(folder / "run.json", record(name, method, steps, follows, **given))
    write_lines(folder / "metrics.jsonl", metrics(method, steps, seed=seed))
    write_json(folder / "preparation.json", preparation(f"{name}.jsonl", 600))
    return folder


def write_pipeline(folder: Path) -> Path:
    """SFT, a reward model and DPO, all finished and compared."""
    stages = [("sft", "sft", 240, ""), ("reward", "reward", 120, "sft"), ("dpo", "dpo", 400, "sft")]
    for seed, (name, method, steps, follows) in enumerate(stages):
        write_run(folder / name, name, method, steps, follows, seed)
    write_lines(folder / "sft" / "notices.jsonl", NOTICES)
    write_lines(folder / "sft" / "samples.jsonl", samples(240))
    write_lines(folder / "dpo" / "samples.jsonl", samples(400))
    write_json(folder / "reward" / "evaluation.json", reward_evaluation())
    write_json(folder / "comparison.json", comparison())
    write_json(
        folder / "pipeline.json",
        {
            "format": 1,
            "file": "bakery.yaml",
            "text": "output_dir: runs/bakery\nstages:\n  - name: sft\n",
            "stages": [
                {
                    "name": name,
                    "method": method,
                    "folder": name,
                    "follows": follows or None,
                    "status": "finished",
                    "why": "no finished run has these inputs" if name == "dpo" else "",
                }
                for name, method, _, follows in stages
            ],
        },
    )
    return folder
