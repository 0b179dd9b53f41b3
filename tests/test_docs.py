"""The documentation agrees with the code where that can be checked, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer

from segdec import errors
from segdec.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


def test_the_configuration_page_is_what_the_code_says():
    script = ROOT / "docs" / "reference" / "configuration.py"

    page = runpy.run_path(str(script))["page"]()

    assert script.with_suffix(".md").read_text(encoding="utf-8") == page, "run: make docs"


def test_every_exit_code_is_documented():
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    rows = {
        name: int(code)
        for code, names in re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }

    kinds = [
        errors.SegdecError,
        *errors.SegdecError.__subclasses__(),
        errors.ImageError,
        errors.UnsupportedError,
    ]

    assert rows == {kind.__name__: kind.exit_code for kind in kinds}
    assert f"| {errors.PARTIAL} |" in page


def test_the_commands_page_names_the_options_that_there_are():
    """In each command's section, and in what is quoted of other commands."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    named: dict[str, set[str]] = {}
    for section in page.split("\n## segdec ")[1:]:
        command = section.split()[0]
        heading, _, text = section.partition("\n")
        for code in [f"segdec {heading}", *re.findall(r"`([^`]+)`", text)]:
            other = re.match(r"segdec ([\w-]+)", code)
            named.setdefault(other[1] if other else command, set()).update(re.findall(r"--[a-z-]+", code))

    group = typer.main.get_command(app)
    known = {
        name: {option for parameter in command.params for option in parameter.opts if option[0] == "-"}
        for name, command in group.commands.items()
    }

    assert named == known
