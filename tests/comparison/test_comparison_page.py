"""The page of a comparison, in Chromium: fits, can be read, and says what the JSON says."""

import pytest

from burnish import units
from burnish.comparison.answering import Asking
from burnish.comparison.compare import compare
from burnish.comparison.measures import Reward, Score
from burnish.comparison.page import marked, write_page
from burnish.models.asking import Sampling
from tests.browser import accessibility_faults, contrast_faults, too_wide
from tests.comparison.conftest import rows


@pytest.fixture(scope="module")
def found(place):
    awkward = {"prompt": [{"role": "user", "content": "<script>alert(1)</script> \x1b[31m " + "wide" * 60}]}
    measures = [Score(lambda answer: len(answer) > 3), Reward(str(place / "reward"))]
    how = Asking(Sampling(max_new_tokens=12))
    prompts = [{"prompt": row["prompt"]} for row in rows(14)] + [awkward]
    return compare([place / "one", place / "two", place / "adapter"], prompts, measures, how=how)


@pytest.fixture(scope="module")
def page_file(found, tmp_path_factory):
    return write_page(found, tmp_path_factory.mktemp("page") / "comparison.html")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_fits_and_can_be_read(open_page, page_file, width, scheme):
    page = open_page(page_file, width, scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
    assert too_wide(page) == []
    assert contrast_faults(page) == []
    assert accessibility_faults(page) == []


def test_the_page_says_what_the_json_says(open_page, page_file, found):
    page, told = open_page(page_file), found.to_dict()
    assert page.title() == "one and two and adapter · compared"
    assert page.locator("nav a").all_inner_texts() == ["Measures", "Answers"]
    assert page.locator("#measures .chart").count() == len(told["measures"])
    means = (
        page.locator("#measures .chart").first.locator("tbody tr td.number:nth-of-type(1)").all_inner_texts()
    )
    assert means == [units.share(each["mean"]) for each in told["measures"][0]["models"]]
    assert page.locator("article").count() == 15
    shown = page.locator("article").first.locator(".tokens").all_inner_texts()
    assert len(shown) == 3
    assert page.locator("#measures svg.interval").count() >= 3 * len(told["measures"])


def test_what_the_first_model_did_not_say_is_marked():
    assert marked("a new cat", "a cat") == 'a <mark class="differs">new </mark>cat'
    assert marked("same", "same") == "same" and marked("first", None) == "first"
    assert marked("<b> x", "x") == '<mark class="differs">&lt;b&gt; </mark>x'
    assert "nothing" in marked("", "x")
