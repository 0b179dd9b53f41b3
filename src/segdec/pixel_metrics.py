"""How good score maps are: pixel-level metrics of a data set whose maps come one at a time.

No more than histograms is held, so a data set of any size fits in memory.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdec.metrics import Confusion, Metric, auroc, average_precision, roc_curve, trapezoid

FPR_LIMIT = 0.3
"""AUPRO is integrated up to this share of false positive pixels."""

SIZE_EDGES = (0, 64, 256, 1024, 4096, 16384)
"""The smallest area of each size class of `SizeRecall`, in pixels."""


class SizeRecall(NamedTuple):
    """How many defects of one size class are found.

    Attributes
    ----------
    min_area, max_area
        The class holds areas with min_area <= area < max_area, in pixels; None is without end.
    defects
        Number of defects (8-connected components of the masks).
    localised
        Of these, those with at least one pixel whose score reaches the pixel threshold.
    caught
        Of these, those in an image that is called defective, whatever in it raised the image's score:
        a small defect beside a large one may be caught without being localised.
    """

    min_area: int
    max_area: int | None
    defects: int
    localised: int
    caught: int


class PixelTally:
    """Counts from which the pixel-level metrics follow.

    The pixels are counted in a histogram of 2**16 bins, 1/1024 wide in logit(score) from -47 to 17, so
    that the resolution is relative at both ends: scores s closer than about 0.001 s (1 - s) may count
    as tied, and so may all below 1e-20. This is the only inexactness of ap, auroc and aupro; iou, dice
    and size_recall are exact.

    Parameters
    ----------
    threshold
        A pixel is called defective where its score >= threshold.

    Attributes
    ----------
    threshold
        As given; NaN after `merged` where the two differ.
    maps
        Number of score maps added.
    confusion
        Of all their pixels, at the threshold.

    Examples
    --------
    >>> tally = PixelTally(threshold=0.5)
    >>> score_map = np.array([[0.9, 0.2], [0.6, 0.1]], np.float32)
    >>> tally.add(score_map, np.array([[True, False], [False, False]]), caught=True)
    >>> tally.iou.value, tally.auroc.value
    (0.5, 1.0)
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.maps = 0
        self.confusion = Confusion(0, 0, 0, 0)
        self._defective = np.zeros(_BINS, np.int64)
        self._good = np.zeros(_BINS, np.int64)
        # Each defect weighs 1 here, spread over its pixels: the sum above a score is the overlap there,
        # summed over the defects, and no list of defects is needed.
        self._overlap = np.zeros(_BINS, np.float64)
        # (size classes, 3): defects, localised, caught
        self._sizes = np.zeros((len(SIZE_EDGES), 3), np.int64)
        self._largest: Counter[tuple[int, bool]] = Counter()

    def add(
        self,
        score_map: NDArray[np.float32],
        mask: NDArray[np.bool_],
        *,
        caught: bool,
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count the pixels and defects of one image.

        Parameters
        ----------
        score_map
            (H, W) in [0, 1].
        mask
            (H, W), True is defect; all False for an image without.
        caught
            Whether the image is called defective, for `SizeRecall`.
        known
            (H, W), False where nobody knows: these pixels do not count, and are False in the mask. None
            is True everywhere.

        Raises
        ------
        ValueError
            If the shapes differ or a score is not in [0, 1].
        """
        if score_map.ndim != 2 or score_map.shape != mask.shape:
            raise ValueError(
                f"score map and mask must be (H, W) alike, got {score_map.shape} and {mask.shape}"
            )
        # NaN fails the comparison too
        if score_map.size and not (score_map.min() >= 0 and score_map.max() <= 1):
            raise ValueError(
                f"a score map holds numbers in [0, 1], got {score_map.min()} to {score_map.max()}"
            )
        called = score_map >= self.threshold
        bins = _bins(score_map)
        self.maps += 1
        if known is None:
            known = np.ones_like(mask)
        self.confusion += Confusion.count(mask[known], called[known])
        self._good += np.bincount(bins[known & ~mask], minlength=_BINS)
        if mask.any():
            self._defective += np.bincount(bins[mask], minlength=_BINS)
            self._add_defects(bins, mask, called, caught)

    def merged(self, other: PixelTally) -> PixelTally:
        """Return the tally of both data sets; what each one's own threshold decided stays."""
        both = PixelTally(self.threshold if self.threshold == other.threshold else math.nan)
        both.maps = self.maps + other.maps
        both.confusion = self.confusion + other.confusion
        both._defective = self._defective + other._defective
        both._good = self._good + other._good
        both._overlap = self._overlap + other._overlap
        both._sizes = self._sizes + other._sizes
        both._largest = self._largest + other._largest
        return both

    @property
    def ap(self) -> Metric:
        """Step-wise average precision over all pixels."""
        return average_precision(*self._weighted(self._defective))

    @property
    def auroc(self) -> Metric:
        """Area under the ROC curve over all pixels."""
        return auroc(*self._weighted(self._defective))

    @property
    def iou(self) -> Metric:
        """Intersection over union at the threshold, of the pixels of all images together."""
        return self.confusion.iou

    @property
    def dice(self) -> Metric:
        """Dice coefficient at the threshold, of the pixels of all images together."""
        return self.confusion.f1

    @property
    def aupro(self) -> Metric:
        """Area under the per-region overlap up to a false positive rate of 0.3, divided by 0.3.

        The overlap is the share of a defect's pixels with a score >= threshold, averaged over all
        defects (8-connected components of the masks); the false positive rate is over all pixels
        outside the masks. Trapezoidal rule.
        """
        if self.auroc.value is None:
            return Metric(None, self.auroc.reason)
        fpr, overlap, _ = roc_curve(*self._weighted(self._overlap))
        inside = fpr <= FPR_LIMIT
        end = np.interp(FPR_LIMIT, fpr, overlap)
        area = trapezoid(np.append(fpr[inside], FPR_LIMIT), np.append(overlap[inside], end))
        return Metric(area / FPR_LIMIT)

    @property
    def size_recall(self) -> tuple[SizeRecall, ...]:
        """Found defects by size, smallest class first; classes without defects are there too."""
        limits = pairwise((*SIZE_EDGES, None))
        return tuple(
            SizeRecall(low or 0, high, *map(int, found))
            for (low, high), found in zip(limits, self._sizes, strict=True)
        )

    @property
    def largest(self) -> dict[tuple[int, bool], int]:
        """(area of an image's largest defect in pixels, image called defective) -> number of images."""
        return dict(sorted(self._largest.items()))

    def _weighted(
        self, positives: NDArray[np.int64] | NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
        """Labels, scores and weights that stand for all pixels; a bin's number serves as its score."""
        labels = np.repeat([True, False], _BINS)
        return labels, np.tile(np.arange(_BINS), 2), np.concatenate([positives, self._good])

    def _add_defects(
        self, bins: NDArray[np.int32], mask: NDArray[np.bool_], called: NDArray[np.bool_], caught: bool
    ) -> None:
        import cv2

        # regions: (H, W), 0 outside, 1 ... R in the defects
        count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        region = regions[mask] - 1
        areas = np.bincount(region)
        localised = np.bincount(regions[mask & called], minlength=count)[1:] > 0
        self._overlap += np.bincount(bins[mask], 1.0 / areas[region], minlength=_BINS)
        size_class = np.searchsorted(SIZE_EDGES, areas, side="right") - 1
        found = np.stack([np.ones_like(localised), localised, np.full_like(localised, caught)], axis=1)
        np.add.at(self._sizes, size_class, found)
        self._largest[int(areas.max()), bool(caught)] += 1


_BINS = 2**16
_BINS_PER_LOGIT = 1024
_LOWEST_LOGIT = -47


def _bins(score_map: NDArray[np.float32]) -> NDArray[np.int32]:
    # logit(1e-20) = -46.1; 1 - 2**-24 is the largest float32 below 1, with logit 16.6
    score = np.clip(score_map.astype(np.float32), np.float32(1e-20), np.float32(1 - 2**-24))
    logit = np.log(score) - np.log1p(-score)
    return ((logit - _LOWEST_LOGIT) * _BINS_PER_LOGIT).astype(np.int32)
