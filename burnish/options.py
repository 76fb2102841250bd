"""Fields of configuration dataclasses: each with one sentence, from which help and docs are made."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def described(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its one sentence, and what else there is to say (`choices`)."""
    metadata["help"] = help
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
