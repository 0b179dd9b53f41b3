"""Curves and intervals as pictures, and what all pictures share."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.errors import MissingExtraError
from segdec.metrics import auroc, average_precision, precision_recall_curve, roc_curve
from segdec.score_axis import logit_edges, logit_ticks, score_text, to_logit

DEFECT = "#c8553d"
GOOD = "#3d7a9e"
INK = "#2b2d33"
FAINT = "#9a9da6"
_DPI = 150
_LONGEST_NAME = 90


def draw_curves(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float64],
    decisions: NDArray[np.bool_],
    thresholds: Sequence[float],
) -> bytes:
    """Draw precision-recall curve, ROC curve and the histogram of scores, with the operating point.

    Parameters
    ----------
    labels
        (N,), True is defect.
    scores
        (N,) in [0, 1].
    decisions
        (N,), True where called defective; they make the operating point.
    thresholds
        The decisions' thresholds: one, or one per fold.

    Returns
    -------
    bytes
        A PNG file. A curve that is not defined is replaced by the reason.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    figure = new_figure(12.5, 4.1)
    left, middle, right = figure.subplots(1, 3)
    found, false = decisions[labels], decisions[~labels]
    chosen = "at the threshold" if len(set(thresholds)) == 1 else "at the folds' thresholds"
    ap, area = average_precision(labels, scores), auroc(labels, scores)

    _frame(left, "Precision and recall", "recall", "precision")
    if ap.value is None:
        _say(left, f"not defined: {ap.reason}")
    else:
        precision, recall, _ = precision_recall_curve(labels, scores)
        # AP is the area under these steps: P_n holds from R_(n-1) to R_n
        left.step(recall, precision, where="pre", color=INK, linewidth=1.8)
        if decisions.any():
            _operating_point(left, found.mean(), labels[decisions].mean(), chosen, "lower left")
        _corner(left, f"AP {ap.value:.3f}", "left")

    _frame(middle, "ROC", "false positive rate", "true positive rate")
    if area.value is None:
        _say(middle, f"not defined: {area.reason}")
    else:
        fpr, tpr, _ = roc_curve(labels, scores)
        middle.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (4, 4)))
        middle.plot(fpr, tpr, color=INK, linewidth=1.8)
        _operating_point(middle, false.mean(), found.mean(), chosen, "lower right")
        _corner(middle, f"AUROC {area.value:.3f}", "right")

    _draw_histogram(right, scores[labels], scores[~labels], sorted(set(thresholds)))
    return to_png(figure)


@dataclass(frozen=True, slots=True)
class Interval:
    """A named figure with its spread, and perhaps a published one to compare it with.

    Attributes
    ----------
    name, value, spread
        The spread reaches that far to both sides.
    published
        None where none is known.
    """

    name: str
    value: float
    spread: float
    published: float | None


def draw_intervals(intervals: Sequence[Interval], title: str, note: str, label: str) -> bytes:
    """Draw named figures below each other, the published ones beside them.

    Parameters
    ----------
    intervals
        At least one, from top to bottom.
    title, note, label
        Of the picture, below its title, and of its axis.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    figure = new_figure(8.5, 1.4 + 0.42 * len(intervals))
    axes = figure.subplots()
    _frame(axes, title, label, "", note)
    places = list(range(len(intervals)))
    published = [(one.published, place) for place, one in zip(places, intervals, strict=True)]
    known = [(value, place) for value, place in published if value is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "D", color=FAINT, markersize=8, fillstyle="none", label="paper")
    axes.errorbar(
        [one.value for one in intervals],
        places,
        xerr=[one.spread for one in intervals],
        fmt="o",
        color=GOOD,
        markersize=5.5,
        elinewidth=1.5,
        capsize=3,
        label="here, ± standard deviation over seeds",
    )
    axes.set_yticks([])
    for place, one in zip(places, intervals, strict=True):
        axes.annotate(
            shortened(one.name),
            (0.01, place),
            (0, 6),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
            parse_math=False,
        )
    axes.set_ylim(len(intervals) - 0.5, -0.8)  # the first on top
    low = min([one.value - one.spread for one in intervals] + [value for value, _ in known])
    high = max([one.value + one.spread for one in intervals] + [value for value, _ in known])
    room = max(0.06 * (high - low), 0.2)
    axes.set_xlim(low - room, high + room)
    axes.grid(axis="x", color=FAINT, alpha=0.3, linewidth=0.6)
    figure.legend(frameon=False, fontsize=9, labelcolor=INK, loc="outside lower right", ncols=2)
    return to_png(figure)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve.

    Attributes
    ----------
    x, y, spread
        The spread reaches that far up and down.
    """

    x: float
    y: float
    spread: float


def draw_trends(curves: Mapping[str, Sequence[Point]], title: str, note: str, x: str, y: str) -> bytes:
    """Draw several curves over the same axis.

    Parameters
    ----------
    curves
        Name -> points from left to right.
    title, note, x, y
        Of the picture, below its title, and of its axes.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    figure = new_figure(8.5, 5.0)
    axes = figure.subplots()
    _frame(axes, title, x, y, note)
    colours = (FAINT, DEFECT, GOOD, INK)
    places = [point.x for points in curves.values() for point in points]
    aside = 0.008 * (max(places) - min(places))  # so that spreads at the same place do not hide each other
    for number, (name, points) in enumerate(curves.items()):
        axes.errorbar(
            [point.x + (number - (len(curves) - 1) / 2) * aside for point in points],
            [point.y for point in points],
            yerr=[point.spread for point in points],
            color=colours[number % len(colours)],
            marker="o",
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=3,
            label=shortened(name),
        )
    axes.autoscale()
    axes.grid(axis="y", color=FAINT, alpha=0.3, linewidth=0.6)
    figure.legend(frameon=False, fontsize=9, labelcolor=INK, loc="outside lower right", ncols=2)
    return to_png(figure)


def _draw_histogram(
    axes: Any, defective: NDArray[np.float64], good: NDArray[np.float64], thresholds: Sequence[float]
) -> None:
    _frame(axes, "Scores", "score (what is close to 0 and to 1 is stretched)", "images")
    edges = logit_edges(np.concatenate([good, defective, np.asarray(thresholds)]))
    counts, _, _ = axes.hist(
        [to_logit(good), to_logit(defective)],
        bins=to_logit(edges),
        color=[GOOD, DEFECT],
        label=[f"good ({len(good)})", f"defective ({len(defective)})"],
        rwidth=0.9,
        log=True,
    )
    axes.set_xlim(*to_logit(edges[[0, -1]]))
    ticks = logit_ticks(edges[0], edges[-1])
    axes.set_xticks(to_logit(np.array([value for value, _ in ticks])), [text for _, text in ticks])
    label = f"threshold {score_text(thresholds[0], 3)}" if len(thresholds) == 1 else "thresholds of the folds"
    for threshold in thresholds:
        axes.axvline(
            to_logit(threshold), color=INK, linewidth=1.2, linestyle=(0, (3, 2)), ymax=0.76, label=label
        )
        label = "_"  # one entry in the legend is enough
    # a bar of one image must show, and the legend needs room above the bars
    axes.set_ylim(0.7, 0.7 * (max(10, np.max(counts)) / 0.7) ** (1 / 0.74))
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper center")


def shortened(name: str) -> str:
    """Return a name that fits into a picture, with nothing that the font cannot draw.

    Parameters
    ----------
    name
        Any text; the end of a long one is cut off.
    """
    return drawable(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…")


def drawable(text: str) -> str:
    """Replace what the font cannot draw, of which matplotlib would warn once per letter.

    Parameters
    ----------
    text
        Any text.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    return "".join(letter if font.get_char_index(ord(letter)) else "?" for letter in text)


def new_figure(width: float, height: float, *, constrained: bool = True) -> Any:
    """Make an empty matplotlib figure on white; its size in inches.

    Parameters
    ----------
    width, height
        In inches.
    constrained
        Whether matplotlib lays it out.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "pictures need matplotlib, which is not installed; pip install 'segdec[train]'"
        ) from error
    figure = Figure(
        (width, height), dpi=_DPI, facecolor="white", layout="constrained" if constrained else None
    )
    FigureCanvasAgg(figure)
    return figure


def _frame(axes: Any, title: str, x: str, y: str, note: str = "") -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK, weight="bold", pad=22 if note else 10)
    if note:
        place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(shortened(note), (0, 1), (0, 8), fontsize=8.5, color=FAINT, parse_math=False, **place)
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.tick_params(colors=INK, labelsize=9, length=3, color=FAINT)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)


def _operating_point(axes: Any, x: float, y: float, label: str, corner: str) -> None:
    axes.plot(
        x,
        y,
        "o",
        color=DEFECT,
        markersize=8,
        markeredgecolor="white",
        markeredgewidth=1.2,
        clip_on=False,
        zorder=3,
        label=label,
    )
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, loc=corner, handletextpad=0.1, borderaxespad=0.6)


def _corner(axes: Any, text: str, side: str) -> None:
    x = 0.04 if side == "left" else 0.97
    axes.text(x, 0.16, text, transform=axes.transAxes, ha=side, fontsize=12, color=INK)


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=FAINT, fontsize=9.5, wrap=True)


def to_png(figure: Any) -> bytes:
    """Return a figure as the content of a PNG file.

    Parameters
    ----------
    figure
        Of `new_figure`.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
