"""What is wrong with a page is noticed: the checks of `tests/browser.py`, on pages that are wrong."""

from __future__ import annotations

import pytest

from tests.browser import Visits, accessibility_faults, contrast_faults, heading_levels, too_wide

SHELL = "<!doctype html><html lang=en><title>t</title><main><h1>Title</h1>{}</main></html>"


@pytest.fixture
def visits(chromium):
    return Visits(chromium)


@pytest.fixture
def opened(visits, tmp_path):
    def made(body: str, **how):
        path = tmp_path / "page.html"
        path.write_text(SHELL.format(body), encoding="utf-8")
        return visits.open(path, **how)

    return made


def test_a_good_page_has_no_complaints(visits, opened):
    page = opened("<p>Text</p><a href='#x'>Link</a>")
    page.locator("a").click()
    assert (visits.complaints, visits.requests) == ([], [])
    assert contrast_faults(page) == too_wide(page) == accessibility_faults(page) == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("console.warn('careful')", "warning: careful"),
        ("console.log('hello')", "log: hello"),
        ("throw new Error('broken')", "error: broken"),
        ("alert('stop')", "dialog"),
    ],
)
def test_scripts_that_complain(visits, opened, script, complaint):
    opened(f"<script>{script}</script>").wait_for_timeout(50)
    assert visits.complaints == [complaint]


@pytest.mark.parametrize(
    ("markup", "address"),
    [
        ("<img alt='' src='http://example.org/a.png'>", "http://example.org/a.png"),
        ("<style>main { background: url(https://example.org/b.png) }</style>", "https://example.org/b.png"),
        ("<script>fetch('https://example.org/c').catch(() => 0)</script>", "https://example.org/c"),
    ],
)
def test_requests_that_leave(visits, opened, markup, address):
    opened(markup).wait_for_timeout(50)
    assert visits.requests == [address]


def test_files_beside_the_page_count_too(visits, opened):
    opened("<img alt='' src='beside.png'>").wait_for_timeout(50)
    assert [request.rsplit("/", 1)[1] for request in visits.requests] == ["beside.png"]


def test_pale_text_and_pale_shapes(opened):
    page = opened(
        "<p style='color: #999'>pale</p>"
        "<div style='background: rgb(0 0 0 / .9)'><p style='color: #333'>dark</p></div>"
        "<svg width=9 height=9><text fill='#aaa'>svg</text><rect data-shape=bar fill='#ddd'/></svg>"
    )
    assert [fault.split()[-1] for fault in contrast_faults(page)] == ["pale", "dark", "svg", "bar"]


def test_contrast_by_value(opened):
    """#767676 on white is the palest gray that WCAG's AA allows, 4.54 to 1; #777777 is 4.48."""
    page = opened("<p style='color: #767676'>enough</p><p style='color: #777'>short</p>")
    assert contrast_faults(page) == ["4.48 P.null short"]


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<p>fits</p><div style='overflow: auto'><pre>{word}</pre></div>", []),
        ("<pre>{word}</pre>", ["scrolls"]),
        ("<p style='width: 900px'>a</p>", ["scrolls", "<p"]),
        ("<div style='width: 900px; position: fixed'>a</div>", ["<div"]),
    ],
)
def test_what_reaches_past_the_window(opened, markup, found):
    page = opened(markup.format(word="x" * 200), width=390)
    assert [each.split()[0] for each in too_wide(page)] == found


def test_accessibility_faults(opened):
    faults = accessibility_faults(opened("<img src='data:,'><button></button>"))
    assert {fault.split(":")[0] for fault in faults} == {"image-alt", "button-name"}


def test_levels_of_headings(opened):
    assert heading_levels(opened("<h3>a</h3><h2>b</h2>")) == [1, 3, 2]
