"""What there is to train on: this machine, measured for a moment, or a GPU by name, from its data sheet."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from burnish.engine.memory import resident_bytes
from burnish.engine.plan import free_memory
from burnish.models.precision import fast_bfloat16
from burnish.paths import cache_folder
from burnish.planning.sheets import sheet_of


@dataclass(frozen=True)
class Device:
    """What one device can hold and do."""

    name: str
    kind: str  # cpu or cuda
    memory_bytes: int  # that training can have
    operations_per_second: float  # of matrix products, in the dtype that is computed in
    bytes_per_second: float  # of elementwise operations
    call_seconds: float  # of an operation that does nothing
    fast_bfloat16: bool
    source: str  # where the numbers are from
    reserved_bytes: int = 0  # what the driver and the allocator take beside what is counted


PRODUCT_SHARE = 0.45
"""Share of a data sheet's matrix rate that the products of a step reach."""

BANDWIDTH_SHARE = 0.7
"""Share of a data sheet's bandwidth that elementwise operations reach."""

GPU_CALL_SECONDS = 6e-6
"""From one small kernel to the next, as Python launches them."""

GPU_RESERVED = 1.0e9
"""The CUDA context and its libraries, and what the allocator cannot hand out."""


def named_device(name: str) -> Device:
    """A GPU of the table. Raises `UserError`."""
    sheet = sheet_of(name)
    return Device(
        name=sheet.title,
        kind="cuda",
        memory_bytes=int(sheet.memory * 1e9),
        operations_per_second=sheet.bfloat16 * 1e12 * PRODUCT_SHARE,
        bytes_per_second=sheet.bandwidth * 1e9 * BANDWIDTH_SHARE,
        call_seconds=GPU_CALL_SECONDS,
        fast_bfloat16=True,
        source=f"{sheet.source}; products at {PRODUCT_SHARE:.0%} of {sheet.bfloat16:,.0f} TFLOP/s, "
        f"the rest at {BANDWIDTH_SHARE:.0%} of {sheet.bandwidth:,.0f} GB/s (assumed)",
        reserved_bytes=int(GPU_RESERVED),
    )


def this_machine(device: torch.device, dtype: torch.dtype, width: int) -> Device:
    """The device of this machine, measured in `dtype` on products as wide as the model's."""
    speed = measured_speed(device, dtype, nearest_width(width))
    on_cpu = device.type == "cpu"
    return Device(
        name="this machine" if on_cpu else torch.cuda.get_device_name(device),
        kind=device.type,
        memory_bytes=free_memory(device) + (resident_bytes() if on_cpu else 0),
        operations_per_second=speed.operations_per_second,
        bytes_per_second=speed.bytes_per_second,
        call_seconds=speed.call_seconds,
        fast_bfloat16=fast_bfloat16(device),
        source=f"measured: products at {speed.operations_per_second / 1e9:,.0f} GFLOP/s in "
        f"{str(dtype).removeprefix('torch.')}, the rest at {speed.bytes_per_second / 1e9:.1f} GB/s",
        reserved_bytes=0 if on_cpu else int(GPU_RESERVED),
    )


# Measuring

WIDTHS = (256, 512, 1024, 2048, 4096)
"""Hidden sizes whose products are measured: small ones are slower."""

ROWS = 512
"""Tokens of these products."""

SPEED_ELEMENTS = 2**20
"""Numbers of an elementwise operation: about an activation of a micro-batch."""

SPEED_SECONDS = 0.4
"""That each of the two is measured for."""


@dataclass(frozen=True)
class Speed:
    operations_per_second: float
    bytes_per_second: float
    call_seconds: float


def nearest_width(width: int) -> int:
    return min(WIDTHS, key=lambda known: abs(known - width))


@cache
def measured_speed(device: torch.device, dtype: torch.dtype, width: int) -> Speed:
    """How fast this machine is, found out in a second and kept in the cache folder."""
    file = cache_folder("speed") / "speed.json"
    key = json.dumps([machine_name(device), str(dtype), width, torch.__version__, torch.get_num_threads()])
    known = _read(file)
    if key in known:
        return Speed(**known[key])
    speed = _measure(device, dtype, width)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_read(file) | {key: asdict(speed)}, indent=1), encoding="utf-8")
    return speed


def machine_name(device: torch.device) -> str:
    """What tells this machine from others: its processor and how many of its cores may be used."""
    if device.type != "cpu":
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor()}, {cores} cores"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _measure(device: torch.device, dtype: torch.dtype, width: int) -> Speed:
    states = torch.randn(ROWS, width, device=device).to(dtype)
    weight = torch.randn(3 * width, width, device=device).to(dtype)
    product = _fastest(lambda: states @ weight.T, device)
    one, other = (torch.randn(SPEED_ELEMENTS, device=device).to(dtype) for _ in range(2))
    moved = _fastest(lambda: one * other, device)
    small = torch.ones(1, device=device)
    calls = _fastest(lambda: [small + small for _ in range(200)], device) / 200
    return Speed(2 * states.numel() * 3 * width / product, 3 * one.nbytes / moved, calls)


def _fastest(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call, the fewest of those that fit into the time.

    On a CPU those that this thread was running, so that what others do on the machine does not count.
    """
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    taken: list[float] = []
    call()
    start = time.perf_counter()
    while time.perf_counter() - start < SPEED_SECONDS or len(taken) < 3:
        before = clock()
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(clock() - before)
    return min(taken)


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
