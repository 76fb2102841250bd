"""Benchmarks: coverage of model families, speed against TRL, share of the machine's limit."""

import os

# Waiting threads go to sleep soon, in every library measured: see `burnish.cli.wait_without_spinning`.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
