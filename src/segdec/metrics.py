"""How good scores are: metrics of labels and scores, exact, ties included, with numpy alone.

A metric that is not defined on the data at hand is None with a reason, never 0. The same functions
serve images and, by way of weights, the pixel histograms of `segdec.pixel_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure, or the reason why there is none.

    Attributes
    ----------
    value
        The figure; None where it is not defined.
    reason
        Why it is not defined; None where it is.

    Examples
    --------
    >>> Metric(0.5)
    Metric(value=0.5, reason=None)
    >>> Metric(None, "there is no defect").value is None
    True
    """

    value: float | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"a metric has a value or a reason, got {self.value!r} and {self.reason!r}")


@dataclass(frozen=True, slots=True)
class Confusion:
    """Right and wrong decisions, of images or pixels.

    Attributes
    ----------
    tp, fp, fn, tn
        Defective and called so, good but called defective (overkill), defective but passed (escape),
        good and passed.

    Examples
    --------
    >>> Confusion(tp=3, fp=1, fn=2, tn=4).accuracy.value
    0.7
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @classmethod
    def count(cls, truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> Confusion:
        """Count two boolean arrays of one shape, True is defect: the truth and the decisions."""
        tp = int(np.count_nonzero(truth & called))
        defects, calls = int(np.count_nonzero(truth)), int(np.count_nonzero(called))
        return cls(tp, calls - tp, defects - tp, truth.size - defects - calls + tp)

    @property
    def accuracy(self) -> Metric:
        """Share of right decisions."""
        return _share(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn, "there is nothing to decide")

    @property
    def f1(self) -> Metric:
        """Harmonic mean of precision and recall; of pixels it is also called Dice."""
        return self._of_defects(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> Metric:
        """Intersection over union of the defects and what is called defective."""
        return self._of_defects(self.tp, self.tp + self.fp + self.fn)

    def _of_defects(self, part: int, whole: int) -> Metric:
        # without a defect the quotient would be 0 or 0 / 0 by chance of a single false call
        return _share(part, whole if self.tp + self.fn else 0, _NO_DEFECT)


class PrecisionRecall(NamedTuple):
    """Precision and recall at each distinct score as threshold, highest first, after the point (1, 0)."""

    precision: Floats
    recall: Floats
    thresholds: Floats


class Roc(NamedTuple):
    """False and true positive rate at each distinct score as threshold, highest first, after (0, 0)."""

    fpr: Floats
    tpr: Floats
    thresholds: Floats


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Average precision as a sum of steps: sum over thresholds of (R_n - R_{n-1}) P_n.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) finite numbers, higher is more defective.
    weights
        (N,) how often each counts, >= 0; None counts each once.

    Returns
    -------
    Metric
        In (0, 1], as scikit-learn's ``average_precision_score``, but None where one class is missing:
        with defects alone any scores would give 1.

    Raises
    ------
    ValueError
        If the arrays differ in length or a score is not finite.

    Examples
    --------
    >>> average_precision([True, False, True], [0.9, 0.8, 0.7]).value
    0.8333333333333333
    """
    tally = _tally(labels, scores, weights)
    if missing := _missing_class(tally):
        return missing
    curve = _precision_recall(tally)
    return Metric(float(np.sum(np.diff(curve.recall) * curve.precision[1:])))


def average_precision_trapezoid(labels: ArrayLike, scores: ArrayLike) -> Metric:
    """Area under the precision-recall curve by the trapezoidal rule, as the reference computes it.

    No classifier reaches the straight lines between the points of this curve, so the figure flatters
    (constant scores on a set with half defects get 0.75); it serves for comparison with the paper.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) finite numbers, higher is more defective.

    Returns
    -------
    Metric
        In [0, 1], as scikit-learn's ``auc(recall, precision)``; None where one class is missing.

    Raises
    ------
    ValueError
        If the arrays differ in length or a score is not finite.

    Examples
    --------
    >>> round(average_precision_trapezoid([True, False, True], [0.9, 0.8, 0.7]).value, 4)
    0.7917
    """
    tally = _tally(labels, scores, None)
    if missing := _missing_class(tally):
        return missing
    curve = _precision_recall(tally)
    return Metric(trapezoid(curve.recall, curve.precision))


def auroc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Metric:
    """Area under the ROC curve: the chance that a defect outscores a good one, a tie counting half.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) finite numbers, higher is more defective.
    weights
        (N,) how often each counts, >= 0; None counts each once.

    Returns
    -------
    Metric
        In [0, 1]; None where one class is missing.

    Raises
    ------
    ValueError
        If the arrays differ in length or a score is not finite.

    Examples
    --------
    >>> auroc([True, False, True], [0.9, 0.8, 0.8]).value
    0.75
    """
    tally = _tally(labels, scores, weights)
    if missing := _missing_class(tally):
        return missing
    curve = _roc(tally)
    return Metric(trapezoid(curve.fpr, curve.tpr))


def confusion(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Confusion:
    """Count right and wrong decisions at a threshold.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) finite numbers.
    threshold
        decision = score >= threshold.

    Returns
    -------
    Confusion

    Raises
    ------
    ValueError
        If the arrays differ in length or a score is not finite.

    Examples
    --------
    >>> confusion([True, False, True], [0.9, 0.8, 0.7], threshold=0.8)
    Confusion(tp=1, fp=1, fn=1, tn=0)
    """
    truth, values = _checked(labels, scores)
    return Confusion.count(truth, values >= threshold)


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> PrecisionRecall:
    """Compute the precision-recall curve.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect; at least one.
    scores
        (N,) finite numbers, higher is more defective.

    Returns
    -------
    PrecisionRecall
        (K + 1,) arrays for K distinct scores; the threshold of the first point is infinite.

    Raises
    ------
    ValueError
        If the arrays differ in length, a score is not finite or there is no defect.

    Examples
    --------
    >>> precision_recall_curve([True, False, True], [0.9, 0.8, 0.7]).recall.tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    tally = _tally(labels, scores, None)
    if not tally.defective.size or not tally.defective.sum():
        raise ValueError(f"a precision-recall curve needs a defect, but {_NO_DEFECT}")
    return _precision_recall(tally)


def roc_curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Roc:
    """Compute the receiver operating characteristic.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect; both values occur.
    scores
        (N,) finite numbers, higher is more defective.
    weights
        (N,) how often each counts, >= 0; None counts each once.

    Returns
    -------
    Roc
        (K + 1,) arrays for K distinct scores; the threshold of the first point is infinite.

    Raises
    ------
    ValueError
        If the arrays differ in length, a score is not finite or a class is missing.

    Examples
    --------
    >>> roc_curve([True, False, True], [0.9, 0.8, 0.7]).fpr.tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    tally = _tally(labels, scores, weights)
    if missing := _missing_class(tally):
        raise ValueError(f"a ROC curve needs both classes, but {missing.reason}")
    return _roc(tally)


def trapezoid(x: Floats, y: Floats) -> float:
    """Area under the straight lines through points with rising x.

    Examples
    --------
    >>> trapezoid(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 2.0]))
    5.0
    """
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


_NO_DEFECT = "there is no defect"


class _Tally(NamedTuple):
    """Weight of the defective and of the good at each distinct score, highest first; all (K,)."""

    thresholds: Floats
    defective: Floats
    good: Floats


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    truth, values = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(f"labels and scores must be (N,) alike, got {truth.shape} and {values.shape}")
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ValueError(f"scores must be finite, got {values[wrong[0]]} at position {wrong[0]}")
    return truth, values


def _tally(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> _Tally:
    truth, values = _checked(labels, scores)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    # what weighs nothing is left out: it would make points without precision
    truth, values, weight = truth[weight > 0], values[weight > 0], weight[weight > 0]
    distinct, position = np.unique(values, return_inverse=True)
    defective: Floats = np.bincount(position, weight * truth, minlength=len(distinct)).astype(np.float64)
    good: Floats = np.bincount(position, weight * ~truth, minlength=len(distinct)).astype(np.float64)
    return _Tally(distinct[::-1], defective[::-1], good[::-1])


def _missing_class(tally: _Tally) -> Metric | None:
    if not tally.defective.any():
        return Metric(None, _NO_DEFECT)
    if not tally.good.any():
        return Metric(None, "there is nothing without defect")
    return None


def _precision_recall(tally: _Tally) -> PrecisionRecall:
    precision = np.cumsum(tally.defective) / np.cumsum(tally.defective + tally.good)
    return PrecisionRecall(np.append(1.0, precision), _rate(tally.defective), _from_infinity(tally))


def _roc(tally: _Tally) -> Roc:
    return Roc(_rate(tally.good), _rate(tally.defective), _from_infinity(tally))


def _rate(weights: Floats) -> Floats:
    """(K,) -> (K + 1,), the share of the sum so far, from 0 to 1."""
    total = np.append(0.0, np.cumsum(weights))
    rate: Floats = total / total[-1]
    return rate


def _from_infinity(tally: _Tally) -> Floats:
    return np.append(np.inf, tally.thresholds)


def _share(part: int, whole: int, reason: str) -> Metric:
    return Metric(part / whole) if whole else Metric(None, reason)
