"""The settings of a stage with the defaults behind them: what checks ask, without importing torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from burnish.errors import UserError
from burnish.pipeline.fields import Field
from burnish.pipeline.methods import Method
from burnish.pipeline.settings import Settings


@dataclass(frozen=True)
class Notice:
    """A warning about a setting, as data: `where` is its place (`dpo.yaml:3`, or the flag), or empty."""

    key: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass(frozen=True)
class Chosen:
    """`values` are the settings converted to the types of their fields; `adapter` says that the model has an
    adapter which goes on training, where that is known before the model is there.
    """

    method: Method
    settings: Settings
    values: Mapping[str, Any]
    adapter: bool | None = None

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        return self.method.fields()

    def __getitem__(self, name: str) -> Any:
        """The value of an option, its default where it was not given; None, where the method has none."""
        if name in self.values:
            return self.values[name]
        return default_of(self.fields[name]) if name in self.fields else None

    def gives(self, name: str) -> bool:
        return self.values.get(name) is not None

    def where(self, name: str) -> str:
        return self.settings[name].where if name in self.settings else ""

    def states(self, name: str) -> str:
        """What an option is, and where: `max_steps is 10 (a.yaml:4)`, `packing is false by default`."""
        where = self.where(name)
        said = f"{name} is {spell(self[name])}"
        if name not in self.settings:
            return f"{said} by default"
        return f"{said} ({where})" if where else said

    def spelled(self, name: str, value: Any, beside: str = "") -> str:
        """How one would write it, as a flag where `name` (or `beside`) was given as one."""
        place = self.where(name if name in self.settings else beside)
        if place.startswith("--set "):
            return f"{place.rpartition('.')[0]}.{name}={spell(value)}"
        if place.startswith("--"):
            return f"--{name} {spell(value)}"
        return f"{name}: {spell(value)}"

    def changed(self, name: str, value: Any, beside: str) -> str:
        """The advice to give an option another value: to set it, or to add it where it is not given."""
        return f"{'set' if name in self.settings else 'add'} {self.spelled(name, value, beside)}"

    def refusal(self, name: str, what: str, fix: str) -> UserError:
        """An error at the place of a setting."""
        return UserError(what, where=self.where(name), fix=fix)

    def notice(self, name: str, text: str) -> Notice:
        return Notice(name, self.where(name), text)


def default_of(field: Field) -> Any:
    """The default as a value. Those that a factory makes are empty lists or dicts."""
    try:
        return ast.literal_eval(field.default)
    except ValueError:
        return {"list()": [], "dict()": {}}.get(field.default)


def spell(value: Any) -> str:
    """A value as YAML and flags have it: `true`, `1e-6`, `sigmoid ipo`."""
    if isinstance(value, list):
        return " ".join(map(spell, value))
    if isinstance(value, float):
        mantissa, _, exponent = f"{value:.6e}".partition("e")
        small = 0 < abs(value) < 1e-3
        return f"{float(mantissa):g}e{int(exponent)}" if small else f"{value:g}"
    return {"True": "true", "False": "false", "None": "null"}.get(str(value), str(value))
