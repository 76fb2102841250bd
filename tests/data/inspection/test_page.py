"""The page of an inspection, as numbers and words, and as a browser shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise

import pytest

from burnish.data.inspection.inspection import Finding, Fit, Inspection, Lengths, ShownRow
from burnish.data.inspection.page import (
    LISTED_ROWS,
    SHARES,
    listed,
    page_values,
    row_names,
    runs,
    verdict,
    write_page,
)
from burnish.pages.shell import visible
from tests.browser import accessibility_faults, contrast_faults, heading_levels, too_wide
from tests.data.inspection.rows import COLUMNS, planted
from tests.data.inspection.sample import sample

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
HOSTILE = (
    "</script></style></title></details><script>window.hit = 1</script>"
    "<img src=x onerror='hit = 1'>\"'&lt;{{ 7 }}"
)


@pytest.fixture
def page_file(tmp_path):
    return write_page(sample(), tmp_path / "page.html")


# What it says


def empty(**given) -> Inspection:
    return Inspection(
        source="rows.jsonl", family="sft", format="messages", **({"read": 0, "kept": 0} | given)
    )


def fault(*rows: int) -> Finding:
    return Finding("broken", "fault", list(rows), [], "", "")


@pytest.mark.parametrize(
    ("inspection", "text", "kind"),
    [
        (empty(), "There are no rows.", "fault"),
        (empty(read=1, kept=1), "Every one of 1 row would be trained.", "good"),
        (empty(read=5000, kept=4999), "4,999 of 5,000 rows would be trained.", "dropped"),
        (empty(read=3, kept=0), "0 of 3 rows would be trained.", "fault"),
        (
            empty(read=9, kept=7, findings=[fault(1, 2), fault(2)]),
            "A run would stop: 2 rows cannot be read. Without them 7 of 9 rows would be trained.",
            "fault",
        ),
    ],
)
def test_the_verdict(inspection, text, kind):
    assert verdict(inspection).text == text
    assert verdict(inspection).kind == kind


def test_every_row_read_is_in_one_part_of_the_headline():
    parts = {part.name: part.value for part in page_values(sample())["row_parts"]}
    assert parts == {"trained": 590, "left out": 33, "cannot be read": 3}


def test_findings_by_severity_then_by_count():
    found = [
        (group.severity, [each.check for each in group.findings]) for group in page_values(sample())["groups"]
    ]
    assert found == [
        ("fault", ["rejected is null"]),
        ("dropped", ["empty completion", "chosen equals rejected"]),
        ("warning", ["duplicate row"]),
        ("note", ["prompt seen before"]),
    ]


def test_rows_are_listed_once_with_what_was_found_in_the_first():
    made = listed(Finding("x", "fault", [4, 9, 10], ["a", "b", "c"], "", "", found=["None"]))
    assert made.found == [(4, "a", "None")]
    assert made.others == ["9 (id b)", "10 (id c)"]
    assert (made.listed, made.unlisted) == (3, 0)


def test_neighbours_without_names_are_ranges():
    assert row_names([1, 2, 5, 6, 7, 9], [""] * 6) == ["1", "2", "5–7", "9"]


def test_what_is_not_listed_is_counted():
    count = LISTED_ROWS + 7
    made = listed(Finding("x", "note", list(range(count)), [f"r{i}" for i in range(count)], "", ""))
    assert (len(made.others), made.unlisted) == (LISTED_ROWS, 7)


def test_a_trained_line_break_at_the_end_is_shown():
    assert runs([("a\n", False), ("b\n", True), ("c\nd", True)]) == [
        ("a\n", False),
        ("b↵\n", True),
        ("c\nd", True),
    ]


def test_the_line_of_max_length_is_for_whole_rows():
    marked = {chart.title: "max_length is 768" in chart.svg for chart in page_values(sample())["lengths"]}
    assert marked == {"Whole row": True, "Prompt": False, "Chosen": False, "Rejected": False}


def test_a_last_column_that_is_wider_is_told():
    bins = [(0, 10, 5), (10, 20, 7), (20, 4001, 2)]
    values = page_values(empty(read=14, kept=14, lengths={"whole": Lengths("tokens", {}, bins)}))
    assert values["lengths"][0].caption == (
        "in tokens; the highest column is 7 rows, the last one 2 rows from 20 to 4,000"
    )


def test_facts_are_those_that_are_known():
    assert page_values(sample())["facts"] == [
        ("Source", "/data/shop/customer_answers.jsonl"),
        ("Family of rows", "preference"),
        ("Tokenizer", "SmolLM2-135M-Instruct"),
        ("Compared with", "held_out.jsonl, 80 rows"),
        ("Note", "a sample of 626 rows of 5,000"),
    ]
    assert [term for term, _ in page_values(empty())["facts"]] == ["Family of rows", "Tokenizer"]


def test_without_a_model_lengths_are_characters():
    chars = Lengths("characters", {"0.5": 40}, [(0, 50, 3), (50, 100, 1)])
    values = page_values(empty(read=4, kept=4, lengths={"whole": chars}, fit=Fit(64, 4, 0, 0)))
    assert values["lengths_lead"].startswith("In characters")
    assert values["lengths"][0].caption.startswith("in characters")
    assert "max_length" not in values["lengths"][0].svg


# How it is shown


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_can_be_read(open_page, page_file, width, scheme, tmp_path):
    page = open_page(page_file, width, scheme)
    page.screenshot(path=tmp_path / f"{width}-{scheme}.png", full_page=True)
    open_all(page)
    assert too_wide(page) == []
    assert contrast_faults(page) == []
    assert accessibility_faults(page) == []
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(23, 21, 19)"
    assert dark == (scheme == "dark")


def open_all(page) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")


def test_headings_counts_and_shares_are_those_of_the_inspection(open_page, page_file):
    page, it = open_page(page_file), sample()
    assert page.title() == "customer_answers.jsonl · what will be trained"
    assert page.locator("h1").inner_text() == "customer_answers.jsonl"
    assert page.locator("main > section > h2").all_inner_texts() == [
        "Findings",
        "Lengths",
        "Trained tokens",
        "Balance",
        "Rows as they are trained",
    ]
    assert page.locator(".figures dd").all_inner_texts() == ["626", "590", "214,903", "108,412 50.4 %"]
    counts = {
        each.locator("h4").inner_text(): each.locator(".count").inner_text().split()[0]
        for each in page.locator(".finding").all()
    }
    assert counts == {finding.check: str(finding.count) for finding in it.findings}
    assert page.locator("header tbody tr").count() == len(it.columns)
    assert page.locator("#balance figcaption").all_inner_texts() == [
        "Chosen longer 71 %",
        "Equally long 1.9 %",
    ]


def test_levels_of_headings_have_no_gaps(open_page, page_file):
    levels = heading_levels(open_page(page_file))
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_link_of_the_page_leads_to_a_section(open_page, page_file):
    page = open_page(page_file)
    links = page.locator("nav a").all()
    assert [link.inner_text() for link in links] == page.locator("main > section > h2").all_inner_texts()
    for link in links:
        link.click()
        anchor = link.get_attribute("href").removeprefix("#")
        assert page.locator(f"section[id='{anchor}']").count() == 1
        assert page.url.endswith(f"#{anchor}")


def test_rows_of_a_finding_unfold_by_mouse_and_by_keyboard(open_page, page_file):
    page = open_page(page_file)
    null, empty_rows = (
        page.locator(".finding", has=page.get_by_role("heading", name=name, exact=True))
        for name in ("rejected is null", "empty completion")
    )
    assert not null.locator("table").is_visible()
    null.locator("summary").click()
    assert null.locator("tbody tr").all_inner_texts() == ["42\tq-1042\tNone", "76\tq-1076\tNone"]
    assert null.locator("ul.rows li").all_inner_texts() == ["112 (id q-1112)"]
    empty_rows.locator("summary").focus()
    page.keyboard.press("Enter")
    assert empty_rows.locator("table").is_visible()


def test_charts_say_in_words_what_they_show(open_page, page_file):
    page = open_page(page_file)
    charts = page.locator("svg:not([aria-hidden])")
    names = [chart.get_attribute("aria-label") for chart in charts.all()]
    assert page.get_by_role("img").count() == len(names) == 10
    whole = sample().lengths["whole"].quantiles
    assert names[0] == "Rows: 590 trained, 33 left out, 3 cannot be read"
    assert names[1] == "max_length 768: 561 whole, 26 cut, 3 left out"
    assert names[2] == (
        f"Whole row, length in tokens: 590 rows, half of them from {whole['0.25']} to {whole['0.75']}; "
        "max_length is 768"
    )
    assert names[-2:] == ["Chosen longer: 71 %", "Equally long: 1.9 %"]


def test_shown_rows_mark_what_is_trained(open_page, page_file):
    page = open_page(page_file)
    for shown, row in zip(page.locator("#rows article").all(), sample().shown, strict=True):
        texts = [row.prompt, *row.completions]
        assert shown.locator("h4").all_inner_texts() == ["prompt", *row.names]
        assert shown.locator(".tokens").evaluate_all("all => all.map(each => each.textContent)") == [
            "".join(text for text, _ in runs(each)) for each in texts
        ]
        assert shown.locator("mark").evaluate_all("all => all.map(each => each.textContent)") == [
            text for each in texts for text, trained in runs(each) if trained
        ]


@pytest.mark.parametrize(("width", "side_by_side"), [(390, False), (1280, True)])
def test_pairs_stand_side_by_side_where_there_is_room(open_page, page_file, width, side_by_side):
    chosen, rejected = open_page(page_file, width).locator(".completions").first.locator(".text").all()
    assert (chosen.bounding_box()["y"] == rejected.bounding_box()["y"]) == side_by_side
    assert (chosen.bounding_box()["x"] < rejected.bounding_box()["x"]) == side_by_side


def hostile(value, text):
    """A dataclass with every text in it replaced, wherever it is."""
    if is_dataclass(value):
        kept = {"unit", "severity"}
        return replace(
            value,
            **{f.name: hostile(getattr(value, f.name), text) for f in fields(value) if f.name not in kept},
        )
    if isinstance(value, dict):
        known = all(key and key[0].isdigit() for key in value)  # quantiles
        return {key if known else text: hostile(each, text) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(hostile(each, text) for each in value)
    return text if isinstance(value, str) else value


def test_markup_in_the_data_is_shown_and_does_nothing(open_page, tmp_path):
    inspection = hostile(sample(), HOSTILE)
    page = open_page(write_page(inspection, tmp_path / "page.html"))
    open_all(page)
    assert page.evaluate("() => window.hit") is None
    assert page.locator("script, img, iframe, object, link, form").count() == 0
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.title().startswith(HOSTILE)
    assert page.locator(".finding h4").first.inner_text() == HOSTILE
    assert page.locator(".finding td").first.inner_text() == HOSTILE
    assert page.locator(".tokens mark").first.evaluate("each => each.textContent") == HOSTILE
    name = page.locator("#lengths svg.histogram").first.get_attribute("aria-label")
    assert name.startswith(f"{HOSTILE}, length in tokens")
    plain = open_page(write_page(sample(), tmp_path / "plain.html"))
    assert heading_levels(page) == heading_levels(plain)
    assert too_wide(page) == []


def test_odd_unicode_is_shown(open_page, tmp_path):
    text = "\x00 \u202egnp.exe \u200b \ud800 é 👩\u200d🚀 \u2028 end"
    row = ShownRow(0, "row 0", [(text, False)], [[(text, True)]], ["completion"])
    page = open_page(write_page(empty(read=1, kept=1, shown=[row]), tmp_path / "page.html"))
    texts = page.locator(".tokens").evaluate_all("all => all.map(each => each.textContent)")
    assert texts == [visible(text)] * 2
    assert "\ud800" not in texts[0] and "⟨U+D800⟩" in texts[0]


def test_long_words_and_many_rows_stay_inside(open_page, tmp_path):
    long = "https://example.org/" + "x" * 3000
    row = ShownRow(0, long, [(long, False)], [[(long, True)], [(long * 9, True)]], ["chosen", "rejected"])
    rows = list(range(0, 9000, 2))
    wide = Finding(long[:300], "warning", rows, [long[:60] + str(r) for r in rows], long, long, [long])
    inspection = empty(
        read=10**9, kept=10**9, tokens=10**12, trained_tokens=10**11, findings=[wide], shown=[row]
    )
    path = write_page(inspection, tmp_path / "page.html")
    page = open_page(path, 390)
    open_all(page)
    assert too_wide(page) == []
    below = page.evaluate(
        "() => document.documentElement.scrollHeight - scrollY - document.body.getBoundingClientRect().bottom"
    )
    assert below < 1, "something stands below the end of the page"
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("width", WIDTHS)
def test_little_is_known_and_the_page_is_whole(open_page, tmp_path, width):
    page = open_page(write_page(empty(), tmp_path / "page.html"), width)
    assert page.locator(".verdict").inner_text() == "There are no rows."
    assert page.locator("#findings").inner_text().endswith("None of the checks found anything.")
    assert page.locator("main > section").count() == 1 == page.locator("nav a").count()
    assert accessibility_faults(page) == []


def test_it_prints_on_white_with_everything_unfolded(open_page, page_file):
    page = open_page(page_file, 800, "dark", media="print")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.locator(".finding table").first.bounding_box()["height"] > 20
    assert contrast_faults(page) == []


# From the command line, with rows of its own


@pytest.fixture(scope="module")
def inspected(tiny_model_dir, tmp_path_factory):
    """What `burnish inspect --html --json` prints of rows with planted defects, and its page."""
    folder = tmp_path_factory.mktemp("inspected")
    rows, _ = planted()
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = ",".join(f"{name}={own}" for name, own in COLUMNS.items())
    words = ["inspect", folder / "answers.jsonl", "--method", "dpo", "--model", tiny_model_dir, "--json"]
    words += ["--columns", columns, "--max_length", 300, "--html", folder / "new" / "page.html"]
    command = [sys.executable, "-m", "burnish", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "new" / "page.html"


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_a_page_of_real_rows_says_what_json_says(open_page, inspected, width, scheme):
    found, path = inspected
    page = open_page(path, width, scheme)
    assert page.locator("h1").inner_text() == "answers.jsonl"
    figures = [text.split()[0] for text in page.locator(".figures dd").all_inner_texts()]
    assert figures == [f"{found[key]:,}" for key in ("read", "kept", "tokens", "trained_tokens")]
    counts = {
        each.locator("h4").inner_text(): int(each.locator(".count").inner_text().split()[0])
        for each in page.locator(".finding").all()
    }
    assert counts == {finding["check"]: len(finding["rows"]) for finding in found["findings"]}
    assert len(counts) > 10
    fit = found["fit"]
    assert page.locator("#lengths svg.divided").get_attribute("aria-label") == (
        f"max_length 300: {fit['whole']:,} whole, {fit['cut']:,} cut"
    )
    assert page.locator("#rows article").count() == 3
    assert found["shown"] == []  # they were not asked for; the page has some all the same
    assert set(found["shares"]) <= set(SHARES)
    open_all(page)
    assert too_wide(page) == contrast_faults(page) == accessibility_faults(page) == []
