"""The report in a real Chromium: wide and narrow, light and dark, pointed at, touched and printed."""

import json
import re
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
DESKTOP, PHONE, PAPER = 1280, 390, 718  # the last is A4 with margins of 1 cm
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


def place(chart, number, block="center"):
    """Bring a chart into sight; return the text of a spot, and where it is in the window."""
    chart.evaluate("(chart, block) => chart.scrollIntoView({ block })", block)
    return chart.evaluate(
        """(chart, number) => {
            const [x, y, text] = JSON.parse(chart.dataset.spots).at(number);
            const at = new DOMPoint(x, y).matrixTransform(chart.getScreenCTM());
            return [text, at.x, at.y];
        }""",
        number,
    )


def shown(page):
    """Return what the tip says, or None; it must lie within the window, as wide as its text asks for."""
    tip = page.evaluate(
        """() => {
            const tip = document.querySelector(".tip");
            if (tip.hidden || getComputedStyle(tip).display === "none") return null;
            const { left, top, right, bottom, width } = tip.getBoundingClientRect();
            const free = tip.cloneNode(true);
            free.style.left = 0;
            tip.after(free);
            const asked = free.getBoundingClientRect().width;
            free.remove();
            return { text: tip.textContent, left, top, right, bottom, width, asked };
        }"""
    )
    if tip is None:
        return None
    assert 0 <= tip["left"] < tip["right"] <= page.viewport_size["width"]
    assert 0 <= tip["top"] < tip["bottom"] <= page.viewport_size["height"]
    assert tip["width"] == pytest.approx(tip["asked"], abs=1)
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


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_pointer_reads_every_chart(open_page, width):
    page = open_page(width)

    for chart in charts(page):
        spots = json.loads(chart.get_attribute("data-spots"))
        # the right end first: what is shown there must not narrow what is shown next
        for number, block in ((-1, "center"), (0, "center"), (0, "start"), (-1, "start")):
            _, x, y = place(chart, number, block)
            page.mouse.move(x, y)
            mark = chart.locator(".mark")
            assert mark.is_visible()
            assert [float(mark.get_attribute(at)) for at in ("cx", "cy")] == spots[number][:2]
            assert shown(page) in [text for *at, text in spots if at == spots[number][:2]]
        page.mouse.move(1, 1)
        assert shown(page) is None
        assert not mark.is_visible()


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


def test_what_was_touched_stays_until_something_else_is(open_page):
    page = open_page(PHONE, has_touch=True)
    first, second = charts(page)[1:3]

    text, x, y = place(first, 0)
    page.touchscreen.tap(x, y)
    assert shown(page) == text
    text, x, y = place(second, -1)
    page.touchscreen.tap(x, y)
    assert shown(page) == text
    assert not first.locator(".mark").is_visible()
    heading = page.locator("h2").last
    heading.scroll_into_view_if_needed()
    heading.tap()
    assert shown(page) is None


def test_on_paper_all_pictures_are_there_and_nothing_is_cut_off(open_page, report, tmp_path):
    page = open_page(DESKTOP, "dark")
    pictures = set(re.findall(r'src="data:image/jpeg;base64,([^"]+)', report.read_text(encoding="utf-8")))

    # nobody has scrolled to the pictures
    page.pdf(path=tmp_path / "report.pdf", format="A4")

    pdf = (tmp_path / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", pdf)) >= 4
    assert len(re.findall(rb"/Subtype /Image\b", pdf)) == len(pictures)
    page.set_viewport_size({"width": PAPER, "height": 900})
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = "[...document.querySelectorAll('html, .wide')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(cut) == 0
    page.mouse.move(*place(charts(page)[0], 0)[1:])
    assert shown(page) is None


def test_the_pictures_for_the_documentation_can_be_taken(script, open_page):
    desktop, phone = script.desktop(open_page(DESKTOP)), script.phone(open_page(PHONE, "dark"))

    assert desktop.width == DESKTOP
    assert 1000 < desktop.height < 3000
    assert desktop.getpixel((0, 0)) == (255, 255, 255)
    assert phone.size == (3 * PHONE + 2 * 20, 1600)
    assert phone.getpixel((0, 0)) == (21, 24, 28)
