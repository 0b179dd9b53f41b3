"""Where the factory puts its thresholds: a bound on escapes or overkill is kept, or the cost is low.

The bounds are exact and assume no distribution.

*Theorem.* Let S_(1) <= ... <= S_(n) be the ordered scores of n defective items, drawn independently
from the distribution of those to come, and R(t) = P(S < t) the escape rate at threshold t. For a k
that does not depend on the scores, R(S_(k+1)) > r happens with a probability of at most
P(Bin(n, r) <= k), whatever the distribution, ties included.

*Proof.* Let q be the supremum of the t with R(t) <= r; R(q) <= r as R is continuous from the left.
So R(S_(k+1)) > r means S_(k+1) > q: at most k of n items are <= q, each of which is with a
probability of at least r.

*Use.* k is the largest number with P(Bin(n, max_escape) <= k) <= 1 - confidence, a function of n and
the wish alone. R rises with t, so the bound holds for **every** threshold with at most k misses,
however it was picked among those. Overkill is the mirror image. A rate that the wish leaves open has a
bound that holds at all thresholds at once (one for each of the n order statistics, each at
1 - (1 - confidence) / n), so that picking a threshold by it takes nothing away; the cost takes half of
1 - confidence from either class.

*Assumptions.* Items are independent of one another; images of one item need not be. The items to
come are like these: same product, same defects in the same mix, same camera and light, same model.
Bounds speak of the process, not of the next hundred items, and each holds by itself with the
confidence, not all of them together.

Source: S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 12
(1941); V. Vovk, "Conditional validity of inductive conformal predictors", ACML 2012; as a
test of nested hypotheses in fixed sequence: A. Angelopoulos et al., "Learn then Test",
arXiv:2110.01052.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segdec.errors import DataError, UnsupportedError
from segdec.intervals import cases_needed, largest_count, percent, round_up, upper_bound
from segdec.items import Items
from segdec.score_axis import between, score_text
from segdec.wish import Wish, option

_ROUNDING = 1e-12  # a budget that is met to the last digit counts as met


@dataclass(frozen=True, slots=True)
class Bounded:
    """A rate that was counted, and what it is at most.

    Attributes
    ----------
    count, of
        Wrong decisions among the items of one class.
    bound
        Upper bound of the rate in production, at the wish's confidence.
    """

    count: int
    of: int
    bound: float


class OperatingPoint(NamedTuple):
    """Thresholds, and what they promise.

    Attributes
    ----------
    threshold
        From here on a score is a defect.
    review_threshold
        From here on, below ``threshold``, a person decides; None where nobody needs to.
    escapes
        Defective items below both thresholds.
    overkill
        Good items at or above ``threshold``.
    review_share
        Share of all items between the thresholds, as counted: it is no bound.
    cost, cost_bound
        Expected cost of an item, as counted and at most; None where no cost was given.
    """

    threshold: float
    review_threshold: float | None
    escapes: Bounded
    overkill: Bounded
    review_share: float
    cost: float | None = None
    cost_bound: float | None = None


def choose_thresholds(items: Items, wish: Wish) -> OperatingPoint:
    """Choose the threshold, or the two thresholds, that a wish asks for.

    A wish for one rate leaves the other as low as possible. A wish for both rates, where one threshold
    cannot serve both, sends what lies between to review. A review budget is spent on lowering what the
    wish leaves open. Thresholds stand midway between the scores of neighbouring items, on the
    scale of logits.

    Parameters
    ----------
    items
        Scores in [0, 1] of items that took part neither in training nor in any choice.
    wish
        What is asked for.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    UnsupportedError
        If the items are too few for the wish, with all that is lacking and what they do support.
    DataError
        If items of one class are missing.
    ValueError
        If a score is no number in [0, 1].
    MissingExtraError
        If scipy is not installed.

    Examples
    --------
    >>> items = Items(np.linspace(0.4, 0.9, 60), np.linspace(0.0, 0.5, 60))
    >>> point = choose_thresholds(items, Wish(max_escape=0.1))
    >>> point.escapes.count, round(point.escapes.bound, 3), point.overkill.count
    (1, 0.077, 11)
    """
    _check(items)
    cuts = _cut(items, wish.defect_rate)
    lacks = [lack for rate in (_ESCAPE, _OVERKILL) if (lack := _lack(rate, items, cuts, wish))]
    offer = _without(wish, lacks)
    if offer is None:
        raise _refusal(lacks)
    point = _choose(items, cuts, offer)
    if offer.review_budget is not None and point.review_share > offer.review_budget + _ROUNDING:
        share = round_up(point.review_share)
        lacks.append(_over_budget(share, offer.review_budget, "the supported" if lacks else "these"))
        offer = replace(offer, review_budget=share)  # two rates leave no choice that it changes
    if lacks:
        raise _refusal(lacks, offer, point)
    return point


def _choose(items: Items, cuts: _Cuts, wish: Wish) -> OperatingPoint:
    """Choose by a wish whose rates are supported; its budget may be exceeded where it has both."""
    n, m = len(items.defective), len(items.good)
    most_misses = None if wish.max_escape is None else largest_count(wish.max_escape, n, wish.confidence)
    most_alarms = None if wish.max_overkill is None else largest_count(wish.max_overkill, m, wish.confidence)
    low, high = _pair(cuts, most_alarms, wish)
    misses, alarms, review = cuts.misses[low], cuts.alarms[high], cuts.below[high] - cuts.below[low]
    fits = np.ones(len(low), np.bool_)
    if most_misses is not None:
        fits &= misses <= most_misses
    if most_alarms is not None:
        fits &= alarms <= most_alarms
    order = np.lexsort(_priorities(misses / n, alarms / m, review, wish)[::-1])  # its last key comes first
    best = order[fits[order]][0]
    i, j = low[best], high[best]
    missed, alarmed = int(cuts.misses[i]), int(cuts.alarms[j])
    half = (1 + wish.confidence) / 2
    return OperatingPoint(
        threshold=float(cuts.thresholds[j]),
        review_threshold=float(cuts.thresholds[i]) if i < j else None,
        escapes=Bounded(missed, n, _bound(missed, n, most_misses, wish.confidence)),
        overkill=Bounded(alarmed, m, _bound(alarmed, m, most_alarms, wish.confidence)),
        review_share=float(review[best]),
        cost=wish.expected_cost(missed / n, alarmed / m),
        cost_bound=wish.expected_cost(_bound(missed, n, None, half), _bound(alarmed, m, None, half)),
    )


class _Cuts(NamedTuple):
    """All ways to part the items by a threshold, from low to high; each (K,).

    ``below`` is the share of all items under the threshold.
    """

    thresholds: NDArray[np.float64]
    misses: NDArray[np.intp]
    alarms: NDArray[np.intp]
    below: NDArray[np.float64]


def _cut(items: Items, defect_rate: float | None) -> _Cuts:
    n, m = len(items.defective), len(items.good)
    scores = np.unique(np.concatenate([items.defective, items.good]))
    lower, upper = np.append(0.0, scores), np.append(scores, 1.0)
    thresholds = between(lower, upper)
    if scores[-1] == 1:
        thresholds = thresholds[:-1]  # no threshold stands above a score of 1
    misses = np.searchsorted(np.sort(items.defective), thresholds)
    passed = np.searchsorted(np.sort(items.good), thresholds)
    rate = n / (n + m) if defect_rate is None else defect_rate
    return _Cuts(thresholds, misses, m - passed, rate * misses / n + (1 - rate) * passed / m)


def _pair(cuts: _Cuts, most_alarms: int | None, wish: Wish) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of each cut as the lower threshold, and of the upper one that goes with it."""

    def first(most: ArrayLike) -> NDArray[np.intp]:
        """Return the place of the lowest cut with at most so many alarms."""
        return np.searchsorted(-cuts.alarms, -np.asarray(most))

    low = np.arange(len(cuts.thresholds))
    if most_alarms is not None and wish.max_escape is not None:
        return low, np.maximum(low, first(most_alarms))
    if not wish.review_budget:
        return low, low
    budget = wish.review_budget + _ROUNDING
    furthest = np.searchsorted(cuts.below, cuts.below + budget, "right") - 1
    return low, np.maximum(low, first(cuts.alarms[furthest]))  # nearer, with as few alarms


def _priorities(
    misses: NDArray[np.float64], alarms: NDArray[np.float64], review: NDArray[np.float64], wish: Wish
) -> tuple[NDArray[np.float64], ...]:
    """Return what is to be low among the pairs that fit, the most important first."""
    cost = wish.expected_cost(misses, alarms)
    if cost is not None:
        return cost, misses, review
    if wish.max_escape is None:
        return misses, alarms, review
    if wish.max_overkill is None:
        return alarms, misses, review
    return review, misses, alarms


class _Rate(NamedTuple):
    """One of the two kinds of wrong decisions, in words."""

    wish: str
    name: str
    wrong: str
    kind: str


_ESCAPE = _Rate("max_escape", "escape rate", "miss", "defective")
_OVERKILL = _Rate("max_overkill", "overkill rate", "false alarm", "good")


class _Lack(NamedTuple):
    """A part of a wish that the items do not support: how that is told, and how much of it they do."""

    part: str
    text: str
    supported: float | None
    needed: int | None = None


def _lack(rate: _Rate, items: Items, cuts: _Cuts, wish: Wish) -> _Lack | None:
    """Return what is lacking for a wished rate, None where nothing is."""
    limit = getattr(wish, rate.wish)
    if limit is None:
        return None
    escape = rate is _ESCAPE
    of = len(items.defective if escape else items.good)
    fewest = int((cuts.misses if escape else cuts.alarms).min())  # alarms: good items with a score of 1
    allowed = largest_count(limit, of, wish.confidence)
    if allowed is not None and allowed >= fewest:
        return None
    seen = f"{_several(fewest, rate.wrong)} on {_several(of, f'{rate.kind} part')}"
    sure = f"at {percent(wish.confidence, exact=True)} confidence"
    needed = cases_needed(limit, wish.confidence)
    needs = f"for {percent(limit, exact=True)} you need {needed} {rate.kind} parts without a {rate.wrong}"
    supported = round_up(upper_bound(fewest, of, wish.confidence))
    if supported < 1:
        text = f"{seen} support an {rate.name} of at most {percent(supported)} {sure}; {needs}"
        return _Lack(rate.wish, text, supported, needed)
    if fewest:
        seen += ", at any threshold,"
        needs = "the model cannot tell them apart: train it anew, or with other data"
    return _Lack(rate.wish, f"{seen} support no {rate.name} {sure}; {needs}", None, needed)


def _over_budget(share: float, budget: float, rates: str) -> _Lack:
    text = (
        f"{rates} rates leave {percent(share)} of the parts to review, more than the budget of"
        f" {percent(budget, exact=True)}; allow more of them, or higher rates"
    )
    return _Lack("review_budget", text, share)


def _without(wish: Wish, lacks: Sequence[_Lack]) -> Wish | None:
    """Return a wish with as much as is supported of each rate that lacks; None where no rate is left."""
    supported = {lack.part: lack.supported for lack in lacks}
    escape = supported.get("max_escape", wish.max_escape)
    overkill = supported.get("max_overkill", wish.max_overkill)
    if lacks and escape is None and overkill is None:
        return None
    return replace(wish, max_escape=escape, max_overkill=overkill)


def _refusal(
    lacks: Sequence[_Lack], offer: Wish | None = None, point: OperatingPoint | None = None
) -> UnsupportedError:
    """Name all that is not supported, and the wish that is, with what comes of it."""
    text, first = "; and ".join(lack.text for lack in lacks), lacks[0]
    if offer is None or point is None:
        return UnsupportedError(text, needed=first.needed)
    parts = " ".join(f"{option(name)} {value}" for name, value in offer.given().items())
    return UnsupportedError(
        f"{text}; what can be had now is {parts}, with {_outcome(offer, point)}",
        supported=first.supported,
        threshold=point.threshold,
        needed=first.needed,
        offer=offer.given() | {"confidence": offer.confidence},
    )


def _outcome(wish: Wish, point: OperatingPoint) -> str:
    threshold = f"the threshold {score_text(point.threshold)}"
    misses = f"{_several(point.escapes.count, 'miss')} on {point.escapes.of}"
    alarms = f"{_several(point.overkill.count, 'false alarm')} on {point.overkill.of}"
    if point.review_threshold is not None:
        review = score_text(point.review_threshold)
        share = f"{percent(point.review_share)} of the parts to review"
        return f"{threshold}, review from {review}, {misses}, {alarms} and {share}"
    may_review = wish.review_budget is not None or None not in (wish.max_escape, wish.max_overkill)
    return f"{threshold}, {misses} and {alarms} parts{', none to review' if may_review else ''}"


def _bound(count: int, of: int, allowed: int | None, confidence: float) -> float:
    """Bound a rate: by the number allowed beforehand, or else at all thresholds at once."""
    if allowed is not None:
        return upper_bound(allowed, of, confidence)
    return upper_bound(count, of, 1 - (1 - confidence) / of)


def refuse_one_class(items: Items) -> None:
    """Refuse items of one class only; their scores do not matter.

    Parameters
    ----------
    items
        Defective and good ones.

    Raises
    ------
    DataError
        If one class is missing.
    """
    n, m = len(items.defective), len(items.good)
    if not (n and m):
        raise DataError(
            f"thresholds are chosen on defective and good parts, got {n} defective and {m} good; add"
            " the other kind, or, where a group is defective as soon as one of its images is, leave the"
            " groups out"
        )


def _check(items: Items) -> None:
    refuse_one_class(items)
    scores = np.concatenate(items)
    if not ((scores >= 0) & (scores <= 1)).all():  # NaN fails too
        raise ValueError(f"scores must lie in [0, 1], got {scores[~((scores >= 0) & (scores <= 1))][0]}")


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}{'es' if what.endswith('s') else 's'}"
