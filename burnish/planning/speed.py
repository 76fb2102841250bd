"""How fast this machine is, measured for a moment: products, memory, calls, and a small step of training."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.attention.plan import Plan
from burnish.models.forward import attach
from burnish.models.precision import compute_in
from burnish.models.rehearsal import Effort, rehearse, without_numbers
from burnish.models.score import score
from burnish.paths import cache_folder

WIDTHS = (256, 512, 1024, 2048, 4096)
"""Hidden sizes whose products are measured: small ones are slower."""

ROWS = 512
"""Tokens of these products."""

SPEED_ELEMENTS = 2**20
"""Numbers of an elementwise operation: about an activation of a micro-batch."""

SPEED_SECONDS = 0.4
"""That each of them is measured for."""

WIDEST = 1024
"""Hidden size of the model whose step is measured, at most: a wider one would take long to make."""

VOCABULARY = 16384
"""Of that model: its head is as large a part of it as that of a real one."""


@dataclass(frozen=True)
class Speed:
    operations_per_second: float  # of matrix products, in the dtype that is computed in
    bytes_per_second: float  # of elementwise operations
    call_seconds: float  # of an operation that does nothing
    slowdown: float = 1.0  # of a whole step against its operations one by one


def nearest_width(width: int) -> int:
    return min(WIDTHS, key=lambda known: abs(known - width))


@cache
def measured_speed(device: torch.device, dtype: torch.dtype, width: int) -> Speed:
    """How fast this machine is, found out in seconds and kept in the cache folder."""
    file = cache_folder("speed") / "speed.json"
    asked = [machine_name(device), str(dtype), width, torch.__version__, torch.get_num_threads()]
    key = json.dumps(["a step", *asked])
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
    parts = Speed(2 * states.numel() * 3 * width / product, 3 * one.nbytes / moved, calls)
    return replace(parts, slowdown=max(1.0, _slowdown(parts, device, dtype, width)))


def time_of(effort: Effort, speed: Speed, on_cpu: bool) -> float:
    """Seconds of what is done, at the speed of its parts and of a whole step."""
    products = effort.operations / speed.operations_per_second
    others = effort.moved / speed.bytes_per_second
    calls = effort.calls * speed.call_seconds
    # A GPU runs while Python launches what comes next; on a CPU the one waits for the other.
    return speed.slowdown * (products + others + calls if on_cpu else max(products + others, calls))


def _slowdown(parts: Speed, device: torch.device, dtype: torch.dtype, width: int) -> float:
    """How much longer a step of a small model takes than its operations one by one.

    Every step has another number of tokens, as in training: what is compiled for a shape is compiled anew.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig

    width = min(width, WIDEST)
    heads = width // 64
    shape = {"num_attention_heads": heads, "num_key_value_heads": heads, "num_hidden_layers": 2}
    config = LlamaConfig(hidden_size=width, intermediate_size=8 * width // 3, vocab_size=VOCABULARY, **shape)
    copies = dtype if dtype in (torch.float16, torch.bfloat16) else None

    def model(place: Any) -> Any:
        with torch.device(place):
            made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return made.train()

    mode, twin = FakeTensorMode(allow_non_fake_inputs=True), model("meta")
    attach(without_numbers(twin, mode))
    compute_in(twin, copies)
    packed = [_forest(ROWS), _forest(ROWS)]
    effort = rehearse(twin, mode, lambda: score(twin, packed.pop()).logprob.sum())[0].effort

    real = attach(model(device))
    compute_in(real, copies)
    sizes = count(ROWS)

    def step() -> None:
        score(real, _forest(next(sizes)).to(device)).logprob.sum().backward()

    return _fastest(step, device) / time_of(effort, parts, device.type == "cpu")


def _forest(tokens: int) -> Forest:
    """Rows of about 100 tokens, half of them trained."""
    lengths = [50] * (tokens // 100) + [tokens % 100 // 2 + 1]
    rows = [TokenizedExample([7] * n, [[9] * n], [[True] * n]) for n in lengths]
    forest = Forest.pack(rows)
    _ = forest.target, forest.target_branch
    Plan.of(forest, None)
    return forest


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
