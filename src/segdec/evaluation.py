"""The noun `Evaluation`: rows, metrics and pictures' raw material, and its form as JSON and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdec.contact_sheet import Tile
from segdec.intervals import Interval
from segdec.judged import Judged
from segdec.metrics import Confusion, Metric
from segdec.mistakes import Mistakes
from segdec.pixel_metrics import PixelTally, SizeRecall

_NO_FOLDS = "there are no folds"
_NO_MEAN = Interval(None, None, _NO_FOLDS)


class Row(NamedTuple):
    """One image's result; the columns of scores.csv.

    Attributes
    ----------
    name
        The sample's name.
    label
        True is defect.
    score
        In [0, 1].
    threshold
        The threshold of the model that gave the score.
    decision
        score >= threshold.
    part
        "test", or the fold the image was judged in.
    group
        The item that the image shows; its own name where there are no groups.
    review
        True where neither decision is made, and a person decides.
    types
        The types of its defects, where they are named; joined by ";" in the file.
    """

    name: str
    label: bool
    score: float
    threshold: float
    decision: bool
    part: str
    group: str
    review: bool = False
    types: tuple[str, ...] = ()


class TypeRecall(NamedTuple):
    """How many images with one type of defect are called defective.

    Attributes
    ----------
    type
        The type's name.
    images
        Number of images that hold it.
    caught
        Of these, those called defective (not those left to a person); in an image with several types any of
        them may be the reason.
    """

    type: str
    images: int
    caught: int


class BestF1(NamedTuple):
    """The highest F1 of any threshold, found on the very data that is judged, as the reference does.

    Attributes
    ----------
    f1
        Its value; None where a class is missing, and then so are the rest.
    threshold, fp, fn
        Where it is reached, and the false positives and negatives there.
    """

    f1: Metric
    threshold: float | None
    fp: int | None
    fn: int | None


@dataclass(frozen=True, slots=True)
class Share:
    """A share of items, counted.

    Attributes
    ----------
    count, of
        Items that are counted, among those that could be.
    rate
        The share; None where there is no such item.
    interval
        Where the share lies in production, at 95 % confidence: exact, as items are independent.
    """

    count: int
    of: int
    rate: Metric
    interval: Interval


class ItemShares(NamedTuple):
    """What becomes of items by the models' decisions; an item is a group of images, or one image.

    Attributes
    ----------
    escape
        Of defective items: no defective image is called defective, or left to review.
    overkill
        Of good items: an image is called defective.
    review
        Of all items: one that is neither rejected nor passed.
    """

    escape: Share
    overkill: Share
    review: Share


@dataclass(frozen=True, slots=True)
class ImageMetrics:
    """Image-level metrics.

    Attributes
    ----------
    ap
        Step-wise average precision.
    ap_trapezoid
        The reference's trapezoidal area under the precision-recall curve.
    auroc
        Area under the ROC curve.
    ap_interval, auroc_interval
        Where they lie for other items of the same kind, at 95 % confidence: a bootstrap of whole items.
    at_threshold
        Right and wrong decisions at the model's own threshold (each fold's own, in a joined evaluation);
        what is left to review is not called defective.
    best_f1_on_test
        For comparison with the paper only.
    """

    ap: Metric
    ap_trapezoid: Metric
    auroc: Metric
    ap_interval: Interval
    auroc_interval: Interval
    at_threshold: Confusion
    best_f1_on_test: BestF1


@dataclass(frozen=True, slots=True)
class PixelMetrics:
    """Pixel-level metrics; `segdec.pixel_metrics.PixelTally` says what each one is.

    Attributes
    ----------
    ap, auroc, aupro
        Over all thresholds.
    iou, dice
        At the pixel threshold.
    size_recall
        Found defects by size.
    """

    ap: Metric
    auroc: Metric
    aupro: Metric
    iou: Metric
    dice: Metric
    size_recall: tuple[SizeRecall, ...]


@dataclass(frozen=True)
class Evaluation:
    """What a model, or the models of a cross-validation, made of labelled images.

    Attributes
    ----------
    rows
        One for each image that was judged.
    image, pixel
        The metrics; of all folds pooled, in a joined evaluation.
    items
        What becomes of the items.
    thresholds, pixel_thresholds
        Part or fold -> threshold.
    review_thresholds
        Part or fold -> the score from which a person decides, of the models that have one.
    without_mask
        Defective images that count at image level only, as their defects are not marked.
    skipped
        Image name -> why the image, or its mask, is left out.
    folds
        Fold -> its own image-level metrics; empty unless joined.
    tally
        The pixel counts, from which folds are joined.
    tiles
        The images closest to a wrong decision.
    mistakes
        Misses and false alarms, with pictures of the worst.
    judged
        What the figures come from, and whether the models had seen it.
    ap_mean_interval, auroc_mean_interval
        Where the means over the folds lie for other items of the same kind, judged by the same models, at
        95 % confidence: a bootstrap of whole items within each fold.
    """

    rows: tuple[Row, ...]
    image: ImageMetrics
    items: ItemShares
    pixel: PixelMetrics
    thresholds: dict[str, float]
    pixel_thresholds: dict[str, float]
    without_mask: int
    skipped: dict[str, str]
    tally: PixelTally = field(repr=False)
    tiles: tuple[Tile, ...] = field(repr=False)
    folds: dict[str, ImageMetrics] = field(default_factory=dict)
    mistakes: Mistakes = field(default_factory=Mistakes, repr=False)
    review_thresholds: dict[str, float] = field(default_factory=dict)
    judged: Judged = field(default_factory=Judged)
    ap_mean_interval: Interval = _NO_MEAN
    auroc_mean_interval: Interval = _NO_MEAN

    @property
    def type_recall(self) -> tuple[TypeRecall, ...]:
        """Recall by defect type, by name; empty where no types are named."""
        decisions: dict[str, list[bool]] = {}
        for row in self.rows:
            for kind in row.types:
                decisions.setdefault(kind, []).append(row.decision)
        return tuple(TypeRecall(kind, len(each), sum(each)) for kind, each in sorted(decisions.items()))

    @property
    def ap_mean(self) -> Metric:
        """Mean of the folds' average precisions; ``image.ap`` is that of the pooled scores."""
        return _mean({name: fold.ap for name, fold in self.folds.items()})

    @property
    def ap_trapezoid_mean(self) -> Metric:
        """Mean of the folds' areas by the trapezoidal rule."""
        return _mean({name: fold.ap_trapezoid for name, fold in self.folds.items()})

    @property
    def auroc_mean(self) -> Metric:
        """Mean of the folds' areas under the ROC curve."""
        return _mean({name: fold.auroc for name, fold in self.folds.items()})


def columns(rows: Sequence[Row]) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    """Return labels, scores and decisions of the rows as arrays, each (N,).

    Parameters
    ----------
    rows
        Of one or several parts.

    Returns
    -------
    tuple
        Labels (bool), scores (float64), decisions (bool).
    """
    return (
        np.array([row.label for row in rows], np.bool_),
        np.array([row.score for row in rows], np.float64),
        np.array([row.decision for row in rows], np.bool_),
    )


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Turn an evaluation into what metrics.json holds.

    Parameters
    ----------
    evaluation
        Any.

    Returns
    -------
    dict
        Sections and figures; a metric that is not defined is None, and its dotted name stands in
        "undefined" with the reason.
    """
    labels, _, _ = columns(evaluation.rows)
    tree: dict[str, Any] = {
        "images": {
            "judged": len(labels),
            "defective": int(labels.sum()),
            "good": int((~labels).sum()),
            "defective_without_mask": evaluation.without_mask,
            "skipped": len(evaluation.skipped),
        },
        "judged": asdict(evaluation.judged),
        "thresholds": evaluation.thresholds,
        "review_thresholds": evaluation.review_thresholds,
        "pixel_thresholds": evaluation.pixel_thresholds,
        "image": _image_tree(evaluation.image),
        "type_recall": [each._asdict() for each in evaluation.type_recall],
        "items": {
            name: {"count": share.count, "of": share.of, "rate": share.rate, "interval": share.interval}
            for name, share in evaluation.items._asdict().items()
        },
        "pixel": {
            **{name: getattr(evaluation.pixel, name) for name in ("ap", "auroc", "aupro", "iou", "dice")},
            "size_recall": [size._asdict() for size in evaluation.pixel.size_recall],
        },
    }
    if evaluation.folds:
        tree["folds"] = {
            "ap_pooled": evaluation.image.ap,
            "ap_mean": evaluation.ap_mean,
            "ap_mean_interval": evaluation.ap_mean_interval,
            "ap_trapezoid_mean": evaluation.ap_trapezoid_mean,
            "auroc_mean": evaluation.auroc_mean,
            "auroc_mean_interval": evaluation.auroc_mean_interval,
            "each": {name: _image_tree(image) for name, image in evaluation.folds.items()},
        }
    undefined: dict[str, str] = {}
    return {**_plain(tree, "", undefined), "undefined": undefined, "skipped": evaluation.skipped}


def to_csv(rows: Iterable[Row]) -> str:
    """Turn rows into what scores.csv holds: a header, then a line each; labels and decisions are 0 or 1.

    Parameters
    ----------
    rows
        Of one or several parts.

    Returns
    -------
    str
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return ";".join(value)
    return int(value) if isinstance(value, bool) else value


def _image_tree(image: ImageMetrics) -> dict[str, Any]:
    counts = image.at_threshold
    return {
        "ap": image.ap,
        "ap_trapezoid": image.ap_trapezoid,
        "auroc": image.auroc,
        "ap_interval": image.ap_interval,
        "auroc_interval": image.auroc_interval,
        "at_threshold": {
            "tp": counts.tp,
            "fp": counts.fp,
            "fn": counts.fn,
            "tn": counts.tn,
            "accuracy": counts.accuracy,
            "f1": counts.f1,
        },
        "best_f1_on_test": image.best_f1_on_test._asdict(),
    }


def _plain(value: Any, name: str, undefined: dict[str, str]) -> Any:
    """Replace each Metric and Interval by its value; collect the reasons under their dotted names."""
    if isinstance(value, dict):
        return {
            key: _plain(inner, f"{name}.{key}" if name else key, undefined) for key, inner in value.items()
        }
    if isinstance(value, Metric):
        if value.reason is not None:
            undefined[name] = value.reason
        return value.value
    if isinstance(value, Interval):
        if value.reason is not None:
            undefined[name] = value.reason
        return None if value.low is None else [value.low, value.high]
    return value


def _mean(metrics: dict[str, Metric]) -> Metric:
    for name, metric in metrics.items():
        if metric.value is None:
            return Metric(None, f"{name}: {metric.reason}")
    values = [metric.value for metric in metrics.values() if metric.value is not None]
    return Metric(math.fsum(values) / len(values)) if values else Metric(None, _NO_FOLDS)
