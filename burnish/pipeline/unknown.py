"""What to say of a name that is no option: whose it is, what it is called here, and how to write it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from burnish.errors import UserError, nearest
from burnish.pipeline.chosen import spell
from burnish.pipeline.foreign.names import Foreign, NoCounterpart
from burnish.pipeline.foreign.tables import lookup, written
from burnish.pipeline.methods import METHODS


@dataclass(frozen=True)
class UnknownKey:
    """`names` are the options there are; `value` is what was given, as text or plain values.

    `calls`: it is an argument of a call in Python, which is where the fix is written.
    """

    name: str
    where: str
    names: Sequence[str]
    help_command: str
    value: Any = None
    calls: bool = False

    def error(self) -> UserError:
        found = lookup(self.name)
        if found is not None and (found[1].ours in self.names or not found[1].ours):
            return self._foreign(*found)
        others = methods_with(self.name)
        if others:
            return self._said(
                f"'{self.name}' is an option of {written(others)}, not of {self._methods_here()}",
                f"leave it out; `burnish explain {self.name}` says what it does",
            )
        if found is not None:
            return self._elsewhere(*found)
        return self._said(
            f"there is no option '{self.name}'.{nearest(self.name, self.names)}",
            f"`{self.help_command}` lists all options",
        )

    def _foreign(self, tools: list[str], entry: Foreign) -> UserError:
        whose = f"{written(tools)}'s '{self.name}'" if tools else f"'{self.name}'"
        if not entry.needed:
            return self._said(f"{whose} needs no counterpart: {entry.note}", "leave it out")
        if not entry.ours:
            return self._said(f"{whose} has no counterpart: {entry.note}", "leave it out")
        if not tools:
            return self._said(
                f"there is no option '{self.name}'. Did you mean '{entry.ours}'?", self._rewritten(entry)
            )
        note = f" ({entry.note})" if entry.note else ""
        return self._said(f"{whose} is called {entry.ours} here{note}", self._rewritten(entry))

    def _elsewhere(self, tools: list[str], entry: Foreign) -> UserError:
        """A foreign name for an option of other methods."""
        whose = f"{written(tools)}'s '{self.name}'" if tools else f"'{self.name}'"
        here = written(methods_with(entry.ours))
        return self._said(
            f"{whose} is called {entry.ours} here, an option of {here}, not of {self._methods_here()}",
            "leave it out",
        )

    def _rewritten(self, entry: Foreign) -> str:
        """How the setting is written here, where its value can be translated without the rest."""
        try:
            settings = entry.settings(plain(self.value), {})
        except (NoCounterpart, TypeError, ValueError, AttributeError, KeyError):
            settings = {}
        shown = {name: each for name, each in settings.items() if name in self.names and each is not None}
        if not shown or self.value is None or any(isinstance(each, dict) for each in shown.values()):
            return f"`burnish explain {entry.ours}` says what it takes"
        return "write " + self._lines(shown)

    def _lines(self, settings: dict[str, Any]) -> str:
        if self.calls:
            return ", ".join(f"{name}={value!r}" for name, value in settings.items())
        flag = self.where.startswith("--") and not self.where.startswith("--set")
        written = [
            f"--{name} {spell(value)}" if flag else f"{name}: {yaml_text(value)}"
            for name, value in settings.items()
        ]
        return (" " if flag else ", ").join(written)

    def _methods_here(self) -> str:
        """The method whose options `names` are."""
        words = self.help_command.split()
        return words[1] if len(words) > 1 else "this method"

    def _said(self, what: str, fix: str) -> UserError:
        return UserError(what, where=self.where, fix=fix)


class KnownOptions:
    """A config class whose constructor answers names that are no options as the command line does."""

    def __new__(cls, *args: Any, **given: Any) -> Self:
        names = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]
        strange = [name for name in given if name not in names]
        for name in strange and not_taken(cls.__init__, strange):
            method = cls.__name__.removesuffix("Config").lower()
            help_command = f"burnish {method} --help-all" if method in METHODS else f"help({cls.__name__})"
            raise UnknownKey(name, cls.__name__, names, help_command, given[name], calls=True).error()
        return super().__new__(cls)


def not_taken(function: Any, names: Sequence[str]) -> list[str]:
    """Those of `names` that are no arguments of a function."""
    taken = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return []
    return [name for name in names if name not in taken]


def methods_with(name: str) -> list[str]:
    """The methods that have an option."""
    return [method.name for method in METHODS.values() if name in method.fields()]


def plain(value: Any) -> Any:
    """The text of a scalar as what it says: a number, true or false."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False}
    if value.lower() in words:
        return words[value.lower()]
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            pass
    return value


def yaml_text(value: Any) -> str:
    return f"[{', '.join(map(spell, value))}]" if isinstance(value, list) else spell(value)
