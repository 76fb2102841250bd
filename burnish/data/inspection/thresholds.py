"""How much of what is too much: `faults>0,duplicates>5%`, for a check in continuous integration."""

from __future__ import annotations

import re
from dataclasses import dataclass

from burnish.data.inspection.checks import CHECKS
from burnish.data.inspection.inspect import SEVERITIES
from burnish.data.inspection.inspection import Inspection
from burnish.errors import UserError, nearest, shorten

FORM = re.compile(r"\s*(?P<name>[^<>=%]+?)\s*>\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<percent>%?)\s*")
SHARES = ("chosen longer", "equally long", "label true", "steps right")


@dataclass(frozen=True)
class Threshold:
    """More rows than `limit` (percent of all, where `percent`) with a finding of this name are too many."""

    name: str  # a severity, a check, or a share
    limit: float
    percent: bool

    def passed(self, inspection: Inspection) -> str:
        """What was found, where it is more than the limit; else nothing."""
        if self.name in SHARES:
            found = 100 * inspection.shares.get(self.name, 0.0)
            return f"{self.name} is {found:.1f} %, more than {self}" if found > self.limit else ""
        rows = {
            row
            for finding in inspection.findings
            if self.name in (finding.check, finding.severity)
            for row in finding.rows
        }
        found = 100 * len(rows) / inspection.read if self.percent else len(rows)
        what = f"{self.name}: {found:.3g} % of rows" if self.percent else f"{self.name}: {found} rows"
        return f"{what}, more than {self}" if found > self.limit else ""

    def __str__(self) -> str:
        return f"{self.limit:g}{' %' * self.percent}"


def parse_thresholds(text: str) -> list[Threshold]:
    """`faults>0,duplicates>5%`. Names are severities, checks or shares, plural or not. Raises `UserError`."""
    return [_parse(part) for part in text.split(",") if part.strip()]


def _parse(text: str) -> Threshold:
    match = FORM.fullmatch(text)
    if match is None:
        raise UserError(
            f"expected name>limit, found {shorten(text)}",
            where="--fail_on",
            fix='write --fail_on "faults>0,duplicates>5%"',
        )
    name, percent = _known(match["name"]), bool(match["percent"])
    if name in SHARES and not percent:
        raise UserError(f"{name} is a share", where="--fail_on", fix=f'write "{name}>65%"')
    return Threshold(name, float(match["limit"]), percent)


def _known(given: str) -> str:
    """The name that is meant: `near_duplicates` is `near duplicate`."""
    names = [*SEVERITIES, *(check.name for check in CHECKS), *SHARES]
    spelled = {_plain(name): name for name in names}
    if _plain(given) in spelled:
        return spelled[_plain(given)]
    raise UserError(
        f"there is no check '{given}'.{nearest(_plain(given), spelled)}",
        where="--fail_on",
        fix=f"use one of {', '.join(names)}",
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ").removesuffix("s")
