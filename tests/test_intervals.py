"""Exact intervals against scipy's own, the bootstrap against what it must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from segdec.intervals import (
    bootstrap,
    bootstrap_mean,
    cases_needed,
    clopper_pearson,
    largest_count,
    upper_bound,
)
from segdec.metrics import auroc, average_precision

CONFIDENCES = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.999])


def ap(labels, scores, weights):
    return average_precision(labels, scores, weights).value


def area(labels, scores, weights):
    return auroc(labels, scores, weights).value


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 60), more=st.integers(0, 400), confidence=CONFIDENCES)
def test_shares_as_scipy_has_them(count, more, confidence):
    of = count + more
    interval = clopper_pearson(count, of, confidence)
    if not of:
        assert (interval.low, interval.high, interval.reason) == (None, None, "there is nothing to count")
        return
    expected = binomtest(count, of).proportion_ci(confidence, "exact")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    one_sided = binomtest(count, of, alternative="less").proportion_ci(confidence, "exact")
    assert upper_bound(count, of, confidence) == pytest.approx(one_sided.high, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.002, 0.9), of=st.integers(1, 900), confidence=CONFIDENCES)
def test_the_largest_count_is_the_last_that_is_bounded(share, of, confidence):
    count = largest_count(share, of, confidence)
    if count is not None:
        assert upper_bound(count, of, confidence) <= share + 1e-9
    following = 0 if count is None else count + 1
    assert upper_bound(following, of, confidence) > share - 1e-9
    assert (count is None) == (of < cases_needed(share, confidence))


@pytest.mark.parametrize("truth", [0.01, 0.2])
def test_intervals_hold_the_truth_as_often_as_they_say(truth):
    counts = np.arange(81)
    chance = binom.pmf(counts, 80, truth)
    held = [i.low <= truth <= i.high for i in (clopper_pearson(int(count), 80) for count in counts)]
    assert np.sum(chance * held) >= 0.95


def draw(seed, items=60, views=1):
    """Scores of items whose views agree: defective ones 1 higher in the mean, a third of all."""
    random = np.random.default_rng(seed)
    defective = np.arange(items) < items // 3
    scores = random.normal(defective, 1.0)
    groups = np.repeat([str(item) for item in range(items)], views)
    return np.repeat(defective, views), np.repeat(scores, views), groups.tolist()


def test_the_bootstrap_holds_the_truth_about_as_often_as_it_says():
    truth = 0.7602  # AUROC of two normal distributions one standard deviation apart: Phi(1 / sqrt 2)
    intervals = [bootstrap(*draw(seed), area, resamples=150) for seed in range(120)]
    held = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.86 <= held <= 1


def test_views_of_one_item_make_no_interval_narrower():
    one, five = bootstrap(*draw(0), area), bootstrap(*draw(0, views=5), area)
    assert (one.low, one.high) == pytest.approx((five.low, five.high))
    labels, scores, _ = draw(0, views=5)
    alone = bootstrap(labels, scores, [str(i) for i in range(len(labels))], area)
    assert alone.high - alone.low < 0.7 * (five.high - five.low)


def test_the_seed_decides():
    assert bootstrap(*draw(0), ap, seed=3) == bootstrap(*draw(0), ap, seed=3)
    assert bootstrap(*draw(0), ap, seed=3) != bootstrap(*draw(0), ap, seed=4)


def test_the_mean_of_one_fold_is_that_fold():
    assert bootstrap_mean({"a": draw(0)}, area, resamples=100) == bootstrap(*draw(0), area, resamples=100)


def test_the_mean_of_folds_holds_the_truth_about_as_often_as_it_says():
    truth, names = 0.7602, "abc"
    rounds = [{name: draw(3 * seed + k) for k, name in enumerate(names)} for seed in range(100)]
    intervals = [bootstrap_mean(folds, area, resamples=150) for folds in rounds]
    held = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.86 <= held <= 1
    # three independent folds: narrower than one by about the root of 3, on average
    alone = [bootstrap(*folds["a"], area, resamples=150) for folds in rounds]
    one, three = (np.mean([each.high - each.low for each in found]) for found in (alone, intervals))
    assert 0.8 < one / three / 3**0.5 < 1.2


def test_items_are_drawn_within_their_fold_and_class():
    drawn = []

    def spy(labels, scores, weights):
        drawn.append((len(labels), weights[labels].sum(), weights[~labels].sum()))
        return float(np.average(scores, weights=weights))

    small, large = draw(0, items=9), draw(1, items=30, views=2)
    bootstrap_mean({"small": small, "large": large}, spy, resamples=20)
    assert len(drawn) == 2 * 21  # each fold as it is, too
    assert set(drawn) == {(9, 3, 6), (60, 20, 40)}


def test_a_fold_without_an_interval_leaves_none_to_the_mean():
    alone = np.array([True, False, False]), np.array([3.0, 2.0, 4.0]), list("abc")
    interval = bootstrap_mean({"fold 0": draw(0), "fold 1": alone}, ap)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "fold 1: a single item shows no spread"


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([1, 1, 0, 0], [4, 3, 2, 1], "they show no spread"),
        ([1, 0, 0, 0], [2, 3, 2, 1], "a single item shows no spread"),
        ([0, 0], [2, 3], "the figure itself is undefined"),
    ],
)
def test_where_there_is_no_spread_there_is_no_interval(labels, scores, reason):
    names = [str(place) for place in range(len(labels))]
    interval = bootstrap(np.array(labels, bool), np.array(scores, float), names, ap)
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason is not None
    assert reason in interval.reason
