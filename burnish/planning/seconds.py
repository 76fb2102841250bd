"""How long a run takes, from what is done in it and how fast the device does it.

    matrix products      operations / operations a second
    everything else      bytes read and written / bytes a second
    every call           a few microseconds of Python and of the launch
    a whole step         longer than these by the slowdown that a small step on this machine has (`speed.py`)
    an update            per trained weight 28 bytes for AdamW, and 12 for the norm and the clipping

A micro-batch is counted in its rehearsal; a run has so many of them as its tokens come to. Evaluation and the
scoring by a reference before step 1 are forwards.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from burnish.planning.devices import Device
from burnish.planning.memory import Rehearsed
from burnish.planning.optimizers import kept_by
from burnish.planning.speed import time_of
from burnish.planning.subject import Subject

CLIPPING_BYTES = 12
"""Per trained weight: its gradient read for the norm, read and written for the clipping."""


@dataclass(frozen=True)
class Seconds:
    """Of a whole run, by what they go to."""

    training: float
    updates: float
    reference: float  # scoring all rows before step 1
    evaluation: float

    @property
    def total(self) -> float:
        return sum(asdict(self).values())


def update_seconds(subject: Subject, device: Device) -> float:
    state = kept_by(subject.args.optim, device.kind).state
    moved = 12 + 2 * state + CLIPPING_BYTES  # weight read and written, gradient read; the state both
    return subject.trained * moved / device.speed.bytes_per_second


def seconds(
    subject: Subject,
    device: Device,
    rehearsed: Rehearsed,
    *,
    several: bool,
    steps: int,
    tokens: int,
    rows_tokens: int,
    eval_tokens: int,
) -> Seconds:
    """Of `steps` over `tokens`. `rows_tokens`: of all rows once; `eval_tokens`: of all evaluations."""
    micro_batch = rehearsed.micro_batch(several)
    on_cpu = device.kind == "cpu"
    per_token = time_of(micro_batch.effort, device.speed, on_cpu) / rehearsed.tokens
    forward = time_of(micro_batch.forward, device.speed, on_cpu) / rehearsed.tokens
    in_advance = subject.reference == "precomputed" or getattr(
        subject.args, "precompute_ref_log_probs", False
    )
    return Seconds(
        training=per_token * tokens,
        updates=update_seconds(subject, device) * steps,
        reference=forward * rows_tokens if in_advance else 0.0,
        evaluation=forward * eval_tokens,
    )
