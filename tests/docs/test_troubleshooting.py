"""The messages that docs/troubleshooting.md explains are those that the code writes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def messages() -> list[str]:
    """What is in backticks in the first cells of tables, where it is a sentence: no option, no file."""
    cells = [
        line.split("|")[1] for line in DOCUMENT.replace("\\|", "¦").splitlines() if line.startswith("| `")
    ]
    found = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    return [text for text in found if " " in text and ":" not in text.split(" ")[0]]


@cache
def written() -> str:
    """All source, with the literals that Python puts together put together."""
    sources = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "burnish").rglob("*.py")))
    return re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(sources))


def test_there_are_messages():
    assert len(messages()) > 20


@pytest.mark.parametrize("message", messages())
def test_a_message_is_written_somewhere(message: str):
    pattern = r"[^\n]{1,80}?".join(map(re.escape, message.split("...")))
    assert re.search(pattern, written())
