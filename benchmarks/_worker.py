"""One training run of one library, for the benchmarks. Either library goes through the same code; only
the import differs.

    python -m benchmarks._worker SPEC.json RESULT.json

A step's time runs from the end of the step before it to its own end, so it holds everything: fetching
rows, collating, forward, backward, clipping, the optimizer, logging. What a library does once for all
rows before step 1 in place of work in every step (a reference scored in advance) is reported apart, for
the caller to spread over the steps.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PREFIX = {"sft": "SFT", "reward": "Reward", "dpo": "DPO", "kto": "KTO", "orpo": "ORPO", "cpo": "CPO"}
EXPERIMENTAL = ("orpo", "cpo")
"""Methods that TRL keeps apart: their trainers load no tokenizer, keep the checkpoint's dtype, add a BOS."""

ADVANCE = "completed"
"""The method of Burnish's trainers that adds what must be known of all rows before step 1."""


@dataclass(frozen=True)
class Spec:
    """What to run. `options` go into the library's config, as its users would write them."""

    library: str  # burnish or trl
    method: str
    model: str
    rows: str  # a JSON-lines file of prepared rows, in the order they are trained
    batch: int
    steps: int
    dtype: str  # bf16 or float32
    learning_rate: float = 1e-6
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """What a run took. Lists have an entry per step."""

    step_seconds: list[float] = field(default_factory=list)
    step_cpu_seconds: list[float] = field(default_factory=list)
    advance_seconds: float = 0.0  # a reference scored before step 1, for all rows
    advance_cpu_seconds: float = 0.0
    peak_bytes: int = 0  # the most resident memory the process ever had, imports and loading included
    logical_tokens: float = 0.0  # of all steps; a prompt counts once for each of its completions
    first_step: dict[str, float] = field(default_factory=dict)  # what it logged


class Watch:
    """Wall and CPU time since the last look."""

    def __init__(self) -> None:
        self.last = (time.perf_counter(), time.process_time())

    def look(self) -> tuple[float, float]:
        before, self.last = self.last, (time.perf_counter(), time.process_time())
        return self.last[0] - before[0], self.last[1] - before[1]


def build(spec: Spec, output: str) -> Any:
    """The library's trainer for `spec`."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer

    experimental = spec.library == "trl" and spec.method in EXPERIMENTAL
    library = importlib.import_module(f"trl.experimental.{spec.method}" if experimental else spec.library)
    prefix = PREFIX[spec.method]
    options = dict(spec.options)
    if experimental and spec.dtype == "float32":  # these alone take the checkpoint's dtype as it is
        options["model_init_kwargs"] = {"dtype": "float32"}
    args = getattr(library, f"{prefix}Config")(
        output_dir=output,
        per_device_train_batch_size=spec.batch,
        max_steps=spec.steps,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        bf16=spec.dtype == "bf16",
        use_cpu=not torch.accelerator.is_available(),
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=0,
        **options,
    )
    rows = [json.loads(line) for line in Path(spec.rows).read_text(encoding="utf-8").splitlines()]
    trainer_class = getattr(library, f"{prefix}Trainer")
    more = {}
    if experimental:
        more["processing_class"] = tokenizer = AutoTokenizer.from_pretrained(spec.model)
        if not tokenizer("").input_ids:  # a token that the model's own tokenizer puts in front of no text
            tokenizer.bos_token = None
    return trainer_class(model=spec.model, args=args, train_dataset=Dataset.from_list(rows), **more)


def run(
    spec: Spec, between: Callable[[], None] = lambda: None, prepare: Callable[[Any], None] = lambda _: None
) -> Result:
    """Train as `spec` says. `between` runs before every step, out of its time; `prepare` gets the trainer."""
    from transformers import TrainerCallback

    result = Result()
    watch = Watch()

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            between()
            watch.look()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self._pending = True

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
        ) -> None:
            if getattr(self, "_pending", False):  # the log ends a step, as logging_steps is 1
                self._pending = False
                seconds, cpu_seconds = watch.look()
                result.step_seconds.append(seconds)
                result.step_cpu_seconds.append(cpu_seconds)
                if state.global_step < args.max_steps:
                    between()
                watch.look()

    with tempfile.TemporaryDirectory() as output:
        trainer = build(spec, output)
        prepare(trainer)
        if spec.library == "burnish":
            time_scoring_in_advance(trainer, result)
        trainer.add_callback(Clock())
        trainer.train()
    logs = trainer.state.log_history
    result.first_step = {key: value for key, value in logs[0].items() if isinstance(value, float)}
    result.logical_tokens = logs[spec.steps - 1].get("num_tokens", 0.0)  # not all of TRL's trainers count
    result.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return result


def time_scoring_in_advance(trainer: Any, result: Result) -> None:
    """Burnish scores a reference before step 1, where TRL as it comes does so within each step."""
    score = getattr(trainer, ADVANCE)

    def timed(dataset: Any) -> Any:
        watch = Watch()
        scored = score(dataset)
        result.advance_seconds, result.advance_cpu_seconds = watch.look()
        return scored

    setattr(trainer, ADVANCE, timed)


if __name__ == "__main__":
    spec_file, result_file = sys.argv[1:]
    outcome = run(Spec(**json.loads(Path(spec_file).read_text(encoding="utf-8"))))
    Path(result_file).write_text(json.dumps(asdict(outcome)), encoding="utf-8")
