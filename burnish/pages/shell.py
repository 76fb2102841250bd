"""A page from its template: one HTML file with everything in it.

A template is a Jinja file that extends `shell.html`, which brings the head, the style and the landmarks; what
several pages show is in `parts.html`.
Pages have no scripts, and their content security policy allows none. Every value is escaped, so a row
that holds markup shows as text; characters that could not be seen are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from burnish import units
from burnish.errors import UserError

FOLDER = Path(__file__).parent


UNSEEN = [
    *(0x00AD, 0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0x2060, 0xFEFF, 0xFFFE, 0xFFFF),
    *range(0x80, 0xA0),  # control characters
    *range(0x202A, 0x202F),  # direction of writing
    *range(0x2066, 0x206A),  # the same, as isolates
    *range(0xD800, 0xE000),  # halves of surrogate pairs, which no file can hold
    *range(0xE0000, 0xE0080),  # tags, in which whole sentences have been hidden
]
VISIBLE = (
    {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}  # pictures: ␀, ␍
    | {0x7F: "␡"}
    | {code: f"⟨U+{code:04X}⟩" for code in UNSEEN}
)
"""For `str.translate`: characters without a shape of their own become visible ones.

Line breaks and tabs stay, and so do the joiners that emoji and several scripts are written with.
"""


def visible(value: Any) -> Any:
    """A value as a page shows it, by `VISIBLE`. Anything but text stays as it is."""
    return value.translate(VISIBLE) if isinstance(value, str) else value


def number(value: int) -> str:
    """12345 as `12,345`."""
    return f"{value:,}"


def code(text: str) -> Markup:
    """Text whose parts between backticks are code."""
    parts = enumerate(re.split("`([^`]+)`", text))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in parts)


def render(template: Path, values: Mapping[str, Any]) -> str:
    """The text of a page. `template` may extend `shell.html`; a name it uses must be among `values`."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": units.share, "code": code}
    environment.globals |= {
        "counted": units.counted,
        "style": Markup((FOLDER / "style.css").read_text("utf-8")),
    }
    return environment.get_template(template.name).render(values)


def write(page: str, path: str | Path) -> Path:
    """Write a page, with the folders above it. Raises `UserError` where that cannot be done."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"the page cannot be written: {error.strerror}", where=str(path), fix="give a path to a file"
        ) from error
    return path
