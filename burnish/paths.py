"""Where files are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """`$BURNISH_CACHE/kind`, by default under `~/.cache/burnish`. May not exist yet."""
    root = os.environ.get("BURNISH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "burnish"
    return Path(root).expanduser() / kind
