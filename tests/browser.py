"""A real browser, for the pages that Burnish writes: what is shown, and whether anything is wrong with it.

    def test_the_page_opens(open_page, tmp_path):
        page = open_page(write_page(..., tmp_path / "page.html"), width=390, scheme="dark")
        assert page.locator("h1").inner_text() == ...

A test with `open_page` fails at its end where the page wrote to the console, raised an error or asked for
anything but itself, and is skipped where Chromium is missing (Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HEIGHT = 900


@pytest.fixture(scope="module")  # of a module, as playwright's event loop is in the way of other tests
def chromium() -> Iterator[Any]:
    """A browser with a fresh profile, gone after the tests of a file."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visits:
    """Opens pages, and keeps what went wrong with any of them."""

    browser: Any
    complaints: list[str] = field(default_factory=list)  # of the console, and errors nobody caught
    requests: list[str] = field(default_factory=list)  # for anything but the page itself

    def open(self, path: Path, width: int = 1280, scheme: str = "light", media: str = "screen") -> Any:
        """The page of a file in a window of `width` pixels, `light` or `dark`, on `screen` or in `print`.

        Its content security policy is set aside, because with it the page could not be questioned.
        """
        context = self.browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            reduced_motion="reduce",
            offline=True,
            bypass_csp=True,
        )
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._dismiss)
        address = path.resolve().as_uri()
        page.on("request", lambda request: self._note(request.url, address))
        page.emulate_media(media=media, color_scheme=scheme)
        page.goto(address)
        return page

    def _dismiss(self, dialog):
        self.complaints.append("dialog")
        dialog.dismiss()

    def _note(self, url: str, address: str) -> None:
        if url.split("#")[0] != address:
            self.requests.append(url)


@pytest.fixture
def open_page(chromium) -> Iterator[Callable[..., Any]]:
    """`Visits.open`; at the end nothing may have gone wrong."""
    visits = Visits(chromium)
    yield visits.open
    for context in chromium.contexts:
        context.close()
    assert visits.complaints == []
    assert visits.requests == []


def too_wide(page: Any) -> list[str]:
    """Whether the page scrolls sideways, and the elements that reach past the window's right edge.

    What is inside of an element that scrolls or hides the rest is left out.
    """
    return page.evaluate(
        """() => {
            const root = document.documentElement, width = root.clientWidth;
            const wide = [...document.body.querySelectorAll('*')].filter(element => {
                for (let parent = element.parentElement; parent; parent = parent.parentElement)
                    if (/auto|scroll|hidden/.test(getComputedStyle(parent).overflowX)) return false;
                return element.getBoundingClientRect().right > width + 1;
            }).map(element => element.outerHTML.slice(0, 120));
            return root.scrollWidth > width ? [`scrolls to ${root.scrollWidth}`, ...wide] : wide;
        }"""
    )


def heading_levels(page: Any) -> list[int]:
    """The levels of the headings, in the order of the page."""
    tags = page.evaluate("() => [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => h.tagName)")
    return [int(tag[1]) for tag in tags]


def accessibility_faults(page: Any) -> list[str]:
    """What axe-core finds: `rule: element`. Contrast of text is one of its rules, except inside of SVG."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    violations = axe.Axe().run(page).response["violations"]
    return [f"{found['id']}: {node['html'][:160]}" for found in violations for node in found["nodes"]]


def contrast_faults(page: Any, text: float = 4.5, shape: float = 3.0) -> list[str]:
    """Text, in SVG too, under WCAG's 4.5 to 1 (AA), and shapes of charts under its 3 to 1."""
    return page.evaluate(CONTRAST, [text, shape])


CONTRAST = """([textLimit, shapeLimit]) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const known = new Map();                          // reading a pixel is slow, and a page has few colors
  const channels = color => {                       // any CSS color as [r, g, b, a], 0..255 and 0..1
    if (known.has(color)) return known.get(color);
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    known.set(color, [r, g, b, a / 255]);
    return known.get(color);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
  const behind = element => {
    const layers = [];
    for (; element; element = element.parentElement)
      layers.unshift(channels(getComputedStyle(element).backgroundColor));
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const luminance = color => color.map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (color, below) => {
    const [low, high] = [luminance(over(color, below)), luminance(below)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const faults = [];
  const check = (element, color, limit, what) => {
    const found = ratio(channels(color), behind(element));
    if (found < limit)
      faults.push(`${found.toFixed(2)} ${element.tagName}.${element.getAttribute('class')} ${what}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    check(element, element.ownerSVGElement ? style.fill : style.color, textLimit, text.slice(0, 40));
  }
  for (const shape of document.querySelectorAll('svg [data-shape]'))
    check(shape, getComputedStyle(shape).fill, shapeLimit, shape.getAttribute('data-shape'));
  return faults;
}"""
