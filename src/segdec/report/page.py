"""The page: all sections in the order in which an engineer asks for them, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path

from segdec import __version__
from segdec.evaluation import Evaluation
from segdec.files import atomic_write
from segdec.report import plots, sections
from segdec.report.origin import Origin, describe, read_origin

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " base-uri 'none'; form-action 'none'"
)
"""The browser itself keeps the page from asking for anything that is not in it."""


def write_report(
    evaluation: Evaluation, path: Path, runs: Sequence[Path] = (), data: Path | None = None
) -> None:
    """Write an evaluation as one HTML file that needs nothing beside it.

    Parameters
    ----------
    evaluation
        What to report.
    path
        The file; it is replaced.
    runs
        The run folders or model folders that were judged; from them come training curves,
        configuration, versions and hashes.
    data
        The data set that was judged, where it is not the runs' own.

    Raises
    ------
    ModelError
        If a folder holds no model.
    OutputError
        If the file cannot be written.
    MissingExtraError
        If scipy is not installed.
    """
    page = to_html(evaluation, [read_origin(run) for run in runs], data)
    # names of files may hold bytes that are no text: these become character references
    atomic_write(path, page.encode("utf-8", "xmlcharrefreplace"))


def to_html(evaluation: Evaluation, origins: Sequence[Origin] = (), data: Path | None = None) -> str:
    """Turn an evaluation into the text of the report.

    Parameters
    ----------
    evaluation
        What to report.
    origins
        Of the models that were judged.
    data
        The data set that was judged, where it is not the runs' own.

    Returns
    -------
    str
        HTML.
    """
    title = "Inspection report"
    if origins:
        title += ": " + ", ".join(origin.name for origin in origins)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    judged = f"judged: {data}" if data is not None else "judged: the test part of the run's own data"
    source = f"{judged} · " if origins or data is not None else ""
    curves = "".join(
        plots.training(origin.log, f"Training of {origin.name}") for origin in origins if origin.log
    )
    scores = [draw(evaluation) for draw in (plots.histogram, plots.precision_recall, plots.roc)]
    body = [
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(source)}{now} · segdec {__version__}</p>',
        "</header>",
        f"<section>{sections.summary(evaluation)}</section>",
        _section("Decisions", sections.confusion(evaluation)),
        _section("Scores", _grid(*scores, kind="three")),
        _section("Choosing the threshold", _grid(plots.choice(evaluation))),
        _section("Size of the defects", _grid(plots.detection(evaluation), sections.sizes(evaluation))),
        _section("What was decided wrongly", sections.mistakes(evaluation)),
        sections.skipped(evaluation),
        _section("Training", _grid(curves)) if curves else "",
        _section("Origin", "".join(map(describe, origins)) + sections.hashes(evaluation)) if origins else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f"<title>{escape(title)}</title><style>{_asset('style.css')}</style></head>\n"
        f"<body>{chr(10).join(body)}<script>{_asset('hover.js')}</script></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _grid(*figures: str, kind: str = "") -> str:
    return f'<div class="charts {kind}">{"".join(figures)}</div>'


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
