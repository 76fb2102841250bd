"""What becomes of values on a page: escaped, made visible, put into words."""

from __future__ import annotations

import pytest

from burnish.errors import UserError
from burnish.pages.shell import code, number, render, visible, write

SPACE = "\u00a0"


@pytest.fixture
def template(tmp_path):
    def made(body: str):
        path = tmp_path / "page.html"
        path.write_text('{% extends "shell.html" %}{% block main %}' + body + "{% endblock %}", "utf-8")
        return path

    return made


def test_every_value_is_escaped(template):
    page = render(template("<p title='{{ it }}'>{{ it }}</p>"), {"it": "</p><script>'\"", "sections": []})
    escaped = "&lt;/p&gt;&lt;script&gt;&#39;&#34;"
    assert f"<p title='{escaped}'>{escaped}</p>" in page


def test_the_page_allows_no_scripts_and_loads_nothing(template):
    page = render(template(""), {"sections": []})
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert "<script" not in page and "url(" not in page and "@import" not in page and "<link" not in page


def test_a_name_that_is_missing_is_an_error(template):
    with pytest.raises(Exception, match="'it' is undefined"):
        render(template("{{ it }}"), {"sections": []})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ttwo\n", "one\ttwo\n"),
        ("\x00\r\x1b\x7f", "␀␍␛␡"),
        ("a\u200bb\ufeff", "a⟨U+200B⟩b⟨U+FEFF⟩"),
        ("\u202egnp.exe", "⟨U+202E⟩gnp.exe"),
        ("half \ud83d", "half ⟨U+D83D⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),  # joiners belong to how these are written
        (7, 7),
    ],
)
def test_what_cannot_be_seen_is_named(text, shown):
    assert visible(text) == shown


def test_numbers():
    assert number(1234567) == "1,234,567"


def test_code_between_backticks():
    assert code("run `a <b>` now") == "run <code>a &lt;b&gt;</code> now"
    assert code("a lone ` stays <") == "a lone ` stays &lt;"


def test_a_page_that_cannot_be_written_says_why(tmp_path):
    with pytest.raises(UserError, match=r"the page cannot be written: Is a directory"):
        write("", tmp_path)
    assert write("é", tmp_path / "new" / "page.html").read_bytes() == "é".encode()
