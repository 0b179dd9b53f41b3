"""The report in a real Chromium: wide and narrow, light and dark, and read with the keys."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from segdec.report import write_report

pytest.importorskip("playwright.sync_api", reason="needs the extra browser: pip install 'segdec[browser]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the system's chromium"),
]

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "screenshots.py"
DESKTOP, PHONE = 1280, 390
LONG = "part_without_a_place_to_break_" * 8
CHARTS = 6


@pytest.fixture(scope="module")
def script(load_script):
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def browser(script):
    with script.chromium() as browser:
        yield browser


@pytest.fixture
def report(judge, images, run, tmp_path):
    """Write a report with what is hard to lay out: long names, and thresholds that need all their digits."""
    close = {
        name: (label, score if score < 0.5 else 1 - (1 - score) * 1e-13, area)
        for name, (label, score, area) in images.items()
    }
    hard = {f"{LONG}{number}.png": value for number, value in enumerate(close.values())}
    evaluation = replace(judge(hard, types=("scratch", LONG)), skipped={f"{LONG}.png": "it is no image"})
    write_report(evaluation, tmp_path / "report.html", [run], tmp_path / LONG)
    return tmp_path / "report.html"


@pytest.fixture
def open_page(browser, report):
    """Open the report; whatever goes wrong in the browser fails the test at its end."""
    pages, wrong, asked = [], [], []

    def open_one(width, scheme="light", **rest):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **rest)
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith("data:image/jpeg;")} == {report.as_uri()}


def charts(page):
    return page.locator("svg[data-spots]").all()


def shown(page):
    """Return what the tip says, or None; it must lie within the window."""
    tip = page.evaluate(
        """() => {
            const tip = document.querySelector(".tip");
            if (tip.hidden || getComputedStyle(tip).display === "none") return null;
            const { left, top, right, bottom } = tip.getBoundingClientRect();
            return { text: tip.textContent, left, top, right, bottom };
        }"""
    )
    if tip is None:
        return None
    assert 0 <= tip["left"] < tip["right"] <= page.viewport_size["width"]
    assert 0 <= tip["top"] < tip["bottom"] <= page.viewport_size["height"]
    return tip["text"]


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 28)")])
def test_the_page_is_whole_in_every_window(open_page, width, scheme, paper):
    page = open_page(width, scheme)

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert len(charts(page)) == CHARTS
    assert page.locator("img").count() > 20
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate(
        """async () => {
            for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
                scrollTo(0, y);
                await new Promise(requestAnimationFrame);
            }
        }"""
    )
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")


def test_the_arrow_keys_walk_along_a_chart(open_page):
    page = open_page(DESKTOP)
    chart = page.locator("svg[data-spots]").first
    texts = [text for _, _, text in json.loads(chart.get_attribute("data-spots"))]

    for _ in range(20):  # tables that scroll come first
        page.keyboard.press("Tab")
        if chart.evaluate("chart => chart === document.activeElement"):
            break
    for key, text in (
        ("ArrowRight", texts[0]),
        ("ArrowLeft", texts[0]),
        ("ArrowRight", texts[1]),
        ("ArrowRight", texts[2]),
        ("ArrowLeft", texts[1]),
    ):
        page.keyboard.press(key)
        assert shown(page) == text
    page.keyboard.press("Tab")
    assert shown(page) is None


def test_the_pictures_for_the_documentation_can_be_taken(script, open_page):
    desktop, phone = script.desktop(open_page(DESKTOP)), script.phone(open_page(PHONE, "dark"))

    assert desktop.width == DESKTOP
    assert 1000 < desktop.height < 3000
    assert desktop.getpixel((0, 0)) == (255, 255, 255)
    assert phone.size == (3 * PHONE + 2 * 20, 1600)
    assert phone.getpixel((0, 0)) == (21, 24, 28)
