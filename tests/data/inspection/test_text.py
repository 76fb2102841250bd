"""What is printed: at any width nothing is lost, and the trained text can be told without colour."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from burnish.data.inspection.inspect import inspect
from burnish.data.inspection.inspection import Lengths
from burnish.data.inspection.text import show, sparkline
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.source import load_rows
from tests.data.chats import byte_tokenizer
from tests.data.inspection.rows import COLUMNS, planted


def printed(rows, width=80, terminal=False, tokenizer=None, columns=None, **options):
    inspection = inspect(
        load_rows(rows, columns=columns), PreparationOptions(), tokenizer=tokenizer, **options
    )
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else None
    )
    show(inspection, console, "burnish inspect DATA")
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_finding_is_shown_within_the_width(width, tmp_path):
    rows, named = planted()
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = printed(str(tmp_path / "pairs.jsonl"), width, columns=COLUMNS)
    assert max(map(len, text.splitlines())) <= width
    words = set(text.replace(",", " ").split())
    for name, ids in named.items():
        assert set(name.replace(",", " ").split()) <= words and ids <= words
    assert f"burnish inspect DATA {WHAT_NEXT}" in text


WHAT_NEXT = "--fix clean.jsonl"


def test_rows_in_order_are_said_to_be():
    text = printed([{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(3)])
    assert "Nothing is wrong with these rows." in text and "--fix" not in text


PAIR = [{"prompt": "is it? ", "chosen": "yes, it is", "rejected": "no"}]


def test_pairs_stand_side_by_side_with_what_is_trained_marked():
    text = printed(PAIR, tokenizer=byte_tokenizer(), show=1)
    line = next(line for line in text.splitlines() if "yes, it is" in line)
    assert "⟦ yes, it is</s>⟧" in line and "⟦ no</s>⟧" in line


def test_a_terminal_shows_it_in_colour():
    text = printed(PAIR, terminal=True, tokenizer=byte_tokenizer(), show=1)
    assert "\x1b[32m yes, it is</s>" in text and "⟦" not in text


def test_bars_have_the_height_of_their_bins():
    bins = [(0, 10, 9), (10, 20, 0), (20, 30, 1), (30, 40, 4), (40, 900, 7)]
    lengths = Lengths("tokens", {"0.99": 39}, bins)
    assert sparkline(lengths, 12) == "█ ▁▄"
    assert sparkline(lengths, 2) == "█▅"
