"""The most memory that was taken at one time, since one began to look; and giving back what is not used.

    CPU            resident memory of this process: weights, activations, the interpreter and its imports
    CUDA, XPU ...  what torch's allocator handed out on the device, without the driver's own
    MPS            what is held now, as it keeps no peak

Linux keeps the peak of a process (`VmHWM`) and can begin it anew (`/proc/self/clear_refs`). Where it
cannot, or the system is another, the peak is the one since the process began, and `reset_peak` says so.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


def peak_bytes(device: torch.device | str) -> int:
    """The most bytes taken on `device` since `reset_peak`, or since the process began."""
    device = torch.device(device)
    if device.type == "cpu":
        return _status("VmHWM") or _peak_of_usage()
    if _allocator_counts(device):
        return torch.accelerator.max_memory_allocated(device)
    return int(getattr(torch, device.type).driver_allocated_memory()) if device.type == "mps" else 0


def reset_peak(device: torch.device | str) -> bool:
    """Begin the peak of `device` anew; False where that cannot be, and it counts since the process began."""
    device = torch.device(device)
    if device.type == "cpu":
        try:
            (PROCESS / "clear_refs").write_text("5")  # man 5 proc: resets the peak, and touches no page
        except OSError:
            return False
        return True
    if _allocator_counts(device):
        torch.accelerator.reset_peak_memory_stats(device)
        return True
    return False


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; 0 where the system does not say."""
    return _status("VmRSS")


def give_back() -> None:
    """Free models that are no longer used, and give their memory back to the system.

    glibc keeps what is freed, against the next request; after a model of 4 GB it keeps 3 GB.
    """
    gc.collect()  # a trainer and its model refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _peak_of_usage() -> int:
    """The peak of the process by getrusage: macOS counts bytes, others kilobytes; Windows has none."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _allocator_counts(device: torch.device) -> bool:
    """Whether torch's allocator keeps a peak for devices of this kind."""
    current = torch.accelerator.current_accelerator()
    return current is not None and current.type == device.type and device.type != "mps"
