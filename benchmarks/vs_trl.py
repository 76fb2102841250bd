"""Burnish against TRL: the same training on the same machine, one after the other, again and again.

    python -m benchmarks.vs_trl dpo|kto|orpo|cpo|reward|sft [--steps 3] [--repeats 2] [--batch 8] [--untuned]

Three contenders take turns, each in a process of its own, on the same model, rows (in the same order),
batch, dtype, optimizer and learning rate:

    burnish    as it comes
    default    TRL as it comes
    tuned      TRL with what makes it fastest on a CPU: no gradient checkpointing, and no padding in SFT
               (`padding_free`, which keeps the rows of a step together; `packing` would mix them anew);
               left out with --untuned

The first step must log the same loss in all three, or nothing is reported. A step's time is the median
over all steps but the first of each process; it runs from the end of one step to the end of the next.
Burnish scores the reference of DPO before step 1: that time is spread over the steps and counted. KTO pairs
prompts with completions of others anew in every step, TRL once: their KL differs, their work does not. Peak
memory is the most resident memory of the whole process. Logical tokens count a prompt once for each of
its completions, so they are the same for all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._rows import METHODS, load_rows
from benchmarks._statistics import (
    WARM_UP,
    differences,
    median_cpu_step,
    median_peak,
    median_step,
    ratios,
    write_json,
)
from benchmarks._worker import Result, Spec
from burnish.demo.folder import write_rows

SHARED: dict[str, dict[str, Any]] = {"sft": {"max_length": None}}
"""Options of all three: without padding TRL cannot truncate, so in SFT nobody does."""

TUNED: dict[str, dict[str, Any]] = {"sft": {"padding_free": True}}
"""Beside `gradient_checkpointing=False`."""

MUST_AGREE = {  # the first loss of DPO is ln 2 whatever the model says, so its scores are compared too
    "sft": ["loss"],
    "reward": ["loss", "mean_reward"],
    "dpo": ["loss", "logps/chosen", "logps/rejected"],
    "kto": ["loss", "logps/chosen", "logps/rejected"],
    "orpo": ["loss", "nll_loss", "logps/chosen"],
    "cpo": ["loss", "nll_loss", "logps/chosen"],
}
TOLERANCE = {"bf16": 2e-2, "float32": 1e-3}
"""Both round to bfloat16: TRL operand by operand (autocast), Burnish the weights and all in between."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

console = Console(highlight=False)


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as name:
        folder = Path(name)
        rows, source = load_rows(options.method, options.batch * options.steps, options.data)
        write_rows(folder / "rows.jsonl", rows)
        model = prepare_model(options.method, options.model, folder)
        specs = contenders(options, str(model), str(folder / "rows.jsonl"))
        console.print(
            f"{options.method}: {len(rows)} rows ({source}), {options.steps} steps of {options.batch}, "
            f"{options.dtype}, {options.repeats} repeats"
        )
        results = alternate(specs, options.repeats, folder)
    check_same_start(results, options.method, options.dtype)
    tokens = results["burnish"][0].logical_tokens / options.steps
    console.print(table(results, tokens))
    settings = {key: getattr(options, key) for key in ("batch", "steps", "repeats", "dtype")}
    content = {
        "method": options.method,
        "rows": source,
        **settings,
        **ratios(results),
        "logical_tokens_per_step": tokens,
        "samples": {name: [asdict(result) for result in found] for name, found in results.items()},
    }
    write_json(content, options.json)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vs_trl", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("method", choices=METHODS)
    parser.add_argument(
        "--steps", type=int, default=3, help="optimizer steps of each process, the first not timed"
    )
    parser.add_argument("--repeats", type=int, default=2, help="processes of each contender")
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--dtype", choices=sorted(TOLERANCE), default="bf16", help="what is computed in")
    parser.add_argument("--data", help="a JSON-lines file; the first rows of it are used")
    parser.add_argument("--model", help="a model folder; default: the demo's SmolLM2-135M-Instruct")
    parser.add_argument("--untuned", action="store_true", help="beside TRL as it comes only")
    parser.add_argument("--json", metavar="FILE", help="write ratios and raw samples here")
    options = parser.parse_args(words)
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}, the steps that are not timed")
    return options


def prepare_model(method: str, model: str | None, folder: Path) -> Path:
    """The model all load. A reward model gets its random head here, so that all start from the same."""
    from burnish.demo.model import default_model

    base = Path(model) if model else default_model()
    return with_reward_head(base, folder / "model") if method == "reward" else base


def with_reward_head(base: Path, folder: Path) -> Path:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def contenders(options: argparse.Namespace, model: str, rows: str) -> dict[str, Spec]:
    method, shared = options.method, SHARED.get(options.method, {})
    tuned = {"gradient_checkpointing": False, **TUNED.get(method, {})}
    sizes = {"batch": options.batch, "steps": options.steps, "dtype": options.dtype}
    ours = Spec("burnish", method, model, rows, **sizes, options=shared)
    default = replace(ours, library="trl")
    found = {"burnish": ours, "default": default}
    return found if options.untuned else found | {"tuned": replace(default, options=shared | tuned)}


def alternate(specs: dict[str, Spec], repeats: int, folder: Path) -> dict[str, list[Result]]:
    """Run every contender in turn, `repeats` times over, one process at a time."""
    results: dict[str, list[Result]] = {name: [] for name in specs}
    for repeat in range(repeats):
        for name, spec in specs.items():
            console.print(f"[bold]{name}[/], {repeat + 1} of {repeats}")
            results[name].append(run_in_process(spec, folder))
            done = results[name][-1]
            console.print(
                f"  steps {', '.join(f'{s:.1f} s' for s in done.step_seconds)}, peak {gigabytes(done)}"
            )
    return results


def run_in_process(spec: Spec, folder: Path) -> Result:
    spec_file, result_file = folder / "spec.json", folder / "result.json"
    spec_file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    with tempfile.TemporaryDirectory(
        dir=folder
    ) as cache:  # or a reference scored before would be found there
        command = [sys.executable, "-m", "benchmarks._worker", str(spec_file), str(result_file)]
        environment = os.environ | OFFLINE | {"BURNISH_CACHE": cache, "HF_HOME": cache}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return Result(**json.loads(result_file.read_text(encoding="utf-8")))


def gigabytes(result: Result) -> str:
    return f"{result.peak_bytes / 1e9:.1f} GB"


def check_same_start(results: dict[str, list[Result]], method: str, dtype: str) -> None:
    """End here if the contenders did not start from the same model on the same rows."""
    ours = results["burnish"][0].first_step
    for name in (each for each in results if each != "burnish"):
        theirs = results[name][0].first_step
        far = differences(ours, theirs, MUST_AGREE[method])
        shown = ", ".join(f"{key} {ours[key]:.4f} and {theirs[key]:.4f}" for key in far)
        console.print(f"first step, burnish and {name}: {shown}")
        if max(far.values()) > TOLERANCE[dtype]:
            sys.exit(f"burnish and {name} do not start from the same loss (tolerance {TOLERANCE[dtype]:.0%})")


def table(results: dict[str, list[Result]], tokens: float) -> Table:
    """One line per contender. The ratios: its step over ours, and our peak memory over its."""
    found = ratios(results)
    columns = ("step", "CPU time", "logical tokens/s", "peak memory", "step / ours", "ours / peak")
    titled = Table("", *columns)
    for name, runs in results.items():
        step = median_step(runs)
        others = [f"{found[key][name]:.2f}" for key in found] if name != "burnish" else ["", ""]
        titled.add_row(
            name,
            f"{step:.2f} s",
            f"{median_cpu_step(runs):.2f} s",
            f"{tokens / step:.0f}",
            f"{median_peak(runs) / 1e9:.2f} GB",
            *others,
        )
    return titled


if __name__ == "__main__":
    main()
