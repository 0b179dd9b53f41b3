"""Take the pictures of a report for the documentation: on a desktop, and on a phone in the dark.

They need the extra ``browser`` and a Chromium that the system calls ``chromium``::

    python benchmarks/screenshots.py docs/results/kolektor-calibrated/report.html docs/images
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DESKTOP, PHONE = 1280, 390
"""Widths of a window, in CSS pixels."""

_FLAGS = (
    "--no-sandbox",  # in a container there is none, and the page is one's own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LAST = "Choosing the threshold"  # the section with which the picture of a desktop ends
_BELOW = 24
_COLUMNS, _COLUMN, _GAP = 3, 1600, 20  # the phone's long page, cut and put side by side
_BETWEEN = "#5a6068"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, without a window; nothing is downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def desktop(page: Page) -> Image.Image:
    """Return the report from its top to the choice of the threshold, (H, W)."""
    section = page.locator("section", has=page.get_by_role("heading", name=_LAST, exact=True))
    box = section.bounding_box()
    if box is None:
        raise SystemExit(f"the report has no section {_LAST!r}; take one that segdec evaluate --report wrote")
    whole = _whole(page)
    return whole.crop((0, 0, whole.width, min(whole.height, round(box["y"] + box["height"]) + _BELOW)))


def phone(page: Page) -> Image.Image:
    """Return the upper part of the report in columns, from left to right, (H, W)."""
    whole = _whole(page)
    sheet = Image.new("RGB", (_COLUMNS * (whole.width + _GAP) - _GAP, _COLUMN), _BETWEEN)
    for column in range(_COLUMNS):
        part = whole.crop((0, column * _COLUMN, whole.width, min(whole.height, (column + 1) * _COLUMN)))
        sheet.paste(part, (column * (whole.width + _GAP), 0))
    return sheet


def _whole(page: Page) -> Image.Image:
    # pictures wait until they are scrolled to, which nobody does here
    page.evaluate("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode(); }))")
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


def main() -> None:
    """Write report-desktop.png and report-phone.png."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path, help="the folder to write into")
    options = parser.parse_args()
    with chromium() as browser:
        for name, width, scheme, take in (
            ("report-desktop.png", DESKTOP, "light", desktop),
            ("report-phone.png", PHONE, "dark", phone),
        ):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(options.report.resolve().as_uri())
            take(page).save(options.out / name, optimize=True)
            page.close()


if __name__ == "__main__":
    main()
