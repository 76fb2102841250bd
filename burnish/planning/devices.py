"""What there is to train on: this machine, measured for a moment, or a GPU by name, from its data sheet."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from burnish import units
from burnish.engine.plan import free_memory
from burnish.models.memory import resident_bytes
from burnish.models.precision import fast_bfloat16
from burnish.planning.sheets import sheet_of
from burnish.planning.speed import Speed, measured_speed, nearest_width


@dataclass(frozen=True)
class Device:
    """What one device can hold and do."""

    name: str
    kind: str  # cpu or cuda
    memory_bytes: int  # that training can have
    speed: Speed
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
        speed=Speed(
            operations_per_second=sheet.bfloat16 * 1e12 * PRODUCT_SHARE,
            bytes_per_second=sheet.bandwidth * 1e9 * BANDWIDTH_SHARE,
            call_seconds=GPU_CALL_SECONDS,
        ),
        fast_bfloat16=True,
        source=f"{sheet.source}; products at {units.share(PRODUCT_SHARE, 0)} of {sheet.bfloat16:,.0f} "
        f"TFLOP/s, the rest at {units.share(BANDWIDTH_SHARE, 0)} of {sheet.bandwidth:,.0f} GB/s (assumed)",
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
        speed=speed,
        fast_bfloat16=fast_bfloat16(device),
        source=f"measured: products at {speed.operations_per_second / 1e9:,.0f} GFLOP/s in "
        f"{str(dtype).removeprefix('torch.')}, the rest at {speed.bytes_per_second / 1e9:.1f} GB/s, "
        f"a whole step at {units.share(1 / speed.slowdown, 0)} of both",
        reserved_bytes=0 if on_cpu else int(GPU_RESERVED),
    )
