"""`run.json`: what a run was made from, what was decided, and what came out; written as it goes.

A run that was killed leaves the status "running", and its lock (`folders.was_killed`). The file is there as a
whole or not at all.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from burnish import __version__
from burnish.models.memory import peak_bytes, reset_peak
from burnish.pipeline.folders import RECORD, write_json
from burnish.pipeline.hashes import hash_model
from burnish.pipeline.lineage import Inputs, all_options, plain
from burnish.pipeline.stage import PreparedStage, StageResult
from burnish.secrets import hidden, in_texts, is_secret, without_secrets

FORMAT = 1
PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors")


class Watch(TrainerCallback):
    """The times of a run's steps, and its trainer's plan once it is made."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.when_ready: Callable[[], None] = lambda: None  # the trainer is made, and trains next
        self.steps: list[float] = []  # seconds
        self.tokens = 0  # of the steps that were taken here
        self._trainer: Any = None
        self._began = self._trained = 0.0
        self._before = 0

    def of(self, trainer: Any) -> None:
        self._trainer = trainer
        trainer.add_callback(self)
        self.when_ready()
        reset_peak(trainer.args.device)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._before = state.num_input_tokens_seen
        self.record.say(plan=[list(row) for row in self._trainer.plan.rows])

    @property
    def step(self) -> int:
        """The last step that was taken."""
        return self._trainer.state.global_step if self._trainer is not None else 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(time.perf_counter() - self._began)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tokens = state.num_input_tokens_seen - self._before
        self._trained = sum(self.steps)

    def measured(self, device: torch.device, seconds: float) -> dict[str, Any]:
        return {
            "peak_bytes": peak_bytes(device),
            "seconds": round(seconds, 3),
            "tokens_per_second": round(self.tokens / self._trained, 1) if self._trained else None,
            "step_seconds": round(statistics.median(self.steps), 6) if self.steps else None,
        }


class RunRecord:
    """The record of one run, in its folder; only the first process writes it."""

    def __init__(self, prepared: PreparedStage, inputs: Inputs, command: str, predicted: Any = None) -> None:
        self.prepared = prepared
        self.watch = Watch(self)
        self.begun = False
        self._writes = prepared.config.process_index == 0
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "burnish": __version__,
            "name": prepared.name,
            "method": prepared.method.name,
            "status": "running",
            "started": now(),
            "finished": None,
            "seconds": None,
            "command": command,
            "seed": prepared.config.seed,
            "versions": versions(),
            "machine": machine(prepared.config.device),
            "inputs": inputs.record(None),
            "key": inputs.key,
            "config": all_options(prepared),
            "given": {
                key: without_secrets(plain(value))
                for key, value in prepared.given.items()
                if not is_secret(key)
            },
            "defaults": defaults_of(prepared),
            "decisions": [dataclasses.asdict(decision) for decision in prepared.decisions],
            "warnings": [dataclasses.asdict(notice) for notice in prepared.notices],
            "plan": [],
            "predicted": predicted,
            "measured": {},
            "steps": None,
            "metrics": {},
        }

    def start(self) -> None:
        """Write it for the first time; the model to start from is there by now."""
        self.begun = True
        name, revision = self.prepared.model.model_name_or_path, self.prepared.model.model_revision
        if self._writes:
            self.content["inputs"]["model"]["sha256"] = hash_model(name, revision)
            self.say()

    def say(self, **news: Any) -> None:
        self.content |= news
        if self._writes:
            self.prepared.output.mkdir(parents=True, exist_ok=True)
            write_json(self.prepared.output / RECORD, in_texts(hidden, self.content))

    def finish(self, result: StageResult) -> None:
        """What came out, and the hash of the model that was saved."""
        measured = self.watch.measured(self.prepared.config.device, result.seconds)
        output = {"sha256": hash_model(str(self.prepared.output))} if self._writes else None
        self.say(
            status="finished",
            finished=now(),
            seconds=round(result.seconds, 3),
            measured=measured,
            steps=result.steps,
            metrics={name: value for name, value in result.metrics.items() if _is_number(value)},
            output=output,
        )

    def interrupt(self) -> None:
        self.say(status="interrupted", finished=now())

    def fail(self, error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.say(status="failed", finished=now(), error=what)


def result_of(record: Mapping[str, Any], prepared: PreparedStage) -> StageResult:
    """The result that a finished run left."""
    return StageResult(
        prepared.name,
        prepared.method,
        prepared.output,
        record.get("steps") or 0,
        record.get("seconds") or 0.0,
        record.get("metrics") or {},
    )


def now() -> str:
    """ISO, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def defaults_of(prepared: PreparedStage) -> dict[str, Any]:
    """The defaults of the options that were given."""
    found = {}
    for part in (prepared.script, prepared.model, prepared.config):
        for option in dataclasses.fields(part):
            if option.name in prepared.given and not is_secret(option.name):
                made = option.default_factory
                default = option.default if made is dataclasses.MISSING else made()
                found[option.name] = None if default is dataclasses.MISSING else plain(default)
    return found


def versions() -> dict[str, str]:
    found = {"burnish": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """What the run is on: processor, cores it may use, device, and the memory of the device."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    named, memory = str(device), _system_memory()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        named, memory = properties.name, properties.total_memory
    return {"cpu": _processor(), "cores": cores, "device": named, "memory_bytes": memory}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _system_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not a POSIX system
        return None
