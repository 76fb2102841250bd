"""Boxes and arrows by the numbers of their shapes."""

from __future__ import annotations

from xml.etree import ElementTree

from burnish.pages.diagram import Arrow, Box, cut, diagram


def shapes(svg: str, tag: str) -> list[dict[str, str]]:
    return [element.attrib for element in ElementTree.fromstring(svg).iter(tag)]


def test_a_box_is_as_high_as_its_lines():
    none, two = Box(0, 0, 100, "a"), Box(0, 0, 100, "a", ["b", "c"])
    assert two.height - none.height == 34
    (frame,) = shapes(diagram("wide", (100, 100), "one box", [two], []), "rect")
    assert (float(frame["height"]), frame["data-box"]) == (two.height, "a")


def test_an_arrow_ends_where_it_points():
    svg = diagram("wide", (100, 100), "one arrow", [], [Arrow([(0, 0), (0, 50)]), Arrow([(0, 0), (40, 0)])])
    heads = [each["d"] for each in shapes(svg, "path") if each["class"].startswith("head")]
    assert [head.split(" L")[0] for head in heads] == ["M0.0 50.0", "M40.0 0.0"]
    assert heads[0].split(" L")[1:] == ["-5.0 42.0", "5.0 42.0 Z"]


def test_text_that_does_not_fit_is_cut():
    assert cut("a name of a model", 8) == "a name …"
    assert cut("short", 5.9) == "short"
    svg = diagram("wide", (100, 50), "long", [Box(0, 0, 100, "x" * 40)], [])
    assert "x" * 9 not in svg.replace('data-box="' + "x" * 40, "") and "…" in svg


def test_a_drawing_is_an_image_with_an_escaped_name():
    svg = diagram("wide", (1, 1), '"<b>', [Box(0, 0, 10, "<script>")], [])
    assert 'aria-label="&#34;&lt;b&gt;"' in svg and "<script>" not in svg
