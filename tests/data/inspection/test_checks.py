"""The checks one by one, on rows that have what they look for and on rows that come near it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from burnish.data.inspection import blemishes
from burnish.data.inspection.checks import CHECKS, Outliers, Setting, stray_columns
from burnish.data.inspection.duplicates import candidates, signatures
from burnish.data.inspection.inspect import inspect
from burnish.data.inspection.lengths import lengths_of
from burnish.data.inspection.roles import wrong_order
from burnish.data.inspection.seen import Seen
from burnish.data.inspection.words import Words, jaccard, runs
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.source import load_rows
from tests.data.chats import assistant, system, user

DOCUMENT = Path(__file__).parents[3] / "docs" / "inspect.md"


def found(rows):
    inspection = inspect(load_rows(rows), PreparationOptions())
    return {finding.check: finding.rows for finding in inspection.findings}


@pytest.mark.parametrize(
    ("text", "entities", "better"),
    [
        ("Fish &amp; chips&nbsp;", ["&amp;", "&nbsp;"], "Fish & chips\xa0"),
        ("it&#39;s &#x27;so&#x27;", ["&#39;", "&#x27;", "&#x27;"], "it's 'so'"),
        ("twice &amp;lt;", ["&amp;"], "twice <"),
        ("in code `a &amp; b` and\n```html\n&lt;p&gt;\n```", [], None),
        ("R&D; AT&T &co; a && b; x&y;", [], None),
    ],
)
def test_html_entities(text, entities, better):
    assert blemishes.entities(text) == entities
    assert blemishes.mended(text, last=False).replace("\xa0", " ") == (better or text).replace("\xa0", " ")


@pytest.mark.parametrize("text", [" one blank", "a line end\n", "in\n\nside", "a  b", ""])
def test_one_blank_at_an_end_is_no_padding(text):
    assert blemishes.padding(text) == []


@pytest.mark.parametrize("text", ["a\r\nb", "  two", "two\n\n", " \ta"])
def test_padding(text):
    assert blemishes.padding(text)
    assert not blemishes.padding(blemishes.mended(text))


def test_ends_that_join_something_are_no_padding():
    assert blemishes.padding("Question:\n\n", last=False) == []
    assert blemishes.padding("  answer", first=False) == []
    assert blemishes.mended("Question:\r\n\r\n", last=False) == "Question:\n\n"


@pytest.mark.parametrize(
    "text", ["Quoi\u00a0?", "«\u00a0oui\u00a0»", "10\u00a0000", "👩\u200d🚀", "می\u200cخواهم", "שלום\u200f"]
)
def test_characters_that_writing_needs_are_left(text):
    assert blemishes.invisible(text) == [] and blemishes.mended(text) == text


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("\u200bfirst", "first"),
        ("no\u00a0break", "no break"),
        ("\ufeffa", "a"),
        ("so\u00adft", "soft"),
        ("\u202ea", "a"),
    ],
)
def test_invisible_characters(text, better):
    assert blemishes.invisible(text) and blemishes.mended(text) == better


@pytest.mark.parametrize(
    "roles",
    [
        "user assistant",
        "system user assistant user assistant",
        "user assistant tool tool assistant",
        "user critic assistant",
    ],
)
def test_orders_that_are_right(roles):
    assert wrong_order([{"role": role} for role in roles.split()]) == ""


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        ("assistant user assistant", "turn 0 is assistant, after nothing"),
        ("user user assistant", "turn 1 is user, after user"),
        ("user assistant assistant", "turn 2 is assistant, after assistant"),
        ("user system assistant", "turn 1 is system, after the first turn"),
        ("user tool assistant", "turn 1 is tool, after user"),
        ("user assistant user", "the last turn is user"),
        ("system", "no turns"),
    ],
)
def test_orders_that_are_wrong(roles, what):
    assert wrong_order([{"role": role} for role in roles.split()]) == what


def test_a_prompt_to_be_answered_ends_with_the_user():
    assert found([{"prompt": [user("hi")]}]) == {}
    assert found([{"prompt": [user("hi"), user("you")]}]) == {"role order": [0]}


def test_turns_without_text():
    rows = [
        {"messages": [user(""), assistant("a")]},
        {"messages": [user(" \u200b"), assistant("b")]},
        {"messages": [user("c"), assistant("d"), user("e"), assistant("f")]},
        {"messages": [system("g"), user("h"), assistant("")]},
    ]
    assert found(rows) == {
        "empty completion": [3],
        "empty turn": [0],
        "blank turn": [1],
        "invisible characters": [1],
    }


def test_contradictions_name_the_side_with_fewer_rows():
    rows = [{"prompt": "p", "chosen": a, "rejected": b} for a, b in [("x", "y"), ("X ", "y"), ("y", "x")]]
    assert found(rows)["contradiction"] == [2]
    assert found(rows[1:])["contradiction"] == [0, 1]
    assert "contradiction" not in found(rows[:2])


def test_an_answer_called_both_good_and_bad_is_a_contradiction():
    rows = [{"prompt": "p", "completion": "x", "label": label} for label in (True, False)]
    assert found(rows)["contradiction"] == [0, 1]
    assert "same example again" not in found(rows)


def test_duplicates_are_of_the_whole_row_and_the_same_example_of_its_texts():
    rows = [
        {"prompt": "a b", "completion": "c", "source": 1},
        {"prompt": "A  b", "completion": "c", "source": 1},
        {"prompt": "a b", "completion": "c", "source": 2},
        {"prompt": "a b", "completion": "d", "source": 1},
    ]
    assert found(rows) == {"duplicate": [1], "same example again": [2]}


WORDS = [f"w{i}" for i in range(60)]


def test_near_duplicates_share_most_of_every_text():
    base = " ".join(WORDS)
    near, far = base.replace("w30", "other"), " ".join(reversed(WORDS))
    pairs = [(base, "yes"), (near, "yes"), (base, "no"), (far, "yes")]
    assert found([{"prompt": p, "completion": c} for p, c in pairs]) == {"near duplicate": [1]}


def test_minhash_finds_what_is_alike_and_jaccard_is_exact():
    words = Words()
    rng = np.random.default_rng(0)
    sets = []
    for _ in range(200):
        text = [f"v{n}" for n in rng.integers(0, 50_000, 100)]
        sets += [runs(words.learn(" ".join(text)), 3), runs(words.learn(" ".join([*text[:-4], "x", "y"])), 3)]
    true = {(i + 1, i) for i in range(0, 400, 2)}
    assert min(jaccard(sets[a], sets[b]) for a, b in true) > 0.9
    assert true <= set(candidates(signatures(sets)))
    assert jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64)) == 0.5


def test_runs_of_words_by_value():
    words = Words()
    five = words.learn("a b c a b")
    assert len(runs(five, 2)) == 3  # ab, bc, ca
    assert set(runs(words.look_up("b c"), 2, known=True)) < set(runs(five, 2))
    assert len(runs(words.look_up("a b new b c"), 2, known=True)) == 2  # ab, bc
    assert len(runs(words.look_up("a"), 2, known=True)) == 0


@pytest.mark.parametrize(("rows", "expected"), [(19, {}), (40, {1})])
def test_outliers_are_measured_by_the_others(rows, expected):
    lengths = {1: 2001} if rows < 20 else {1: 2001, 2: 2000, 3: 200, 4: 200}
    outliers = Outliers()
    for number in range(rows):
        text = "x" * lengths.get(number, 10)
        seen = Seen(number, {})
        seen.__dict__["pieces"] = [type("Piece", (), {"place": "chosen", "text": text})]
        outliers.add(seen)
    assert set(outliers.found()) == set(expected)


def test_stray_columns_are_few_and_not_read():
    shares = {"prompt": 0.01, "note": 0.05, "more": 0.06, "never": 0.0}
    assert stray_columns(shares, ["prompt"]) == ["note"]


def test_quantiles_and_bins_by_value():
    lengths = lengths_of([*range(1, 101), 5000], "tokens")
    assert lengths is not None
    assert lengths.quantiles == {
        "0": 1,
        "0.1": 11,
        "0.25": 26,
        "0.5": 51,
        "0.75": 76,
        "0.9": 91,
        "0.99": 100,
        "1": 5000,
    }
    assert sum(rows for _, _, rows in lengths.bins) == 101
    assert lengths.bins[0] == (0, 5, 4) and lengths.bins[-1][1:] == (5001, 1)
    assert all(a[1] == b[0] for a, b in zip(lengths.bins[:-1], lengths.bins[1:], strict=True))
    assert lengths_of([], "tokens") is None


def test_the_document_has_every_check_with_its_meaning():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert rows[2:] == [(check.name, check.severity, check.meaning, CURES[check.cure]) for check in CHECKS]


CURES = {"quarantine": "left out", "mend": "mended", "keep": "kept"}


def test_checks_have_names_of_their_own_and_can_be_made():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS if check.make(Setting()) is None] == [
        "in the evaluation",
        "13-gram of the evaluation",
        "stop token not trained",
        "plain text for a chat model",
        "content not read",
    ]
