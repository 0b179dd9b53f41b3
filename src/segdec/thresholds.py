"""Where a model that has just been trained puts its threshold; always on validation data, never on test.

`segdec.operating_point` puts it where the factory wants it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from segdec.errors import DataError
from segdec.score_axis import between, to_logit


def best_f1_threshold(labels: ArrayLike, scores: ArrayLike) -> float:
    """Choose the threshold with the highest F1, for decision = score >= threshold.

    It stands midway between the lowest score that counts as defect and the next lower score, on the
    scale of logits, so that small changes of a score do not change a decision. Among equally good places
    the one with the widest gap on that scale wins; among equally wide ones the highest. Where everything
    counts as defect, the next lower score is 0.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) in [0, 1], higher is more defective.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If one class is missing: any threshold beyond the scores would look perfect.
    ValueError
        If the arrays differ in length or a score is not in [0, 1].

    Examples
    --------
    >>> best_f1_threshold([False, False, True, True], [0.1, 0.3, 0.7, 0.9])
    0.5
    """
    truth, values = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise ValueError(f"labels and scores must be (N,) alike, got {truth.shape} and {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():  # no comparison with NaN is true
        raise ValueError("scores must be in [0, 1] to choose a threshold")
    defects = int(truth.sum())
    if defects in (0, truth.size):
        raise DataError(
            f"a threshold needs defective and good images, got {defects} defective and"
            f" {truth.size - defects} good; add images of the other kind"
        )
    # (K,) distinct scores from low to high; called[k] images reach distinct[k], tp[k] of them defective
    distinct, position = np.unique(values, return_inverse=True)
    called = np.cumsum(np.bincount(position)[::-1])[::-1]
    tp = np.cumsum(np.bincount(position[truth], minlength=len(distinct))[::-1])[::-1]
    # F1 = 2 TP / (2 TP + FP + FN) as one division of whole numbers, so that rounding breaks no tie
    f1 = 2 * tp / (called + defects)
    lower = np.append(0.0, distinct[:-1])
    gap = to_logit(distinct) - to_logit(lower)
    candidates = np.flatnonzero(f1 == f1.max())
    best = candidates[gap[candidates] == gap[candidates].max()][-1]
    return float(between(lower[best], distinct[best]))
