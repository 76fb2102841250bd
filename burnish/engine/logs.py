"""Lines of JSON that a run leaves behind: `metrics.jsonl`, a line for every log.

    {"step": 20, "epoch": 0.4, "seconds": 31.2, "tokens_per_second": 6410.0, "peak_bytes": 3221225472,
     "loss": 0.61, "grad_norm": 8.5, "learning_rate": 1e-06, "rewards/margins": 0.21, ...}

A line is written and flushed as it comes, so a broken run keeps what it had. One that goes on from a
checkpoint goes on after the checkpoint's step: later lines belong to steps that are done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from burnish.engine.pace import Pace
from burnish.models.memory import peak_bytes, reset_peak

METRICS = "metrics.jsonl"


class Lines:
    """A file of JSON lines of one run, each with its `step`.

    What comes before training begins waits until it does: a trainer that only evaluates writes nothing
    into the folder of a finished run.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._waiting: list[Mapping[str, Any]] = []
        self._begun = False

    def begin(self, step: int) -> list[dict[str, Any]]:
        """Training begins after `step`: the lines up to it are kept, and returned."""
        kept = [line for line in read_lines(self.file) if line["step"] <= step] if step else []
        waiting, self._waiting, self._begun = [] if step else self._waiting, [], True
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(map(_text, [*kept, *waiting])), encoding="utf-8")
        return kept

    def write(self, line: Mapping[str, Any]) -> None:
        if not self._begun:
            self._waiting.append(line)
            return
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(_text(line))


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file, none where there is no file; without a last one that was cut off in writing."""
    if not file.is_file():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps({key: plain(value) for key, value in line.items()}, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers that are not finite are null."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsFile(TrainerCallback):
    """Keeps the pace of a run, and writes every log to `metrics.jsonl`; comes before those that show it."""

    def __init__(self, folder: str, pace: Pace) -> None:
        self.lines, self.pace = Lines(Path(folder) / METRICS), pace

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        reset_peak(args.device)
        seconds = 0.0
        if state.is_world_process_zero:
            kept = self.lines.begin(state.global_step)
            seconds = kept[-1]["seconds"] if kept else 0.0
        self.pace.begin(state.global_step, state.max_steps, state.num_input_tokens_seen, seconds)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.pace.stepped(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if "loss" in logs:
            self.pace.counted(state.num_input_tokens_seen)
        if state.is_world_process_zero:
            self.lines.write(
                {
                    "step": state.global_step,
                    "epoch": state.epoch,
                    "seconds": round(self.pace.seconds, 3) if self.pace.total else 0.0,
                    "tokens_per_second": self.pace.tokens_per_second,
                    "peak_bytes": peak_bytes(args.device),
                    **{name: value for name, value in logs.items() if name != "epoch"},
                }
            )
        self.pace.resumed()

    def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.pace.resumed()

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.pace.resumed()
