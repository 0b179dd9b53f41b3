"""Pieces of HTML; whatever comes from outside passes through `escape` here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from segdec import intervals
from segdec.intervals import Interval
from segdec.metrics import Metric

NO_BREAK = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """Write a share as `segdec.intervals.percent` does, without a line break before the sign.

    Examples
    --------
    >>> percent(0.125) == f"12.5{NO_BREAK}%"
    True
    """
    return intervals.percent(share).replace(" ", NO_BREAK)


def interval_text(interval: Interval) -> str:
    """Write the ends of a share's interval, or why there is none.

    Parameters
    ----------
    interval
        Of a share, in [0, 1].

    Returns
    -------
    str
        Plain text, such as "1.2 % to 5 %".
    """
    if interval.low is None or interval.high is None:
        return f"no interval: {interval.reason}"
    return f"{percent(interval.low)} to {percent(interval.high)}"


def metric_text(metric: Metric, interval: Interval | None = None) -> str:
    """Write a metric and its interval, or why it is not defined.

    Parameters
    ----------
    metric
        Shown with four digits.
    interval
        Of the same metric; None shows none.

    Returns
    -------
    str
        HTML.
    """
    if metric.value is None:
        return undefined(metric.reason or "")
    text = f"{metric.value:.4f}"
    if interval is None:
        return text
    if interval.low is None:
        return f'{text} <span class="soft">(no interval: {escape(interval.reason or "")})</span>'
    return f'{text} <span class="soft">({interval.low:.4f} to {interval.high:.4f})</span>'


def undefined(reason: str) -> str:
    """Say that something is not defined, and why.

    Parameters
    ----------
    reason
        Plain text.

    Returns
    -------
    str
        HTML.
    """
    return f'<span class="undefined">not defined: {escape(reason)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Lay out a table.

    Parameters
    ----------
    head
        Plain text of the top row; empty for none.
    rows
        Cells in HTML, the first of which names its row.
    kind
        Class of the table in the style sheet.

    Returns
    -------
    str
        HTML.
    """
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    thead = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide"><table class="{kind}">{thead}<tbody>{body}</tbody></table></div>'


def figure(title: str, picture: str, caption: str) -> str:
    """Put a picture, or the reason why there is none, between its title and its caption; the two are HTML."""
    return f"<figure><h3>{escape(title)}</h3>{picture}<figcaption>{caption}</figcaption></figure>"


def key(kind: str, text: str) -> str:
    """Name a colour below a chart."""
    return f'<span class="key {kind}">{escape(text)}</span>'


def plural(count: int, one: str, many: str = "") -> str:
    """Count something.

    Examples
    --------
    >>> plural(1, "miss", "misses"), plural(3, "image")
    ('1 miss', '3 images')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
