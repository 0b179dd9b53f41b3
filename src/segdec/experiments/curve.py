"""The lines of a table as curves: AP against the number of masks."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdec.experiments.lines import Line, shared_changes
from segdec.plots import Point, draw_trends


@dataclass(frozen=True, slots=True)
class Curve:
    """One way to choose masks.

    Attributes
    ----------
    name
        As in `Row.curves`.
    variant
        What ``--set`` changed.
    points
        (line, masks), from few masks to many; only lines with a figure.
    """

    name: str
    variant: str
    points: tuple[tuple[Line, int], ...]


def find_curves(lines: Sequence[Line], out: Path) -> list[Curve]:
    """Sort lines into the curves that their rows are points of.

    Parameters
    ----------
    lines
        From `segdec.experiments.lines.summarise`.
    out
        Folder of all results.

    Returns
    -------
    list of Curve
        By variant, then in the order of the table; none without a point.
    """
    found: dict[tuple[str, str], list[tuple[Line, int]]] = {}
    for line in lines:
        for name in line.row.curves:
            if line.ap.mean is not None:
                point = (line, line.row.masks or _all_masks(line, out))
                found.setdefault((line.variant, name), []).append(point)
    return [
        Curve(name, variant, tuple(sorted(points, key=lambda point: point[1])))
        for (variant, name), points in sorted(found.items(), key=lambda each: each[0][0])
    ]


def draw(curves: Sequence[Curve], title: str) -> bytes:
    """Draw curves.

    Parameters
    ----------
    curves
        From `find_curves`.
    title
        Of the picture. What ``--set`` changed is added; with several variants it stands in the legend.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    shared = shared_changes(line for curve in curves for line, _ in curve.points)
    points = {
        curve.points[0][0].named(curve.name, shared): [
            Point(masks, line.ap.mean, line.ap.deviation or 0.0)
            for line, masks in curve.points
            if line.ap.mean is not None
        ]
        for curve in curves
    }
    return draw_trends(points, title, shared, "masks", "AP in per cent")


def to_curve_csv(curves: Sequence[Curve]) -> str:
    """Write curves as CSV, a line for each point.

    Parameters
    ----------
    curves
        From `find_curves`.

    Returns
    -------
    str
        AP in per cent, mean and standard deviation over seeds; the latter empty for one seed.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["curve", "masks", "ap_mean", "ap_sd", "seeds", "folds", "row"])
    for curve in curves:
        for line, masks in curve.points:
            deviation = "" if line.ap.deviation is None else f"{line.ap.deviation:.4f}"
            places = (" ".join(map(str, line.seeds)), " ".join(line.folds))
            writer.writerow(
                [curve.name + curve.variant, masks, f"{line.ap.mean:.4f}", deviation, *places, line.name]
            )
    return stream.getvalue()


def _all_masks(line: Line, out: Path) -> int:
    """Return how many masks there are where none is taken away: as many as defective images, on average."""
    counts = []
    for run in line.runs:
        meta = json.loads((out / run.folder / "meta.json").read_text(encoding="utf-8"))
        counts.append(int(meta["counts"]["train"]["defective"]))
    return round(statistics.fmean(counts))
