"""How near `burnish plan` comes: predicted beside measured, each configuration in a process of its own.

    python -m benchmarks.plan_accuracy [sft sft-lora ...] [--more] [--batch 8] [--steps 3] [--json FILE]

The prediction is made in one process, which loads no weights, and the training in another. Measured is the
most resident memory of the training process from its start to its end, imports, loading and saving included;
and the seconds of the steps, without loading. SmolLM2-135M on the rows of `vs_trl`.

`--more` adds settings that the five do not have: another batch, `max_length`, `tokens_per_forward`, gradient
checkpointing, working copies in bfloat16 and none, another shape of model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._rows import load_rows
from benchmarks._statistics import write_json
from benchmarks.vs_trl import OFFLINE
from burnish.demo.folder import write_rows

LORA = {"use_peft": True}
FLOAT32 = {"dtype": "float32"}
"""Frozen weights stay in bfloat16 otherwise, where the machine is fast at it."""

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft", {}),
    "sft-lora": ("sft", LORA | FLOAT32),
    "dpo": ("dpo", {}),
    "dpo-lora": ("dpo", LORA | FLOAT32),
    "reward": ("reward", {}),
}
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "sft, batch 2": ("sft", {"per_device_train_batch_size": 2}),
    "sft, max_length 128": ("sft", {"max_length": 128}),
    "sft, 256 tokens a forward": ("sft", {"tokens_per_forward": 256}),
    "sft, checkpointing": ("sft", {"gradient_checkpointing": True}),
    "sft, bfloat16": ("sft", {"bf16": True, "per_device_train_batch_size": 1}),
    "sft, float32": ("sft", {"bf16": False}),
    "dpo-lora, float32": ("dpo", LORA | FLOAT32 | {"bf16": False}),
    "dpo, 2048 tokens a forward": ("dpo", {"tokens_per_forward": 2048}),
    "orpo, wide and shallow": ("orpo", {"shape": "wide", "per_device_train_batch_size": 4}),
}
SHAPES = {
    "wide": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
    }
}
"""Models made on the spot, with SmolLM2's tokenizer and random weights."""

console = Console(highlight=False)


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    known = CONFIGURATIONS | (MORE if options.more else {})
    chosen = {name: known[name] for name in options.names or known}
    outcomes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        for name, (method, given) in chosen.items():
            outcome = {"name": name, **compared(method, given, options, Path(folder))}
            outcomes.append(outcome)
            console.print(line(outcome))
            write_json({"batch": options.batch, "steps": options.steps, "runs": outcomes}, options.json)
    console.print(table(outcomes))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan_accuracy")
    parser.add_argument("names", nargs="*", help="some configurations; default: the five")
    parser.add_argument("--more", action="store_true", help="settings that the five do not have, too")
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--data", help="a JSON-lines file; the first rows of it are used")
    parser.add_argument("--model", help="a model folder; default: the demo's SmolLM2-135M-Instruct")
    parser.add_argument("--json", metavar="FILE", help="write everything here")
    options = parser.parse_args(words)
    unknown = set(options.names) - set(CONFIGURATIONS | MORE)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CONFIGURATIONS | MORE)}")
    options.more = options.more or bool(set(options.names) & set(MORE))
    return options


def compared(method: str, given: dict[str, Any], options: Any, folder: Path) -> dict[str, Any]:
    """Predict and train, in a process each; what both said."""
    given = dict(given)
    model, shape = base_model(options.model), given.pop("shape", None)
    settings = {
        "model_name_or_path": str(shaped(shape, model, folder) if shape else model),
        "dataset_name": str(folder / "rows.jsonl"),
        "output_dir": str(folder / "output"),
        "per_device_train_batch_size": options.batch,
        "max_steps": options.steps,
        "save_strategy": "no",
        "report_to": "none",
        **given,
    }
    rows, source = load_rows(method, settings["per_device_train_batch_size"] * options.steps, options.data)
    write_rows(folder / "rows.jsonl", rows)
    found = {part: in_process(part, method, settings, folder) for part in ("predicted", "measured")}
    predicted, measured = found["predicted"]["peak_bytes"], found["measured"]["peak_bytes"]
    return {"method": method, "given": given, "rows": source, **found, "error": predicted / measured - 1}


def base_model(given: str | None) -> Path:
    from burnish.demo.model import default_model

    return Path(given) if given else default_model()


def shaped(name: str, like: Path, folder: Path) -> Path:
    """A model of another shape with random weights; its vocabulary is that of `like`."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    target = folder / name
    if not target.is_dir():
        sizes = SHAPES[name] | {"num_key_value_heads": 4, "head_dim": 64}
        config = AutoConfig.from_pretrained(like, **sizes)
        AutoModelForCausalLM.from_config(config).save_pretrained(target)
        AutoTokenizer.from_pretrained(like).save_pretrained(target)
    return target


def in_process(part: str, method: str, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `alone` gives, in a process of its own; its output is shown only if it fails."""
    task, result = folder / "task.json", folder / "result.json"
    task.write_text(json.dumps([part, method, settings]), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.plan_accuracy", "--alone", str(task), str(result)]
    # Rows and a reference's scores must not be found from an earlier run; the machine's speed may.
    environment = os.environ | OFFLINE | {"BURNISH_CACHE": str(folder / f"cache-{part}")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    return json.loads(result.read_text(encoding="utf-8"))


def alone(task: str, result: str) -> None:
    """Predict a stage, or train it and measure."""
    import time

    from burnish.models.memory import peak_bytes, reset_peak
    from burnish.pipeline.methods import METHODS
    from burnish.pipeline.settings import Setting
    from burnish.pipeline.stage import Stage

    part, method, settings = json.loads(Path(task).read_text(encoding="utf-8"))
    reset_peak("cpu")
    given = {name: Setting(value, "benchmark") for name, value in settings.items()}
    stage = Stage(method, METHODS[method], given).prepare()
    started = time.perf_counter()
    if part == "predicted":
        from burnish.planning.predict import predict

        found = predict(stage).to_dict() | {"took": time.perf_counter() - started}
    else:
        run = stage.run()
        found = {
            "peak_bytes": peak_bytes("cpu"),
            "seconds": run.seconds,
            "train_seconds": run.metrics.get("train_runtime"),
            "cpu_seconds": time.process_time(),
        }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def line(outcome: dict[str, Any]) -> str:
    predicted, measured = outcome["predicted"], outcome["measured"]
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in predicted["parts"].items() if size)
    return (
        f"{outcome['name']}: predicted {predicted['peak_bytes'] / 1e9:.2f} GB, "
        f"measured {measured['peak_bytes'] / 1e9:.2f} GB ({outcome['error']:+.1%}); "
        f"{predicted['when']}: {parts}"
    )


def table(outcomes: Sequence[dict[str, Any]]) -> Table:
    shown = Table("configuration", "predicted", "measured", "error", "seconds predicted", "measured")
    for outcome in outcomes:
        predicted, measured = outcome["predicted"], outcome["measured"]
        shown.add_row(
            outcome["name"],
            f"{predicted['peak_bytes'] / 1e9:.2f} GB",
            f"{measured['peak_bytes'] / 1e9:.2f} GB",
            f"{outcome['error']:+.1%}",
            f"{predicted['seconds']:.0f}",
            f"{measured['train_seconds']:.0f}",
        )
    return shown


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        alone(*sys.argv[2:])
    else:
        main()
