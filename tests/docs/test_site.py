"""The site: every document has its place in it, and no link leads nowhere."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages(nav: list) -> list[str]:
    """The files of a navigation, in order."""
    found: list[str] = []
    for entry in nav:
        (place,) = entry.values()
        found += pages(place) if isinstance(place, list) else [place]
    return found


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as site and repository pages make them."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_every_document_is_in_the_navigation_once():
    nav = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == [path.name for path in DOCUMENTS]


@pytest.mark.parametrize("document", [ROOT / "README.md", *DOCUMENTS], ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document if not name else document.parent / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
