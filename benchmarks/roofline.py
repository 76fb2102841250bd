"""How near a training step comes to what the machine can do at all.

    python -m benchmarks.roofline [dpo|sft|reward] [--steps 4] [--batch 8] [--json FILE]

Two shares, on the rows and the model of `vs_trl`, in full fine-tuning:

    work ratio       least operations / executed operations. Padding, recomputation, repeated prompts and a
                     head over tokens that nobody scores all lower it.
    share of limit   least time / time of a step. The least time is the least operations at the machine's
                     best rate, plus what the optimizer has to move at its memory bandwidth.

The machine's rate is measured between the steps, in the same process: for each shape of the model's own
weights, forward, input gradient and weight gradient of as many rows as a micro-batch has; the best shape
counts. The bandwidth is that of a triad, a = b + s c. `_operations.py` has the formulas.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from benchmarks._operations import (
    Shape,
    Work,
    counter,
    least_operations,
    product_shapes,
    random_operands,
)
from benchmarks._rows import load_rows
from benchmarks._statistics import step_seconds, write_json
from benchmarks._worker import ADVANCE, Result, Spec, run
from benchmarks.vs_trl import SHARED, prepare_model
from burnish.data.example import TokenizedExample
from burnish.demo.folder import write_rows
from burnish.models.forward import inner_model

OPTIMIZER_BYTES = 28
"""Per trained weight: float32 weight, gradient and two moments read, weight and moments written (AdamW)."""

TRIAD_BYTES = 2**28
"""Size of each array of the triad, far more than the caches hold."""

console = Console(highlight=False)


@dataclass
class Machine:
    """What was measured between the steps: operations a second by shape, bytes a second."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    rows: int = 0
    dtype: torch.dtype = torch.bfloat16
    rates: dict[str, list[float]] = field(default_factory=dict)
    bandwidths: list[float] = field(default_factory=list)

    def measure(self) -> None:
        for shape in self.shapes:
            self.rates.setdefault(f"{shape[0]}x{shape[1]}", []).append(
                product_rate(self.rows, shape, self.dtype)
            )
        self.bandwidths.append(triad_bandwidth())

    @property
    def best_rate(self) -> float:
        """The median over all measurements of the shape that is best at it."""
        return max(median(found) for found in self.rates.values())

    @property
    def bandwidth(self) -> float:
        return median(self.bandwidths)


def product_rate(rows: int, shape: tuple[int, int], dtype: torch.dtype) -> float:
    """Operations a second of forward, input gradient and weight gradient together."""
    inputs, weight, gradient = random_operands(rows, shape, dtype)

    def products() -> None:
        _ = inputs @ weight.T
        _ = gradient @ weight
        _ = gradient.T @ inputs

    return 6 * rows * weight.numel() / seconds(products)


def triad_bandwidth() -> float:
    """Bytes a second of a = b + s c: two arrays read, one written."""
    b, c, a = (torch.ones(TRIAD_BYTES // 4) for _ in range(3))
    return 3 * TRIAD_BYTES / seconds(lambda: torch.add(b, c, alpha=3.0, out=a))


def seconds(call: Callable[[], object]) -> float:
    """The shorter of two runs, after one to warm up."""
    call()
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


@dataclass
class Subject:
    """The trainer that is measured, seen from outside."""

    method: str
    shape: Shape | None = None
    work: Work | None = None  # of all rows
    trained: int = 0

    def look_at(self, trainer: Any) -> None:
        examples = [TokenizedExample.from_row(row) for row in trainer.train_dataset]
        model = inner_model(trainer.model)
        self.shape, self.work = Shape.of(model), Work.of(examples, self.method)
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)

    @property
    def least(self) -> int:
        assert self.shape is not None and self.work is not None
        return least_operations(self.shape, self.work, self.method)


def executed_operations(spec: Spec) -> tuple[int, int]:
    """(least, executed) operations of one step of `spec` and of what it scores in advance."""
    subject = Subject(spec.method)
    counted = 0

    def count(trainer: Any, name: str) -> None:
        call = getattr(trainer, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal counted
            with counter() as mode:
                result = call(*args, **kwargs)
            counted += mode.get_total_flops()
            return result

        setattr(trainer, name, counting)

    def prepare(trainer: Any) -> None:
        subject.look_at(trainer)
        for name in (ADVANCE, "training_step"):
            count(trainer, name)

    run(spec, prepare=prepare)
    return subject.least, counted


def timed(spec: Spec) -> tuple[Subject, Machine, Result]:
    """Run all steps, with the machine measured between them."""
    subject, machine = Subject(spec.method), Machine()
    trainers: list[Any] = []

    def prepare(trainer: Any) -> None:
        subject.look_at(trainer)
        trainers.append(trainer)

    def between() -> None:
        if not machine.shapes:
            machine.shapes = product_shapes(inner_model(trainers[0].model))
            machine.dtype = torch.bfloat16 if spec.dtype == "bf16" else torch.float32
            assert subject.work is not None
            machine.rows = min(subject.work.tokens // spec.steps, trainers[0].plan.tokens_per_forward)
        machine.measure()

    return subject, machine, run(spec, between=between, prepare=prepare)


@dataclass(frozen=True)
class Outcome:
    """Both shares, and what they are made of."""

    work_ratio: float
    share_of_limit: float
    step_seconds: float  # median
    least_seconds: float
    least_operations: float  # of one step
    operations_per_second: float  # of the best shape
    bytes_per_second: float

    @staticmethod
    def of(subject: Subject, machine: Machine, result: Result, work_ratio: float) -> Outcome:
        least = subject.least / len(result.step_seconds)
        least_seconds = least / machine.best_rate + OPTIMIZER_BYTES * subject.trained / machine.bandwidth
        step = median(step_seconds(result))
        return Outcome(
            work_ratio,
            least_seconds / step,
            step,
            least_seconds,
            least,
            machine.best_rate,
            machine.bandwidth,
        )


def main(words: Sequence[str] | None = None) -> None:
    options = arguments(words)
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as name:
        folder = Path(name)
        os.environ["BURNISH_CACHE"] = str(folder / "cache")  # or a reference scored before would be found
        rows, source = load_rows(options.method, options.batch * options.steps, options.data)
        model = prepare_model(options.method, options.model, folder)
        write_rows(folder / "rows.jsonl", rows)
        spec = Spec(
            "burnish",
            options.method,
            str(model),
            str(folder / "rows.jsonl"),
            options.batch,
            options.steps,
            options.dtype,
            options=SHARED.get(options.method, {}),
        )
        subject, machine, result = timed(spec)
        write_rows(folder / "rows.jsonl", rows[: options.batch])
        least, executed = executed_operations(replace(spec, steps=1))
    outcome = Outcome.of(subject, machine, result, least / executed)
    show(outcome, machine, source)
    content = {"method": options.method, "rows": source, "dtype": options.dtype, "batch": options.batch}
    samples = {"rates": machine.rates, "bandwidths": machine.bandwidths, "run": asdict(result)}
    write_json(content | asdict(outcome) | {"samples": samples}, options.json)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline")
    parser.add_argument("method", choices=("dpo", "sft", "reward"), nargs="?", default="dpo")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps, the first not timed")
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--dtype", choices=["bf16", "float32"], default="bf16", help="what is computed in")
    parser.add_argument("--data", help="a JSON-lines file; the first rows of it are used")
    parser.add_argument("--model", help="a model folder; default: the demo's SmolLM2-135M-Instruct")
    parser.add_argument("--json", metavar="FILE", help="write shares and raw samples here")
    return parser.parse_args(words)


def show(outcome: Outcome, machine: Machine, source: str) -> None:
    for shape, found in machine.rates.items():
        console.print(f"{shape:>12}  {median(found) / 1e9:6.0f} GFLOP/s")
    console.print(f"{'triad':>12}  {outcome.bytes_per_second / 1e9:6.1f} GB/s")
    console.print(
        f"step: {outcome.step_seconds:.2f} s, at the limit {outcome.least_seconds:.2f} s "
        f"({outcome.least_operations / 1e9:.0f} GFLOP), rows: {source}"
    )
    console.print(f"work ratio [bold]{outcome.work_ratio:.3f}[/]")
    console.print(f"share of the limit [bold]{outcome.share_of_limit:.0%}[/]")


if __name__ == "__main__":
    main()
