"""Preparing rows: Burnish against TRL, on generated conversations.

    python -m benchmarks.data [sft dpo] [--rows 20000] [--repeats 3] [--quick] [--json FILE]

Each preparation has a process and an empty cache of its own, and contenders take turns:

    burnish     as it comes: the tokenizer's own threads, beside one Python thread
    processes   burnish with a process for every core
    trl         as it comes (`dataset_num_proc` unset)
    trl tuned   with a process for every core

Both libraries must make the same token ids of every row that both keep, or nothing is reported. TRL leaves
the truncation of DPO's rows to the collator, so there nothing is cut; in SFT both cut at 1024 tokens. Then a
second start is timed, with everything cached, and the memory of ten times the rows is compared. Rows are
conversations of one to four exchanges in English prose: Python's own documentation, which comes with Python.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._preparation import Result, Spec
from benchmarks._rows import conversation_pairs, conversations
from benchmarks._statistics import write_json
from burnish.demo.folder import write_rows

GENERATORS = {"sft": conversations, "dpo": conversation_pairs}
MAX_LENGTH = {"sft": 1024, "dpo": None}
MORE = 10
"""How many times the rows memory is compared at."""

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}

console = Console(highlight=False)


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    content: dict[str, Any] = {"machine": machine(), "rows": options.rows, "repeats": options.repeats}
    for method in options.methods:
        with tempfile.TemporaryDirectory(prefix="burnish-bench-") as name:
            content[method] = measure(method, options, Path(name))
        console.print(table(method, content[method]))
    write_json(content, options.json)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.partition("\n")[0])
    parser.add_argument("methods", nargs="*", default=["sft", "dpo"], help="sft, dpo")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each contender")
    parser.add_argument("--quick", action="store_true", help="few rows, once")
    parser.add_argument(
        "--model", help="a folder with a tokenizer; default: the demo's SmolLM2-135M-Instruct"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything measured here")
    options = parser.parse_args(words)
    if unknown := set(options.methods) - GENERATORS.keys():
        parser.error(f"unknown method {', '.join(unknown)}; there are {', '.join(GENERATORS)}")
    if options.quick:
        options.rows, options.repeats = 60, 1
    return options


def measure(method: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows = write_rows(folder / "rows.jsonl", GENERATORS[method](options.rows))
    ours = Spec("burnish", method, str(rows), model_folder(options.model), MAX_LENGTH[method])
    results = alternate(contenders(ours), options.repeats, folder)
    same = same_tokens(folder)
    console.print(f"{method}: the same token ids in all of {same} rows")
    again = second_start(ours, folder)
    more = write_rows(folder / "more.jsonl", GENERATORS[method](MORE * options.rows))
    grown = in_process(replace(ours, rows=str(more)), folder)
    return {
        "same_rows": same,
        "tokens": results["burnish"][0].tokens,
        "samples": {name: [asdict(result) for result in found] for name, found in results.items()},
        "second_start": again,
        "peak_bytes": {result.rows: result.peak_bytes for result in (results["burnish"][0], grown)},
    }


def contenders(ours: Spec) -> dict[str, Spec]:
    theirs, cores = replace(ours, library="trl"), os.cpu_count()
    return {
        "burnish": ours,
        "processes": replace(ours, num_proc=cores),
        "trl": theirs,
        "trl tuned": replace(theirs, num_proc=cores),
    }


def alternate(specs: dict[str, Spec], repeats: int, folder: Path) -> dict[str, list[Result]]:
    """Every contender in turn, `repeats` times over; the first time digests of the token ids are written."""
    results: dict[str, list[Result]] = {name: [] for name in specs}
    for repeat in range(repeats):
        for name, spec in specs.items():
            digests = "" if repeat else str(folder / f"{name}.digests")
            results[name].append(in_process(replace(spec, digests=digests), folder))
            done = results[name][-1]
            console.print(f"{name}: {done.seconds:.1f} s, {done.cpu_seconds:.1f} s of CPU time")
    return results


def in_process(spec: Spec, folder: Path, cache: str | None = None) -> Result:
    """A preparation in a new process; with an empty cache unless one is given."""
    spec_file, result_file = folder / "spec.json", folder / "result.json"
    spec_file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks._preparation", str(spec_file), str(result_file)]
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        environment = os.environ | OFFLINE | {"BURNISH_CACHE": cache or empty, "HF_HOME": cache or empty}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return Result(**json.loads(result_file.read_text(encoding="utf-8")))


def second_start(ours: Spec, folder: Path) -> dict[str, float]:
    """Seconds of loading and preparing what was loaded and prepared before, and of the whole process."""
    cache = str(folder / "cache")
    in_process(ours, folder, cache)
    start = time.perf_counter()
    again = in_process(ours, folder, cache)
    whole = time.perf_counter() - start
    return {"seconds": again.load_seconds + again.seconds, "process_seconds": whole}


def same_tokens(folder: Path) -> int:
    """How many rows there are that all contenders keep. Ends here if one of them differs."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.digests")}
    shared = set.intersection(*(set(digests) for digests in found.values()))
    for row in sorted(shared, key=int):
        if len({digests[row] for digests in found.values()}) > 1:
            sys.exit(f"row {row}: the token ids differ")
    return len(shared)


def model_folder(model: str | None) -> str:
    from burnish.demo.model import default_model

    return model or str(default_model())


def machine() -> dict[str, Any]:
    """What the times were taken on."""
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    cpu = names[0].partition(":")[2].strip() if names else platform.processor()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def table(method: str, found: dict[str, Any]) -> Table:
    titled = Table("", "rows/s", "seconds", "CPU seconds", "times as fast", "peak memory", title=method)
    walls = {name: median(s["seconds"] for s in samples) for name, samples in found["samples"].items()}
    for name, samples in found["samples"].items():
        titled.add_row(
            name,
            f"{samples[0]['rows'] / walls[name]:.0f}",
            f"{walls[name]:.2f}",
            f"{median(s['cpu_seconds'] for s in samples):.2f}",
            f"{walls['trl'] / walls[name]:.2f}",
            f"{median(s['peak_bytes'] for s in samples) / 1e6:.0f} MB",
        )
    again = found["second_start"]
    peaks = ", ".join(f"{peak / 1e6:.0f} MB at {rows} rows" for rows, peak in found["peak_bytes"].items())
    titled.caption = (
        f"second start {again['seconds']:.2f} s ({again['process_seconds']:.1f} s with imports); peak {peaks}"
    )
    return titled


if __name__ == "__main__":
    main()
