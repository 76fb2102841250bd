"""Asks the rules of thumb (`rules.py`) as a run goes on, and writes down what they say: `notices.jsonl`.

    {"step": 40, "rule": "gradient_spikes", "severity": "warning", "text": "gradient norm 31 is ...",
     "rows": ["pairs.jsonl, row 17", ...]}

What it knows are logs, and the gradient norm of each step, which the engine has as a number anyway. Once,
after some steps, it compares a few trained weights with what they were. Nothing else is read from the device.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from burnish.engine.figures import evaluated
from burnish.engine.logs import Lines
from burnish.engine.rules import OF_A_STEP, RULES, History, Notice
from burnish.engine.screen import Screen
from burnish.engine.step import Step, shortened_origins
from burnish.errors import UserError

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

logger = logging.getLogger("burnish")

NOTICES = "notices.jsonl"

WORSE = 2.0
"""A rule speaks again where its size has grown by this factor."""

MOST_BAD_STEPS = 5
"""Steps in a row whose gradient is not finite, before training stops."""

FIRST_LOGS, LAST_LOGS = 20, 200
"""Logs that rules look back on: asking them takes no longer late in a run than early."""

NORMS = 51
"""Gradient norms that are remembered: a step's, and those it is compared with."""


class Watch(TrainerCallback):
    """Watches a trainer. `gradient` is told the norm of every step before it is applied."""

    def __init__(self, engine: Engine, screen: Screen) -> None:
        self.engine, self.screen = engine, screen
        self.lines = Lines(Path(engine.args.output_dir) / NOTICES)
        self.history = History()
        self._said: dict[str, float] = {}
        self._bad_steps = 0
        self._still: list[tuple[Tensor, Tensor]] = []  # weights, and a few of their numbers at step 1
        self._look_at = 0

    def gradient(self, norm: float, step: Step) -> bool:
        """Whether a step of this gradient norm is applied. Raises `UserError` after several that are not."""
        number = self.engine.state.global_step + 1
        self.history.norms = [*self.history.norms[-NORMS + 1 :], norm]
        if math.isfinite(norm):
            self._bad_steps = 0
            return True
        self.history.norms.pop()
        self._bad_steps += 1
        if self.engine.is_deepspeed_enabled:  # it has stepped within its backward
            raise UserError(
                f"step {number} was applied by DeepSpeed, and its gradient is not finite ({step.origins})",
                fix="resume from the last checkpoint, with a lower learning_rate or without these rows",
            )
        text = f"step {number} was not applied: its gradient is not finite ({step.origins})"
        if self._bad_steps >= MOST_BAD_STEPS:
            raise UserError(
                f"{text}, the {self._bad_steps}th in a row",
                fix="lower learning_rate, look at these rows, or compute in float32 with bf16=False",
            )
        logger.warning(text)
        self._write(Notice(number, "gradient_not_finite", "warning", text, rows=step.origin_of_each))
        return False

    # As a trainer calls back

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        engine = self.engine
        self.history = History(
            step=state.global_step,
            steps=state.max_steps,
            beta=getattr(args, "beta", None) if hasattr(engine, "reference") else None,
            rows_per_step=args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
            warmup_steps=args.get_warmup_steps(state.max_steps),
            trained_share=_trained_share(engine),
        )
        kept = self.lines.begin(state.global_step) if state.is_world_process_zero else []
        self._said = {line["rule"]: line.get("size", 1.0) for line in kept}
        for entry in state.log_history:
            self._remember(entry)
        self._still = [(weight, _some(weight)) for weight in watched(engine.model)]
        after = min(20, max(2, state.max_steps // 10))
        self._look_at = max(state.global_step, self.history.warmup_steps) + after

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.history.step = state.global_step
        if state.global_step == self._look_at and self._still:
            moved = [not torch.equal(_some(weight), before) for weight, before in self._still]
            self.history.unmoved = (moved.count(False), len(moved))
            self._still = []
            self._ask(RULES)
        self._ask(OF_A_STEP)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        if not state.max_steps or not self._remember({**logs, "step": state.global_step}):
            return
        self.history.step = state.global_step
        self._ask([rule for rule in RULES if rule not in OF_A_STEP])

    def _remember(self, entry: dict[str, Any]) -> bool:
        prefix = evaluated(entry)
        if "loss" in entry:
            self.history.logs.append(entry)
            del self.history.logs[FIRST_LOGS:-LAST_LOGS]
        elif prefix is not None and prefix.count("_") == 1:  # of several sets, none stands for all
            self.history.evaluations.append({k.removeprefix(prefix): v for k, v in entry.items()})
        else:
            return False
        return True

    def _ask(self, rules: Any) -> None:
        if not self.engine.is_world_process_zero():
            return
        for rule in rules:
            notice = rule(self.history)
            if notice is not None and notice.size >= WORSE * self._said.get(notice.rule, 0.0):
                self.say(notice)

    def say(self, notice: Notice) -> None:
        self._said[notice.rule] = notice.size
        text, rows = notice.text, []
        if notice.rule == "gradient_spikes":
            rows = self.engine.last_step.origin_of_each
            text += f"; {shortened_origins(rows)}" + (
                " (of rank 0)" if self.engine.args.world_size > 1 else ""
            )
        self._write(Notice(notice.step, notice.rule, notice.severity, text, notice.size, rows))
        self.screen.notice(notice.step, notice.severity, text)

    def _write(self, notice: Notice) -> None:
        if self.engine.is_world_process_zero():
            self.lines.write(vars(notice))


def _trained_share(engine: Engine) -> float | None:
    reports = engine.preparation_reports.get("train", [])
    tokens = sum(report.tokens for report in reports)
    return sum(report.trained_tokens for report in reports) / tokens if tokens else None


# Weights that should move

MOST_TENSORS, SOME = 64, 256
"""Trained tensors that are looked at, and numbers of each."""


def watched(model: nn.Module) -> list[nn.Parameter]:
    """Trained matrices that any step changes: the B factors of an adapter, else those of linear layers."""
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and p.dim() == 2 and p.numel()]
    factors = [p for name, p in trained if "lora_B" in name]
    found = factors or [p for _, p in trained if id(p) not in embedded]
    return found[:: math.ceil(len(found) / MOST_TENSORS)] if found else []


def _some(weight: Tensor) -> Tensor:
    flat = weight.detach().flatten()
    return flat[:: max(1, len(flat) // SOME)].to("cpu", copy=True)
