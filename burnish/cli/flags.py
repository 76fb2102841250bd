"""Flags to settings: every config field is a flag, with dashes or underscores.

--learning_rate 1e-5   --learning-rate=1e-5   --packing   --packing false   --no_packing
--loss_type sigmoid ipo   --loss_type sigmoid,ipo   --model_init_kwargs '{"dtype": "float32"}'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.errors import UserError, shorten
from burnish.pipeline.fields import Field
from burnish.pipeline.settings import SHORT_NAMES, Setting, unknown_key
from burnish.pipeline.values import is_flag, is_list
from burnish.secrets import learn


def read_flags(words: list[str], fields: Mapping[str, Field], help_command: str) -> dict[str, Setting]:
    """The settings that the words of a command line give. Raises `UserError`."""
    settings: dict[str, Setting] = {}
    for flag, values in grouped(words):
        name = flag.lstrip("-").replace("-", "_")
        learn(name, values)
        name = name if name in fields else SHORT_NAMES.get(name, name)
        positive = name.removeprefix("no_")
        if name not in fields and positive in fields and is_flag(fields[positive].annotation):
            if values:
                raise UserError(f"takes no value, found {shorten(values[0])}", where=flag)
            name, values = positive, ["false"]
        if name not in fields:
            raise unknown_key(name, flag, fields, help_command, " ".join(values) or "true")
        settings[name] = Setting(_value(flag, values, fields[name]), flag)
    return settings


def grouped(words: list[str]) -> list[tuple[str, list[str]]]:
    """Each flag with the words after it: `--a 1 --b` gives `[("--a", ["1"]), ("--b", [])]`."""
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            groups.append((flag, [value] if equals else []))
        elif groups:
            groups[-1][1].append(word)
        else:
            raise UserError(f"does not belong here: {shorten(word)}", fix="write options as --name value")
    return groups


def _value(flag: str, values: list[str], field: Field) -> Any:
    if len(values) == 1:
        return values[0]
    if not values and is_flag(field.annotation):
        return "true"
    if not values:
        raise UserError("needs a value", where=flag)
    if is_list(field.annotation):
        return values
    raise UserError(f"takes one value, found {shorten(' '.join(values))}", where=flag, fix="quote it")
