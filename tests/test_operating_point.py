"""Promises are kept as often as promised, and are not needlessly loose."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from segdec.errors import DataError, UnsupportedError
from segdec.intervals import largest_count, upper_bound
from segdec.items import Items, score_items
from segdec.operating_point import OperatingPoint, choose_thresholds
from segdec.wish import Wish

ROUNDS = 2000
CONFIDENCE = 0.9


def passes(threshold: float) -> float:
    """Return the true escape rate where the scores of defective items are uniform in [0, 1]."""
    return threshold


def rejects(threshold: float) -> float:
    """Return the true overkill rate where the scores of good items are uniform in [0, 0.5]."""
    return max(0.0, 1 - 2 * threshold)


def draw(seed: int, n: int = 130, m: int = 200) -> Items:
    random = np.random.default_rng(seed)
    return Items(random.uniform(0, 1, n), random.uniform(0, 0.5, m))


def spread(chance: float) -> float:
    """Return how far a frequency over the rounds may lie off by chance: 4 standard deviations."""
    return 4 * math.sqrt(chance * (1 - chance) / ROUNDS)


def calibrate_often(wish: Wish, **sizes: int) -> list[OperatingPoint]:
    return [choose_thresholds(draw(seed, **sizes), wish) for seed in range(ROUNDS)]


# --- simulation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.05, 0.1])
def test_escapes_break_the_bound_as_often_as_promised(limit: float) -> None:
    points = calibrate_often(Wish(max_escape=limit, confidence=CONFIDENCE))
    broken = np.mean([passes(point.threshold) > limit for point in points])
    allowed = largest_count(limit, 130, CONFIDENCE)
    promised = binom.cdf(allowed, 130, limit)
    assert promised <= 1 - CONFIDENCE
    assert broken <= promised + spread(promised)
    # one more miss would break the promise; and what is promised is used, but for the gap between scores
    assert binom.cdf(allowed + 1, 130, limit) > 1 - CONFIDENCE
    assert broken >= 0.7 * promised - spread(promised)


def test_overkill_breaks_the_bound_as_often_as_promised() -> None:
    points = calibrate_often(Wish(max_overkill=0.05, confidence=CONFIDENCE))
    broken = np.mean([rejects(point.threshold) > 0.05 for point in points])
    promised = binom.cdf(largest_count(0.05, 200, CONFIDENCE), 200, 0.05)
    assert 0.7 * promised - spread(promised) <= broken <= promised + spread(promised)


def test_two_thresholds_keep_both_bounds() -> None:
    points = calibrate_often(Wish(max_escape=0.06, max_overkill=0.04, confidence=CONFIDENCE))
    assert all(point.review_threshold is not None for point in points)
    escapes = np.mean([passes(point.review_threshold or 0) > 0.06 for point in points])
    overkill = np.mean([rejects(point.threshold) > 0.04 for point in points])
    assert max(escapes, overkill) <= 1 - CONFIDENCE + spread(1 - CONFIDENCE)


@pytest.mark.parametrize(
    "wish",
    [
        Wish(max_escape=0.1, review_budget=0.1, confidence=CONFIDENCE),
        Wish(max_overkill=0.1, confidence=CONFIDENCE),
        Wish(cost_escape=20, cost_overkill=3, defect_rate=0.1, confidence=CONFIDENCE),
        Wish(cost_escape=20, cost_overkill=3, defect_rate=0.1, review_budget=0.1, confidence=CONFIDENCE),
    ],
)
def test_a_rate_that_was_left_open_keeps_its_bound_too(wish: Wish) -> None:
    points = calibrate_often(wish)
    true = [(passes(point.review_threshold or point.threshold), rejects(point.threshold)) for point in points]
    tolerated = 1 - CONFIDENCE + spread(1 - CONFIDENCE)
    assert np.mean([e > p.escapes.bound for (e, _), p in zip(true, points, strict=True)]) <= tolerated
    assert np.mean([o > p.overkill.bound for (_, o), p in zip(true, points, strict=True)]) <= tolerated
    if wish.cost_escape is not None:
        broken = np.mean(
            [wish.expected_cost(e, o) > p.cost_bound for (e, o), p in zip(true, points, strict=True)]
        )
        assert broken <= tolerated
        # the bound of a threshold that was not chosen is lower, but not by far
        plain = upper_bound(points[0].escapes.count, 130, CONFIDENCE)
        assert points[0].escapes.bound < 2 * plain + 0.05


def test_a_threshold_that_was_lucky_in_the_data_keeps_its_bound() -> None:
    # scores that tell nothing: the cost is lowest where the data happen to hold few misses
    wish = Wish(cost_escape=1, cost_overkill=1, defect_rate=0.5, confidence=CONFIDENCE)
    broken, naive = 0, 0
    for seed in range(ROUNDS):
        random = np.random.default_rng(seed)
        point = choose_thresholds(Items(random.uniform(0, 1, 60), random.uniform(0, 1, 60)), wish)
        broken += point.threshold > point.escapes.bound
        naive += point.threshold > upper_bound(point.escapes.count, 60, CONFIDENCE)
    assert broken / ROUNDS <= 1 - CONFIDENCE + spread(1 - CONFIDENCE)
    assert naive / ROUNDS > 1.5 * (1 - CONFIDENCE)  # what it would be to ignore the choice


def test_coarse_scores_break_no_bound() -> None:
    limit, broken = 0.1, 0
    for seed in range(ROUNDS):
        items = draw(seed)
        coarse = Items(np.floor(items.defective * 20) / 20, np.floor(items.good * 20) / 20)
        threshold = choose_thresholds(coarse, Wish(max_escape=limit, confidence=CONFIDENCE)).threshold
        broken += (
            math.ceil(threshold * 20 - 1e-9) / 20 > limit + 1e-9
        )  # of scores 0, 0.05, ... those below it
    assert broken / ROUNDS <= 1 - CONFIDENCE + spread(1 - CONFIDENCE)


def test_images_of_one_item_count_once() -> None:
    limit, views = 0.1, 5
    by_item, by_image = 0, 0
    for seed in range(ROUNDS):
        items, random = draw(seed, n=60, m=100), np.random.default_rng(seed + ROUNDS)
        # each item is seen five times, with next to the same score
        scores = np.repeat(np.concatenate(items), views) - random.uniform(0, 1e-6, 160 * views)
        scores = np.clip(scores, 0, 1)
        labels = np.repeat(np.arange(160) < 60, views)
        for grouped in (True, False):
            groups = [str(i // views if grouped else i) for i in range(len(labels))]
            wish = Wish(max_escape=limit, confidence=CONFIDENCE)
            threshold = choose_thresholds(score_items(labels, scores, groups), wish).threshold
            broken = passes(threshold) > limit + 1e-6
            by_item, by_image = by_item + (grouped and broken), by_image + (not grouped and broken)
    assert by_item / ROUNDS <= 1 - CONFIDENCE + spread(1 - CONFIDENCE)
    assert by_image / ROUNDS > 2 * (1 - CONFIDENCE)  # what it would be to count images


# --- the choice -----------------------------------------------------------------------------------------

SCORES = st.sampled_from([0.0, 0.1, 0.15, 0.3, 0.5, 0.7, 0.9, 1.0])


@settings(max_examples=100, deadline=None)
@given(
    defective=st.lists(SCORES, min_size=1, max_size=9),
    good=st.lists(SCORES.filter(lambda s: s < 1), min_size=1, max_size=9),
    limit=st.sampled_from([0.2, 0.4, 0.7]),
    kind=st.sampled_from(["max_escape", "max_overkill", "cost"]),
)
def test_no_threshold_serves_the_wish_better(
    defective: list[float], good: list[float], limit: float, kind: str
) -> None:
    items = Items(np.array(defective), np.array(good))
    costs = {"cost_escape": 1.0, "cost_overkill": limit, "defect_rate": 0.3}
    wish = Wish(**(costs if kind == "cost" else {kind: limit}), confidence=0.7)
    few = len(defective if kind == "max_escape" else good)
    too_few = (1 - limit) ** few > 0.3 + 1e-9
    if kind != "cost" and too_few:
        with pytest.raises(UnsupportedError) as caught:
            choose_thresholds(items, wish)
        needed = caught.value.needed
        assert needed is not None
        assert (1 - limit) ** needed <= 0.3 + 1e-9 < (1 - limit) ** (needed - 1) + 2e-9
        return
    point = choose_thresholds(items, wish)
    distinct = sorted({*defective, *good})
    places = [0.0, *(low + 0.01 for low, _ in pairwise(distinct)), *([0.999] if max(distinct) < 1 else [])]
    found = [(int(np.sum(items.defective < t)), int(np.sum(items.good >= t))) for t in places]
    chosen = (point.escapes.count, point.overkill.count)
    assert chosen == (
        int(np.sum(items.defective < point.threshold)),
        int(np.sum(items.good >= point.threshold)),
    )
    if kind == "cost":
        best = min(wish.expected_cost(e / len(defective), o / len(good)) or 0.0 for e, o in found)
        assert point.cost == pytest.approx(best)
        return
    side = 0 if kind == "max_escape" else 1
    allowed = largest_count(limit, len(defective if side == 0 else good), 0.7)
    assert allowed is not None
    assert (chosen[1 - side], chosen[side]) == min(
        (f[1 - side], f[side]) for f in found if f[side] <= allowed
    )


def test_a_threshold_stands_between_scores() -> None:
    point = choose_thresholds(
        Items(np.linspace(0.7, 0.9, 30), np.linspace(0.1, 0.3, 30)), Wish(max_escape=0.1)
    )
    assert point.threshold == pytest.approx(0.5)
    assert (point.escapes.count, point.overkill.count, point.review_threshold) == (0, 0, None)
    assert point.escapes.bound == pytest.approx(1 - 0.05 ** (1 / 30))


def test_scores_that_cannot_be_parted_stay_together() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    point = choose_thresholds(Items(np.full(30, high), np.full(30, low)), Wish(max_escape=0.1))
    assert point.threshold == high


def test_one_threshold_serves_both_rates_where_it_can() -> None:
    items = Items(np.linspace(0.4, 0.9, 60), np.linspace(0.1, 0.5, 60))
    point = choose_thresholds(items, Wish(max_escape=0.2, max_overkill=0.3))
    assert point.review_threshold is None
    assert point.review_share == 0


def test_what_neither_rate_allows_goes_to_review() -> None:
    items = Items(np.linspace(0.3, 0.9, 61), np.linspace(0.0, 0.6, 61))
    point = choose_thresholds(items, Wish(max_escape=0.1, max_overkill=0.1))
    assert point.review_threshold is not None
    assert (point.escapes.count, point.overkill.count) == (largest_count(0.1, 61, 0.95),) * 2
    inside = [(s >= point.review_threshold) & (s < point.threshold) for s in items]
    assert point.review_share == pytest.approx(np.concatenate(inside).mean())
    weighted = choose_thresholds(items, Wish(max_escape=0.1, max_overkill=0.1, defect_rate=0.01))
    assert weighted.threshold == point.threshold
    assert weighted.review_share == pytest.approx(0.01 * inside[0].mean() + 0.99 * inside[1].mean())


@pytest.mark.parametrize("wish", [{"max_escape": 0.1}, {"max_overkill": 0.1}])
def test_a_budget_is_kept_and_serves_what_is_left_open(wish: dict[str, float]) -> None:
    items = draw(0)
    plain = choose_thresholds(items, Wish(**wish))
    spent = choose_thresholds(items, Wish(**wish, review_budget=0.1))
    assert 0 < spent.review_share <= 0.1
    rate = "overkill" if "max_escape" in wish else "escapes"
    assert getattr(spent, rate).count < getattr(plain, rate).count
    assert choose_thresholds(items, Wish(**wish, review_budget=0)) == plain


def test_a_budget_makes_the_cost_lower() -> None:
    costs: dict[str, Any] = {"cost_escape": 20, "cost_overkill": 3, "defect_rate": 0.1}
    plain, spent = (choose_thresholds(draw(0), Wish(**costs, review_budget=b)) for b in (None, 0.1))
    assert plain.review_threshold is None
    assert spent.cost < plain.cost
    assert spent.review_share <= 0.1


# --- refusals -------------------------------------------------------------------------------------------


def test_too_few_parts_are_named_with_what_they_support() -> None:
    items = Items(np.linspace(0.4, 0.9, 53), np.linspace(0.1, 0.5, 100))
    with pytest.raises(UnsupportedError) as caught:
        choose_thresholds(items, Wish(max_escape=0.01))
    assert str(caught.value).startswith(
        "0 misses on 53 defective parts support an escape rate of at most 5.5 % at 95 % confidence;"
        " for 1 % you need 299 defective parts without a miss; what can be had now is --max-escape 0.055,"
    )
    assert (caught.value.supported, caught.value.needed) == (0.055, 299)
    offered = choose_thresholds(items, Wish(max_escape=0.055))
    assert offered.threshold == caught.value.threshold


# 31 defective and 29 good parts whose scores overlap
FEW = Items(np.linspace(0.2, 0.9, 31), np.linspace(0.1, 0.6, 29))


def refuse(items: Items, **wish: float) -> UnsupportedError:
    """Return the refusal of a wish; what it offers must be had, and where it says."""
    with pytest.raises(UnsupportedError) as caught:
        choose_thresholds(items, Wish(**wish))
    error = caught.value
    if error.offer is not None:
        assert choose_thresholds(items, Wish(**error.offer)).threshold == error.threshold
    return error


def test_what_the_data_support_of_a_wish_stays_in_the_offer() -> None:
    error = refuse(FEW, max_escape=0.2, max_overkill=0.01)
    # no false alarm on 29 good parts: 1 - 0.05 ** (1 / 29) = 0.0981; of 31 defective ones 2 may be missed,
    # as 20 % escapes would let 2 or fewer happen with a chance of 0.0374; 3 with 0.1070
    assert str(error) == (
        "0 false alarms on 29 good parts support an overkill rate of at most 9.9 % at 95 % confidence; for"
        " 1 % you need 299 good parts without a false alarm; what can be had now is --max-escape 0.2"
        " --max-overkill 0.099, with the threshold 0.61, review from 0.2448, 2 misses on 31, 0 false alarms"
        " on 29 and 60 % of the parts to review"
    )
    assert error.offer == {"max_escape": 0.2, "max_overkill": 0.099, "confidence": 0.95}
    assert (error.supported, error.needed) == (0.099, 299)


def test_every_part_of_a_wish_that_is_not_supported_is_named() -> None:
    error = refuse(FEW, max_escape=0.01, max_overkill=0.02)
    for told in (
        "0 misses on 31 defective parts support an escape rate of at most 9.3 % at 95 % confidence; for 1 %"
        " you need 299 defective parts without a miss",
        "; and 0 false alarms on 29 good parts support an overkill rate of at most 9.9 % at 95 % confidence;"
        " for 2 % you need 149 good parts without a false alarm",
        "; what can be had now is --max-escape 0.093 --max-overkill 0.099, with the threshold ",
    ):
        assert told in str(error)
    assert (error.supported, error.needed) == (0.093, 299)  # of the first

    error = refuse(FEW, max_escape=0.2, max_overkill=0.01, review_budget=0.02, defect_rate=0.01)
    for told in (
        "for 1 % you need 299 good parts without a false alarm; and the supported rates leave 69 % of the"
        " parts to review, more than the budget of 2 %; allow more of them, or higher rates; what can be had"
        " now is"
        " --max-escape 0.2 --max-overkill 0.099 --defect-rate 0.01 --review-budget 0.69, with",
        " and 68.8 % of the parts to review",
    ):
        assert told in str(error)


def test_an_offer_keeps_budget_and_defect_rate() -> None:
    error = refuse(FEW, max_escape=0.01, review_budget=0.1, defect_rate=0.02, confidence=0.9)
    rest = {"review_budget": 0.1, "defect_rate": 0.02, "confidence": 0.9}
    assert error.offer == {"max_escape": 0.072, **rest}
    point = choose_thresholds(FEW, Wish(**error.offer))
    assert point.review_threshold is not None
    assert f"review from {point.review_threshold:.4f}, 0 misses on 31, " in str(error)
    assert "--max-escape 0.072 --defect-rate 0.02 --review-budget 0.1, with the threshold" in str(error)


def test_an_offer_that_needs_no_review_says_so() -> None:
    apart = Items(np.linspace(0.7, 0.9, 31), np.linspace(0.1, 0.3, 29))
    error = refuse(apart, max_escape=0.2, max_overkill=0.01)
    assert str(error).endswith("threshold 0.5, 0 misses on 31 and 0 false alarms on 29 parts, none to review")
    error = refuse(apart, max_overkill=0.01)
    assert str(error).endswith("threshold 0.5, 0 misses on 31 and 0 false alarms on 29 parts")


def test_what_cannot_be_had_at_all_leaves_the_rest_of_the_offer() -> None:
    items = Items(FEW.defective, np.ones(29))
    error = refuse(items, max_escape=0.2, max_overkill=0.3, review_budget=0.1)
    assert "29 false alarms on 29 good parts, at any threshold, support no overkill rate" in str(error)
    assert error.offer == {"max_escape": 0.2, "review_budget": 0.1, "confidence": 0.95}
    assert error.supported is None
    error = refuse(items, max_overkill=0.3)
    assert (error.offer, error.threshold) == (None, None)


def test_too_few_parts_for_any_rate_are_not_taken_for_a_bad_model() -> None:
    error = refuse(Items(np.array([0.9]), np.zeros(29)), max_escape=0.2, confidence=0.999)
    assert str(error) == (
        "0 misses on 1 defective part support no escape rate at 99.9 % confidence; for 20 % you need 31"
        " defective parts without a miss"
    )


@settings(max_examples=100, deadline=None)
@given(
    defective=st.lists(SCORES, min_size=1, max_size=9),
    good=st.lists(SCORES, min_size=1, max_size=9),
    rates=st.tuples(*[st.sampled_from([None, 0.1, 0.4, 0.7])] * 2).filter(any),
    budget=st.sampled_from([None, 0.0, 0.2]),
)
def test_whatever_is_offered_can_be_had(
    defective: list[float], good: list[float], rates: tuple[float | None, ...], budget: float | None
) -> None:
    wish = {"max_escape": rates[0], "max_overkill": rates[1], "review_budget": budget, "confidence": 0.7}
    asked = {name: value for name, value in wish.items() if value is not None}
    items = Items(np.array(defective), np.array(good))
    try:
        choose_thresholds(items, Wish(**asked))
    except UnsupportedError:
        error = refuse(items, **asked)
        if error.offer is not None:
            assert all(error.offer[name] >= asked[name] for name in error.offer)
            assert error.offer != asked


def test_good_parts_with_the_highest_score() -> None:
    with pytest.raises(UnsupportedError, match="2 false alarms on 60 good parts support an overkill rate"):
        choose_thresholds(Items(np.ones(60), np.append(np.zeros(58), [1, 1])), Wish(max_overkill=0.05))
    with pytest.raises(UnsupportedError, match="at any threshold, support no overkill rate") as caught:
        choose_thresholds(Items(np.ones(60), np.ones(60)), Wish(max_overkill=0.5))
    assert caught.value.supported is None


def test_a_budget_that_does_not_suffice() -> None:
    items = Items(np.linspace(0.3, 0.9, 61), np.linspace(0.0, 0.6, 61))
    with pytest.raises(
        UnsupportedError, match=r"leave .* of the parts to review, more than the budget of 5 %"
    ) as c:
        choose_thresholds(items, Wish(max_escape=0.1, max_overkill=0.1, review_budget=0.05))
    assert c.value.supported is not None
    wish = Wish(max_escape=0.1, max_overkill=0.1, review_budget=c.value.supported)
    assert choose_thresholds(items, wish).threshold == c.value.threshold


def test_items_that_cannot_be_used() -> None:
    with pytest.raises(DataError, match="got 0 defective and 2 good; add the other kind"):
        choose_thresholds(Items(np.array([]), np.array([0.1, 0.2])), Wish(max_overkill=0.1))
    with pytest.raises(ValueError, match="got nan"):
        choose_thresholds(Items(np.array([np.nan]), np.array([0.1, 0.2])), Wish(max_overkill=0.1))
