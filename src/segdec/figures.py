"""From rows and counted pixels to figures: what an evaluation says in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.evaluation import BestF1, ImageMetrics, ItemShares, PixelMetrics, Row, Share, columns
from segdec.intervals import Interval, Scored, bootstrap, bootstrap_mean, clopper_pearson
from segdec.items import score_items
from segdec.metrics import (
    Confusion,
    Metric,
    auroc,
    average_precision,
    average_precision_trapezoid,
    confusion,
)
from segdec.pixel_metrics import PixelTally
from segdec.thresholds import best_f1_threshold


def image_metrics(rows: Sequence[Row]) -> ImageMetrics:
    """Return how well the scores of images rank and decide.

    Parameters
    ----------
    rows
        Of all images, with the decisions of their models.

    Returns
    -------
    ImageMetrics
    """
    labels, scores, decisions = columns(rows)
    scored = _scored(rows)
    ap = average_precision(labels, scores)
    if ap.reason is not None:
        best = BestF1(Metric(None, ap.reason), None, None, None)
    else:
        threshold = best_f1_threshold(labels, scores)
        counts = confusion(labels, scores, threshold)
        best = BestF1(counts.f1, threshold, counts.fp, counts.fn)
    return ImageMetrics(
        ap=ap,
        ap_trapezoid=average_precision_trapezoid(labels, scores),
        auroc=auroc(labels, scores),
        ap_interval=bootstrap(*scored, _ap),
        auroc_interval=bootstrap(*scored, _auroc),
        at_threshold=Confusion.count(labels, decisions),
        best_f1_on_test=best,
    )


def mean_intervals(folds: Mapping[str, Sequence[Row]]) -> tuple[Interval, Interval]:
    """Return where the means of AP and of AUROC over folds lie, at 95 % confidence.

    Parameters
    ----------
    folds
        Name -> rows of its images.

    Returns
    -------
    tuple of Interval
        Of AP and of AUROC.
    """
    scored = {fold: _scored(rows) for fold, rows in folds.items()}
    return bootstrap_mean(scored, _ap), bootstrap_mean(scored, _auroc)


def item_shares(rows: Sequence[Row]) -> ItemShares:
    """Return which shares of the items escape, are overkill or go to review.

    Parameters
    ----------
    rows
        Of all images; those of one group are one item.

    Returns
    -------
    ItemShares
    """
    # good 0, review 1, defect 2: the highest of an item's images decides
    ranks = [2 * row.decision + row.review for row in rows]
    items = score_items([row.label for row in rows], ranks, [row.group for row in rows])

    def share(counted: NDArray[np.bool_], nothing: str) -> Share:
        count, of = int(counted.sum()), len(counted)
        rate = Metric(count / of) if of else Metric(None, nothing)
        return Share(count, of, rate, clopper_pearson(count, of))

    return ItemShares(
        escape=share(items.defective == 0, "there is no defective item"),
        overkill=share(items.good == 2, "there is no good item"),
        review=share(np.concatenate(items) == 1, "there is no item"),
    )


def pixel_metrics(tally: PixelTally, without_mask: int) -> PixelMetrics:
    """Return how well score maps agree with masks.

    Parameters
    ----------
    tally
        Of the pixels that are known.
    without_mask
        How many defective images have no mask.

    Returns
    -------
    PixelMetrics
    """
    marked = tally.confusion.tp + tally.confusion.fn

    def told(metric: Metric) -> Metric:
        # "there is no defect" would be wrong where there are, but unmarked
        if metric.value is None and without_mask and not marked:
            return Metric(None, "no defective image has a mask")
        return metric

    return PixelMetrics(
        ap=told(tally.ap),
        auroc=told(tally.auroc),
        aupro=told(tally.aupro),
        iou=told(tally.iou),
        dice=told(tally.dice),
        size_recall=tally.size_recall,
    )


def _scored(rows: Sequence[Row]) -> Scored:
    labels, scores, _ = columns(rows)
    return labels, scores, [row.group for row in rows]


def _ap(*draw: NDArray[Any]) -> float | None:
    return average_precision(*draw).value


def _auroc(*draw: NDArray[Any]) -> float | None:
    return auroc(*draw).value
