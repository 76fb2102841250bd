"""Secrets out of what others will read: by the name of an option, by their looks, and by their value."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

HIDDEN = "[hidden]"
NAMES = re.compile(r"(^|_)(token|secret|password|passwd|api_key|apikey|key|credentials?)$", re.IGNORECASE)
NO_SECRETS = {"eos_token", "pad_token", "bos_token", "unk_token"}
LOOKS = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}|wandb_v1_\w{16,})"
)
IN_A_URL = re.compile(r"(https?://)[^/\s:@]+:[^/\s@]+@")
IN_WORDS = re.compile(
    r"((?:--[\w-]+(?:=|\s+))|(?:\b\w+\s*=\s*))('[^']*'|\"[^\"]*\"|[^\s,;)}\]]+)",
)
SHORTEST = 8
"""Values of the environment that are shorter are not looked for: they are found in any text."""


def is_secret(name: str) -> bool:
    """Whether an option holds a secret, by its name: `hub_token`, not `eos_token`."""
    return bool(NAMES.search(name)) and name.lower() not in NO_SECRETS


def hidden(text: str) -> str:
    """A text without secrets, and with the home folder as `~`."""
    for name, value in os.environ.items():
        if is_secret(name.lower()) and len(value) >= SHORTEST:
            text = text.replace(value, HIDDEN)
    text = IN_A_URL.sub(rf"\1{HIDDEN}@", LOOKS.sub(HIDDEN, text))
    text = IN_WORDS.sub(lambda found: found[0] if _is_harmless(found[1]) else found[1] + HIDDEN, text)
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Options with what is secret hidden, also in dicts and lists below them."""
    return {
        name: HIDDEN if is_secret(name) and value is not None else _inside(value)
        for name, value in options.items()
    }


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_inside(each) for each in value]
    return hidden(value) if isinstance(value, str) else value


def _is_harmless(flag: str) -> bool:
    """`--eos_token ` names a token of the vocabulary."""
    return not is_secret(re.sub(r"[=\s]+$", "", flag).lstrip("-").replace("-", "_"))
