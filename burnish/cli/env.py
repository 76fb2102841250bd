"""`burnish env`: the versions and the machine. Works where torch is missing or broken, and says so."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Any

from burnish import __version__, units

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "tokenizers",
    "bitsandbytes",
    "trl",
)


def show(as_json: bool = False) -> None:
    """Print one `name: value` line each, or one JSON object."""
    if as_json:
        print(json.dumps(environment(), indent=2))
        return
    for name, value in environment().items():
        print(f"{name + ':':<15}{value}")


def environment() -> dict[str, str]:
    found = {
        "burnish": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | machine() | accelerators()


def machine() -> dict[str, str]:
    """Usable cores, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = units.size(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):  # not a POSIX system
        memory = "unknown"
    return {"cores": str(cores), "memory": memory}


def accelerators() -> dict[str, str]:
    """The devices torch sees, and whether they compute in bfloat16."""
    try:
        import torch
    except Exception as error:  # missing, or a library of its own that does not load
        return {"device": f"torch cannot be imported ({type(error).__name__}: {error})"}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        bf16 = "yes" if torch.cuda.is_bf16_supported() else "no"
        return {"device": ", ".join(names), "bf16": bf16, "cuda": str(torch.version.cuda)}
    if torch.backends.mps.is_available():
        return {"device": "Apple GPU (mps)", "bf16": "yes"}
    return {"device": f"cpu ({torch.get_num_threads()} threads)", "bf16": cpu_bf16(torch)}


def cpu_bf16(torch: Any) -> str:
    """Whether this CPU multiplies bfloat16 matrices in hardware."""
    probes = {"AVX512_BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    names = [name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()]
    return f"in hardware ({', '.join(names)})" if names else "emulated"
