"""The peak of memory rises with what is allocated, stays when it is freed, and can begin anew."""

import platform
import subprocess
import sys

import pytest
import torch

from burnish.models import memory

MEGABYTE = 2**20


def allocate(megabytes: int) -> torch.Tensor:
    return torch.ones(megabytes * MEGABYTE, dtype=torch.uint8)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak begins anew on Linux only")
def test_the_peak_counts_what_was_freed_and_begins_anew():
    assert memory.reset_peak("cpu")
    before = memory.peak_bytes("cpu")
    held = allocate(300)
    del held
    peak = memory.peak_bytes("cpu")
    assert 290 * MEGABYTE < peak - before < 330 * MEGABYTE
    assert memory.reset_peak(torch.device("cpu"))
    assert memory.peak_bytes("cpu") < peak - 250 * MEGABYTE


def test_where_it_cannot_begin_anew_it_says_so_and_counts_from_the_start(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "none")
    assert not memory.reset_peak("cpu")
    assert memory.resident_bytes() == 0
    assert memory.peak_bytes("cpu") > 100 * MEGABYTE  # torch alone takes more


def test_resident_memory_is_at_most_its_peak():
    assert 0 < memory.resident_bytes() <= memory.peak_bytes("cpu") + 8 * MEGABYTE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps less")
def test_what_is_free_between_blocks_in_use_is_given_back():
    """In a process of its own: what earlier tests left free would take some of the blocks."""
    done = subprocess.run([sys.executable, "-c", FREED_BETWEEN], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


FREED_BETWEEN = """
import torch
from burnish.models import memory

MEGABYTE = 2**20
torch.ones(24 * MEGABYTE, dtype=torch.uint8)  # and freed: from now on blocks of this size are on the heap
blocks, pins = [], []
for _ in range(200):
    blocks.append(torch.ones(MEGABYTE, dtype=torch.uint8))
    pins.append(torch.ones(1000))
del blocks
kept = memory.resident_bytes()
memory.give_back()
assert kept - memory.resident_bytes() > 150 * MEGABYTE, (kept, memory.resident_bytes())
assert len(pins) == 200
"""


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_peak_of_a_gpu_is_its_allocators():
    assert memory.reset_peak("cuda")
    before = memory.peak_bytes("cuda")
    held = allocate(64).cuda()
    del held
    assert memory.peak_bytes("cuda") - before >= 64 * MEGABYTE
