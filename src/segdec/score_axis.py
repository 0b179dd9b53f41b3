"""How scores are written and laid along an axis.

A network that is sure of itself puts whole data sets above 0.999, and still ranks them right: digits and axes
have to tell such scores apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCORE_EDGE = 1e-15
"""The logit of 0 and of 1 is infinite; float64 tells nothing closer to 1 apart."""


def score_text(score: float, decimals: int = 4) -> str:
    """Write a score or threshold with as many decimals as tell it from 0 and from 1.

    Parameters
    ----------
    score
        In [0, 1].
    decimals
        At least so many.

    Returns
    -------
    str

    Examples
    --------
    >>> score_text(0.58581), score_text(0.99995945), score_text(1 - 4e-9), score_text(1.0), score_text(3e-9)
    ('0.5858', '0.999959', '0.999999996', '1', '3e-09')
    """
    if score < 10.0**-decimals:
        return f"{score:.2g}"
    if score > 1 - 1e-16:
        return "1"
    return f"{score:.{max(decimals, 1 + math.ceil(-math.log10(1 - score)))}f}".rstrip("0")


def to_logit(scores: ArrayLike) -> NDArray[np.float64]:
    """Stretch scores close to 0 and to 1; those themselves go to the ends of float64.

    Parameters
    ----------
    scores
        In [0, 1], any shape.

    Returns
    -------
    ndarray
        log(score / (1 - score)), between -35 and 35.
    """
    inside = np.clip(np.asarray(scores, np.float64), SCORE_EDGE, 1 - SCORE_EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def above(score: float, threshold: float) -> float:
    """Return how far a score stands above a threshold on the scale of logits; below, it is negative.

    So models compare whose thresholds lie far apart: none has more than 0.00004 above 0.99996.

    Parameters
    ----------
    score, threshold
        In [0, 1].

    Returns
    -------
    float
        Between -70 and 70.

    Examples
    --------
    >>> round(above(0.999999, 0.99996), 2), round(above(0.8, 0.4), 2), round(above(0.0, 0.5), 2)
    (3.69, 1.79, -34.54)
    """
    return float(to_logit(score) - to_logit(threshold))


def between(lower: ArrayLike, upper: ArrayLike) -> NDArray[np.float64]:
    """Return thresholds midway between scores, on the scale of logits.

    There a network that is run in other numbers, or sees a little more light, moves its scores by similar
    steps everywhere. Midway between 0.9999 and 1 - 1e-9 in the scores themselves would be 0.99995: next to
    the former.

    Parameters
    ----------
    lower, upper
        Scores in [0, 1], any shape, ``lower`` <= ``upper``.

    Returns
    -------
    ndarray
        The same shape; above ``lower``, unless the two are equal, and at most ``upper``.

    Examples
    --------
    >>> float(between(0.2, 0.8)), score_text(float(between(0.9999, 1 - 1e-9)))
    (0.5, '0.99999968')
    """
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    middle = 1 / (1 + np.exp(-(to_logit(low) + to_logit(high)) / 2))
    return np.where((middle > low) & (middle < high), middle, high)  # neighbouring floats have no middle


def logit_edges(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the edges of 30 bins for a histogram of scores, of equal width in the logit.

    Parameters
    ----------
    scores
        In [0, 1].

    Returns
    -------
    ndarray
        (31,) rising scores; all scores lie between the first and the last.
    """
    logits = to_logit(scores)
    low, high = min(-3.0, float(logits.min()) - 0.1), max(3.0, float(logits.max()) + 0.1)
    return np.asarray(1 / (1 + np.exp(-np.linspace(low, high, 31))))


def logit_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return about seven round scores between two others, and how they are written.

    Parameters
    ----------
    low, high
        Scores, in (0, 1).

    Returns
    -------
    list of (float, str)

    Examples
    --------
    >>> [text for _, text in logit_ticks(0.005, 0.999999)]
    ['0.01', '0.5', '0.99', '1−10⁻⁴', '1−10⁻⁶']
    """
    deepest = max(-math.log10(max(low, SCORE_EDGE)), -math.log10(max(1 - high, SCORE_EDGE)))
    step = max(1, math.ceil(deepest / 4))
    powers = range(step, 16, step)
    below = [(10.0**-power, _tail_text(power, "")) for power in reversed(powers)]
    above = [(1 - 10.0**-power, _tail_text(power, "1−")) for power in powers]
    return [(value, text) for value, text in (*below, (0.5, "0.5"), *above) if low <= value <= high]


def _tail_text(power: int, before: str) -> str:
    if power > 3:
        return f"{before}10⁻" + str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{1 - 10.0**-power:.{power}f}" if before else f"{10.0**-power:.{power}f}"
