"""Asking the hub only where it can be reached: without a network its client tries again for half a minute."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants

SECONDS = 3.0


@contextmanager
def hub_within_reach(name: str) -> Iterator[None]:
    """Within this context a name of the hub is looked for in its cache alone, if the hub is out of reach."""
    own = constants.HF_HUB_OFFLINE
    if not Path(name).expanduser().is_dir() and not own:
        constants.HF_HUB_OFFLINE = not reachable()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = own


@cache
def reachable() -> bool:
    """Whether the hub's host takes a connection. With a proxy only the client itself can tell."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    url = urlsplit(constants.ENDPOINT)
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        with socket.create_connection((url.hostname or "", port), SECONDS):
            return True
    except OSError:
        return False
