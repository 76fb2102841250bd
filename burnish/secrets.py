"""What a secret is, and texts without them: one answer for every file and message that is written.

A secret is known in three ways:

    by its name     hub_token, api_key, password ...: of an option, a nested key, a variable
    by its looks    hf_..., sk-..., Bearer ..., the user and password of a URL
    by its value    what once stood under a secret name (`learn`), or does so in this process's environment

The last one covers places that have no names: a token in a message of another library, or in `run_name`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "[hidden]"

NAMES = re.compile(
    r"secret|passwor?d|passwd|passphrase|credentials?$|api_?key|access_?key|private_?key|auth_?token|"
    r"(^|_)(token|key|auth|authorization|pat|pwd)$",
    re.IGNORECASE,
)
HARMLESS = re.compile(
    r"(^|_)(eos|bos|pad|unk|sep|cls|mask|image|audio|video|start|end|eot|eom|think|fake|boi|eoi|soft)_token$"
)
"""Names that are those of a token of the vocabulary."""

LOOKS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|"
    r"glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|wandb_v1_\w{16,}|"
    r"eyJ[\w-]{6,}\.eyJ[\w-]{6,}\.[\w-]+)"
)
IN_A_HEADER = re.compile(r"\b(Bearer|Basic)\s+(?!\[hidden\])[A-Za-z0-9._~+/=-]{8,}")
IN_A_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*:/{1,2})(?!\[hidden\])[^/\s@'\"]+@", re.IGNORECASE)

VALUE = r"(?![\\'\"]*\[hidden\])(\\?'[^']*'|\\?\"[^\"]*\"|[^\s,;&)}\]'\"]+)"
AFTER_A_NAME = (
    re.compile(rf"(?P<name>--[\w.-]+)(?P<between>=|\s+){VALUE}"),  # --hub_token x
    re.compile(rf"(?P<name>\b[\w.-]+)(?P<between>\s*=\s*){VALUE}"),  # hub_token=x, also in a URL's query
    re.compile(rf"(?P<name>\\?['\"][\w.-]+\\?['\"])(?P<between>\s*:\s*){VALUE}"),  # {"token": x}
    re.compile(rf"(?P<name>\b[\w.-]*[a-zA-Z]+[_-][\w.-]+)(?P<between>:\s+){VALUE}"),  # hub_token: x
)
"""Ways to write a name before a value. `key: x` alone is prose; `api_key: x` is not."""

SHORTEST = 8
"""Shorter values are not looked for by themselves: they are found in any text."""

_learned: set[str] = set()


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret: `hub_token`, `dpo.hub-token`, not `eos_token`."""
    plain = name.strip("-'\"\\").rpartition(".")[2].replace("-", "_")
    return bool(NAMES.search(plain)) and not HARMLESS.search(plain.lower())


def learn(name: str, value: Any) -> None:
    """Keep a value for `hidden`, where its name, or that of a key inside it, is secret."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            learn(name if is_secret(name) else str(key), each)
    elif isinstance(value, list | tuple):
        for each in value:
            learn(name, each)
    elif isinstance(value, str) and is_secret(name) and _is_telling(value):
        _learned.add(value)


def _is_telling(value: str) -> bool:
    """Whether a value can be told from ordinary text; a path to a file of credentials is no secret."""
    return len(value) >= SHORTEST and not value.startswith(("/", "~", "."))


def hidden(text: str) -> str:
    """A text without secrets. What was hidden before stays as it is."""
    in_the_environment = {
        value for name, value in os.environ.items() if is_secret(name) and _is_telling(value)
    }
    for value in sorted(_learned | in_the_environment, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = IN_A_URL.sub(rf"\1{HIDDEN}@", LOOKS.sub(HIDDEN, text))
    text = IN_A_HEADER.sub(rf"\1 {HIDDEN}", text)
    for pattern in AFTER_A_NAME:
        text = pattern.sub(_without_value, text)
    return text


def _without_value(found: re.Match[str]) -> str:
    return found["name"] + found["between"] + HIDDEN if is_secret(found["name"]) else found[0]


def without_secrets(value: Any) -> Any:
    """A value of JSON without secrets: by the names of keys, and in every text. What is not set stays."""
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if is_secret(str(name)) and each not in (None, "") else without_secrets(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    return hidden(value) if isinstance(value, str) else value


def in_texts(change: Callable[[str], str], value: Any) -> Any:
    """A value of JSON with every text in it changed; keys stay."""
    if isinstance(value, Mapping):
        return {name: in_texts(change, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [in_texts(change, each) for each in value]
    return change(value) if isinstance(value, str) else value
