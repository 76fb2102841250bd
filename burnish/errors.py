"""Errors a person can act on.

`UserError` is raised when the input is at fault: a file, a row, a column, a key. Its message says
what, where, what was found, and how to mend it; the command line prints it without a traceback and
exits with code 2. It is a `ValueError`, so code that catches those keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec

from burnish.secrets import hidden

LONGEST_SECRET = 1000
"""Characters of a text, beyond those shown, in which a secret that begins in these is looked for."""


class UserError(ValueError):
    """The input is at fault. `where` (file, row, column, key) comes first in the message, `fix` last.

    `reason` names the kind of fault without the value found, so that equal ones can be counted.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", reason: str = "") -> None:
        self.what, self.where, self.fix, self.reason = what, where, fix, reason or what
        super().__init__("".join([f"{where}: " if where else "", what, f"\n  fix: {fix}" if fix else ""]))

    def at(self, place: str) -> UserError:
        """The same error, with a place before its own."""
        where = ", ".join(filter(None, [place, self.where]))
        return UserError(self.what, where=where, fix=self.fix, reason=self.reason)


def nearest(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the closest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def shorten(value: object, limit: int = 80) -> str:
    """The `repr` of a value without secrets, cut to `limit` characters, for messages."""
    text = hidden(repr(value)[: limit + LONGEST_SECRET])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def require_package(module: str, extra: str, need: str, *, where: str = "") -> None:
    """Refuse what takes a package that is not installed; `extra` is what brings it."""
    if find_spec(module) is None:
        raise UserError(
            f"{need} needs the package {module}, which is not installed",
            where=where,
            fix=f'pip install "burnish[{extra}]"',
        )
