"""Numbers as a person reads them: bytes, durations, shares, counts. One function each, used everywhere.

Gigabytes are of 10^9 bytes, as data sheets of accelerators and disks have them. A share that is neither none
nor all is never shown as 0 % or 100 %. What is not known is a dash.
"""

from __future__ import annotations

import math

UNKNOWN = "–"
MINUS = "\N{MINUS SIGN}"


def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def size(count: float | None) -> str:
    """Bytes: `1.40 GB`, `310 MB`, three significant digits."""
    if count is None or not _known(count):
        return UNKNOWN
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(count) >= limit * 0.9995:
            return f"{significant(count / limit)} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float | None) -> str:
    """`8.4 s`, `7 min 22 s`, `3 h 05 min`, `2 d 4 h`."""
    if seconds is None or not _known(seconds):
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes:02d} min" if minutes else "")
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def clock(seconds: float) -> str:
    """Time left or passed beside a bar, always equally wide: `0:07`, `12:40`, `3:05:00`, `2 d 4:00`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24}:{minute:02}"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def share(value: float | None, decimals: int = 1) -> str:
    """A share of 1 in percent: `84 %`, `52.3 %`, `<0.1 %`, `>99.9 %`."""
    if value is None or not _known(value):
        return UNKNOWN
    return f"{percent(value, decimals)} %"


def share_range(low: float | None, high: float | None) -> str:
    """The two ends of an interval of shares: `46.2 to 58.4 %`."""
    if low is None or high is None or not (_known(low) and _known(high)):
        return UNKNOWN
    return f"{percent(low)} to {share(high)}"


def percent(value: float, decimals: int = 1) -> str:
    """The number of a share of 1 in percent, without its sign."""
    hundred, least = 100 * value, 10.0**-decimals
    if 0 < hundred < least:
        return f"<{least:.{decimals}f}"
    if 100 - least < hundred < 100:
        return f">{100 - least:.{decimals}f}"
    text = f"{hundred:.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if decimals else text).replace("-", MINUS)


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits, without an exponent: `0.0899`, `12.3`, `1,234`."""
    if not value:
        return "0"
    power = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 0.99996 is 1.00
    text = f"{value:,.0f}" if power >= digits - 1 else f"{value:.{digits - 1 - power}f}"
    return text.replace("-", MINUS)


def metric(value: float | None) -> str:
    """The value of a metric: three significant digits, and small ones as `2.00e−5`."""
    if value is None or not _known(value):
        return UNKNOWN
    if value and abs(value) < 1e-3:
        return f"{value:.2e}".replace("e-0", "e-").replace("-", MINUS)
    return significant(value)


def count(number: float) -> str:
    """Parameters and the like: `1.54B`, `134.5M`, `12,345`."""
    if number >= 1e9:
        return f"{number / 1e9:.2f}B"
    return f"{number / 1e6:.1f}M" if number >= 1e5 else f"{number:,}"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 row`, `1,200 rows`; `nouns` where the plural is not made with an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


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
