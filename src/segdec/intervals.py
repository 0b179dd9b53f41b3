"""How sure a figure is: exact intervals of shares, bootstrap intervals of everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segdec.errors import MissingExtraError

Figure: TypeAlias = Callable[[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], float | None]
"""A figure of labels, scores and weights, all (N,); None where it is not defined."""

Scored: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.float64], Sequence[str]]
"""Labels, scores and groups of images, each (N,)."""

_ROUNDING = 1e-9
"""A bound that is met to the last digit counts as met."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a figure lies, or the reason why nobody can say.

    Attributes
    ----------
    low, high
        The ends; None where there is no interval.
    reason
        Why there is none; None where there is one.
    """

    low: float | None
    high: float | None
    reason: str | None = None


def clopper_pearson(count: int, of: int, confidence: float = 0.95) -> Interval:
    """Exact two-sided interval of a share, from a number of independent cases.

    Parameters
    ----------
    count
        Cases that were counted, 0 to ``of``.
    of
        Cases in all, independent of one another.
    confidence
        In (0, 1). The interval holds the true share at least this often, whatever the share is.

    Returns
    -------
    Interval
        In [0, 1]; without cases there is none.

    Raises
    ------
    MissingExtraError
        If scipy is not installed.

    Notes
    -----
    Source: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
    case of the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> interval = clopper_pearson(1, 20)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.0013, 0.2487)
    """
    if not of:
        return Interval(None, None, "there is nothing to count")
    one_side = (1 + confidence) / 2
    return Interval(1 - upper_bound(of - count, of, one_side), upper_bound(count, of, one_side))


def upper_bound(count: int, of: int, confidence: float) -> float:
    """Exact one-sided upper bound of a share (Clopper-Pearson).

    Parameters
    ----------
    count, of
        Cases that were counted, and independent cases in all.
    confidence
        In (0, 1). The true share lies at or below the bound at least this often.

    Returns
    -------
    float
        The share at which ``count`` cases or fewer would come with probability 1 - confidence; in (0, 1].

    Raises
    ------
    MissingExtraError
        If scipy is not installed.

    Examples
    --------
    >>> round(upper_bound(0, 53, 0.95), 4)
    0.055
    """
    return float(_special().betaincinv(count + 1, of - count, confidence)) if count < of else 1.0


def largest_count(share: float, of: int, confidence: float) -> int | None:
    """Return how many cases may be counted while `upper_bound` stays at or below a share.

    Parameters
    ----------
    share
        In (0, 1).
    of
        Independent cases in all, at least 1.
    confidence
        In (0, 1).

    Returns
    -------
    int or None
        None where even 0 is too many: there are too few cases.

    Raises
    ------
    MissingExtraError
        If scipy is not installed.

    Examples
    --------
    >>> largest_count(0.01, 298, 0.95), largest_count(0.01, 299, 0.95), largest_count(0.05, 299, 0.95)
    (None, 0, 8)
    """
    chances = _special().bdtr(np.arange(of), of, share)  # of k counted or fewer, rising
    allowed = int(np.count_nonzero(chances <= (1 - confidence) * (1 + _ROUNDING)))
    return allowed - 1 if allowed else None


def cases_needed(share: float, confidence: float) -> int:
    """Return how many independent cases, none of them counted, support a share.

    Parameters
    ----------
    share
        In (0, 1).
    confidence
        In (0, 1).

    Returns
    -------
    int

    Examples
    --------
    >>> cases_needed(0.01, 0.95)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-share) * (1 - _ROUNDING))


def round_up(share: float) -> float:
    """Round a bound up to two digits, so that it still is one.

    Parameters
    ----------
    share
        Above 0.

    Examples
    --------
    >>> round_up(0.05496), round_up(0.01), round_up(0.123)
    (0.055, 0.01, 0.13)
    """
    digits = 1 - math.floor(math.log10(share))
    return float(round(math.ceil(share * 10**digits - _ROUNDING) / 10**digits, digits))


def percent(share: float, *, exact: bool = False) -> str:
    """Write a share as a percentage.

    Parameters
    ----------
    share
        In [0, 1].
    exact
        True for what somebody asked for: up to six digits. Else there are three, two below 1 %, and four from
        99 % on, where 99.95 % is not all.

    Examples
    --------
    >>> [percent(share) for share in (0.00431, 0.125, 0.5, 0.9995)]
    ['0.43 %', '12.5 %', '50 %', '99.95 %']
    >>> percent(0.01234), percent(0.01234, exact=True)
    ('1.23 %', '1.234 %')
    """
    digits = 6 if exact else 2 if share < 0.01 else 3 if share < 0.99 else 4
    return f"{100 * share:.{digits}g} %"


def bootstrap(
    labels: NDArray[np.bool_],
    scores: NDArray[np.float64],
    groups: Sequence[str],
    figure: Figure,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Percentile interval of a figure, by drawing groups anew: defective and good ones apart.

    Whole groups are drawn with replacement, as images of one item are not independent, and as many with
    a defect and without as there are. The interval is approximate, unlike an exact one.

    Parameters
    ----------
    labels, scores
        (N,).
    groups
        (N,) the item of each image.
    figure
        What is to be known.
    seed
        Decides what is drawn.
    confidence
        In (0, 1).
    resamples
        How often is drawn.

    Returns
    -------
    Interval
        None where the figure is undefined, a single group holds all defects or all good images, or no draw
        changes the figure (as an AP of 1): the data then do not show how far it may vary.

    Notes
    -----
    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 8 and 13.

    Examples
    --------
    >>> labels, scores = np.arange(8) % 2 == 0, np.array([9.0, 1, 8, 7, 6, 5, 4, 3])
    >>> mean = lambda labels, scores, weights: float(np.average(scores, weights=weights))
    >>> interval = bootstrap(labels, scores, list("aabbccdd"), mean)
    >>> interval.low < 5.375 < interval.high
    True
    """
    found = _draw((labels, scores, groups), figure, np.random.default_rng(seed), resamples)
    return Interval(None, None, found) if isinstance(found, str) else _between(found, confidence)


def bootstrap_mean(
    folds: Mapping[str, Scored],
    figure: Figure,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Percentile interval of a figure's mean over folds: within each fold groups are drawn as by `bootstrap`.

    So it says how far the mean may vary with the items that judge these models, not with those that teach.

    Parameters
    ----------
    folds
        Name -> labels, scores and groups. No item stands in two.
    figure, seed, confidence, resamples
        As of `bootstrap`.

    Returns
    -------
    Interval
        None where a fold has none, unless it is only that no draw changes the fold's figure (as an AP of 1).

    Examples
    --------
    >>> labels, mean = np.arange(8) % 2 == 0, lambda labels, scores, weights: float(scores @ weights / 8)
    >>> folds = {name: (labels, np.arange(8.0) + add, list("abcdefgh")) for name, add in (("0", 0), ("1", 5))}
    >>> interval = bootstrap_mean(folds, mean)
    >>> interval.low < 6 < interval.high
    True
    """
    random, drawn = np.random.default_rng(seed), []
    for name, fold in folds.items():
        found = _draw(fold, figure, random, resamples)
        if isinstance(found, str):
            return Interval(None, None, f"{name}: {found}")
        drawn.append(found)
    return _between(np.mean(drawn, axis=0), confidence)


def _draw(
    scored: Scored, figure: Figure, random: np.random.Generator, resamples: int
) -> NDArray[np.float64] | str:
    """Return the figure of each draw, NaN where it is not defined, or the reason why there is no interval."""
    labels, scores, groups = scored
    names, position = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if figure(labels, scores, np.ones(len(scores))) is None:
        return "the figure itself is undefined"
    defective = np.bincount(position, labels, minlength=len(names)) > 0
    strata = [np.flatnonzero(each) for each in (defective, ~defective) if each.any()]
    if min(len(stratum) for stratum in strata) < 2:
        return "a single item shows no spread"
    drawn = np.full(resamples, np.nan)
    for place in range(resamples):
        times = np.zeros(len(names))  # how often each group is drawn
        for stratum in strata:
            times[stratum] = random.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)))
        value = figure(labels, scores, times[position])
        if value is not None:
            drawn[place] = value
    return drawn


def _between(drawn: NDArray[np.float64], confidence: float) -> Interval:
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    if high - low < _ROUNDING:
        return Interval(None, None, "it is the same however the items are drawn, so they show no spread")
    return Interval(float(low), float(high))


def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise MissingExtraError(
            "intervals and bounds need scipy, which is not installed; pip install 'segdec[train]'"
        ) from error
    return special
