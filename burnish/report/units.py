"""Numbers with their units, as a person reads them."""

from __future__ import annotations

import math

SPACE = "\u00a0"  # a number and its unit stay on one line
MINUS = "\u2212"


def size(count: float | None) -> str:
    """Bytes: `1.4 GB` (of 2^30), `310 MB`."""
    if count is None:
        return "–"
    for limit, unit in ((2**40, "TB"), (2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if abs(count) >= limit * 0.9995:
            return f"{significant(count / limit)}{SPACE}{unit}"
    return f"{count:.0f}{SPACE}B"


def duration(seconds: float | None) -> str:
    """`8.4 s`, `7 min 22 s`, `3 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.{0 if seconds >= 9.95 else 1}f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min" + (f" {rest}{SPACE}s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}{SPACE}h" + (f" {minutes:02d}{SPACE}min" if minutes else "")


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits, without an exponent: `0.0899`, `12.3`, `1,234`."""
    if not value:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    if power >= digits - 1:
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{value:.{digits - 1 - power}f}".replace("-", MINUS)


def value_of(value: float | None) -> str:
    """A metric: three significant digits, and small ones as `2.00e−5`."""
    if value is None:
        return "–"
    if value and abs(value) < 1e-3:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", MINUS)
    return significant(value)


def share(value: float | None) -> str:
    """A share of 1: `84 %`, `0.4 %`, `99.6 %`."""
    if value is None:
        return "–"
    hundred = 100 * value
    near = 0 < hundred < 9.95 or 90.05 < hundred < 100
    return f"{hundred:.{1 if near and hundred != round(hundred) else 0}f}{SPACE}%"


def signed(text: str, value: float) -> str:
    """With a plus where it is above zero."""
    return f"+{text}" if value > 0 else text


def moment(text: str) -> str:
    """An ISO time as `25 Nov 2026, 08:12 UTC`; any other text as it is."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    found = found.astimezone(UTC) if found.tzinfo else found
    return f"{found.day} {found:%b %Y, %H:%M} UTC"
