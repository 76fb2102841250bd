"""The bar: when it speaks, and its parts by value."""

import io
import time

import pytest
from rich.console import Console

from burnish import progress
from burnish.progress import Bar, gauge, line, own_bars


def console(width: int, encoding: str = "utf-8") -> Console:
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), width=width, force_terminal=True)


def test_a_gauge_moves_by_half_characters():
    assert [gauge(share, 4, console(80)).plain for share in (0, 0.375, 1, 2)] == [
        "────",
        "━╸──",
        "━━━━",
        "━━━━",
    ]
    assert gauge(0.375, 4, console(80, "ascii")).plain == "=>.."


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_line_is_never_wider_than_the_terminal(width):
    shown = line(
        "Preparing a-file-with-a-name.jsonl", 3, 10, ["3/10 rows", "0:07 left"], console(width)
    ).plain
    assert len(shown) < width
    assert ("3/10 rows  0:07 left" in shown) == (width >= 80)


def test_without_a_terminal_a_bar_says_how_far_it_is_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with Bar("Scoring", 100, "rows") as bar:
        for _ in range(10):
            bar.update(4)
            now[0] += 7.0
    said = capsys.readouterr().err.splitlines()
    assert said == ["Scoring  24/100 rows  1:51 left"]


def test_what_is_not_shown_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "REPORT", 0.0)
    with Bar("Scoring", 2, shown=False) as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")


def test_bars_of_transformers_are_ours_for_a_while(capfd):
    from transformers.utils import logging

    with own_bars():
        assert list(logging.tqdm([1, 2], desc="Loading")) == [1, 2]
        with logging.tqdm(total=3, desc="Writing") as bar:
            bar.set_postfix(a=1)
            bar.update(3)
        assert bar.n == 3
    assert capfd.readouterr() == ("", "")
    assert not isinstance(logging.tqdm([1], disable=True), Bar)
