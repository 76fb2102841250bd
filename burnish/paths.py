"""Where files are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def share_weights(folder: str | Path) -> None:
    """Give files of weights in a folder the permissions of any new file: safetensors makes them private."""
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    for file in Path(folder).glob("*.safetensors"):
        file.chmod(0o666 & ~mask)


def cache_folder(kind: str) -> Path:
    """`$BURNISH_CACHE/kind`, by default under `~/.cache/burnish`. May not exist yet."""
    root = os.environ.get("BURNISH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "burnish"
    return Path(root).expanduser() / kind
