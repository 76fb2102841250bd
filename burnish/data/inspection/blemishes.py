"""Blemishes of texts that can be mended without knowing what they mean: found, and mended.

HTML entities       `Fish &amp; chips&nbsp;` was meant as `Fish & chips`; code in backticks stays
carriage returns    and blanks at the ends of a text, beyond the one space or line break often left there
invisible           zero-width and no-break characters, which give other tokens than what one sees
"""

from __future__ import annotations

import html
import re
from html.entities import html5

CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.S)
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")

ZERO_WIDTH = "\u200b\u2060\ufeff\u00ad"
DIRECTIONS = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
INVISIBLE = re.compile(f"[{ZERO_WIDTH}{DIRECTIONS}]")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufefc]")
NO_BREAK = re.compile(r"(?<![«\d])[\u00a0\u202f](?![:;!?»%€\d])")
"""No-break spaces, but those that French sets before `:;!?»%` and between the digits of a number."""

MAX_PADDING = 1


def entities(text: str) -> list[str]:
    """The HTML entities outside of code, decoded once by whoever reads them in a browser."""
    if "&" not in text:
        return []
    return [
        found
        for outside in CODE.split(text)[::2]
        for found in ENTITY.findall(outside)
        if found[1] == "#" or found[1:] in html5
    ]


def padding(text: str, first: bool = True, last: bool = True) -> list[str]:
    """Carriage returns, and blanks at the ends. `first`, `last`: whether these ends join nothing."""
    found = ["carriage returns"] if "\r" in text else []
    core = text.strip()
    if not core:
        return found
    before, after = text[: text.index(core[0])], text[len(text.rstrip()) :]
    found += [f"{shown(before)} before it"] if first and len(before) > MAX_PADDING else []
    return found + ([f"{shown(after)} after it"] if last and len(after) > MAX_PADDING else [])


def invisible(text: str) -> list[str]:
    """Characters one does not see, by code point."""
    if text.isascii():
        return []
    found = NO_BREAK.findall(text) + INVISIBLE.findall(text)
    if RIGHT_TO_LEFT.search(text):  # marks of direction have their use there
        found = [c for c in found if c in ZERO_WIDTH + "\u00a0\u202f"]
    return [f"U+{ord(character):04X}" for character in dict.fromkeys(found)]


def shown(blanks: str) -> str:
    return repr(blanks) if len(blanks) <= 12 else f"{len(blanks)} blanks"


def mended(text: str, first: bool = True, last: bool = True) -> str:
    """The text without blemishes. `first`, `last`: whether these ends join nothing."""
    while entities(text):  # `&amp;nbsp;` was encoded twice
        parts = CODE.split(text)
        parts[::2] = [ENTITY.sub(lambda match: html.unescape(match[0]), part) for part in parts[::2]]
        text = "".join(parts)
    if invisible(text):
        hidden = f"[{ZERO_WIDTH}]" if RIGHT_TO_LEFT.search(text) else INVISIBLE
        text = re.sub(hidden, "", NO_BREAK.sub(" ", text))
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    if not padding(text, first, last):
        return text
    return (text.lstrip() if first else text).rstrip() if last else text.lstrip()
