"""The order of the list: doubt and contradiction first, no picture twice, the same list every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.errors import ConfigError
from segdec.suggest import Candidate, Measured, choose
from segdec.suggest.measure import centred, disagreement, uncertainty

SHARE = st.floats(0, 1)


def measured(name, score=0.5, peak=0.5, features=(0.0, 0.0), *, defective=False) -> Measured:
    candidate = Candidate(name, Path(name), defective)
    return Measured(candidate, score, 0.5, peak, 0.5, np.array(features, np.float64))


def spread(count: int, seed: int = 0) -> list[Measured]:
    """Candidates of all kinds, in no order."""
    random = np.random.default_rng(seed)
    return [
        measured(f"{place}.png", *random.random(2), random.normal(size=4), defective=place % 3 == 0)
        for place in range(count)
    ]


def names(found) -> list[str]:
    return [one.name for one in found]


# --- single images --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(SHARE, SHARE)
def test_doubt_is_greatest_at_the_threshold(score, threshold):
    assert 0 <= uncertainty(score, threshold) <= 1
    assert uncertainty(threshold, threshold) == 1
    assert uncertainty(score, threshold, defective=True) >= uncertainty(score, threshold) - 1e-12


def test_scores_of_a_network_that_is_sure_of_itself_are_told_apart():
    threshold, near, far = 1 - 4e-9, 1 - 3e-9, 1 - 4e-12
    assert uncertainty(near, threshold) > 0.8
    assert uncertainty(far, threshold) < 0.01


@settings(deadline=None)
@given(SHARE, SHARE, SHARE, SHARE)
def test_contradiction_is_a_share_and_symmetric(score, threshold, peak, pixel_threshold):
    found = disagreement(score, threshold, peak, pixel_threshold)
    assert 0 <= found <= 1
    assert found == disagreement(peak, pixel_threshold, score, threshold)
    assert disagreement(score, threshold, score, threshold) == 0


@settings(deadline=None)
@given(SHARE, SHARE, SHARE)
def test_a_higher_score_never_gets_lower_by_centring(one, other, threshold):
    low, high = sorted((one, other))
    assert centred(low, threshold) <= centred(high, threshold)


def test_a_sure_decision_that_the_score_map_contradicts_comes_before_one_that_it_bears_out():
    sure = [measured("a-good.png", 0.001, 0.001, (0, 1)), measured("b-defect.png", 0.999, 0.999, (1, 0))]
    contradicted = [
        measured("y-good.png", 0.001, 0.999, (0, -1)),
        measured("z-defect.png", 0.999, 0.001, (-1, 0)),
    ]
    found = choose([*sure, *contradicted], 4)
    assert set(names(found)[:2]) == {"y-good.png", "z-defect.png"}
    assert {one.why.split(" (")[0] for one in found[:2]} == {"called good", "called defective"}
    assert found[2].why.startswith("little to learn")


def test_where_the_label_is_known_the_score_map_is_held_against_it():
    missed = measured("missed.png", 0.999, 0.01, (0, 1), defective=True)
    seen = measured("seen.png", 0.999, 0.999, (1, 0), defective=True)
    passed = measured("passed.png", 0.01, 0.999, (1, 1), defective=True)
    found = choose([seen, missed, passed], 3)
    assert names(found)[-1] == "seen.png"
    why = {one.name: one.why for one in found}
    assert why["missed.png"].startswith("labelled defective, but the score map shows nothing")
    assert why["passed.png"].startswith("labelled defective, but called good")


# --- together -------------------------------------------------------------------------------------------


def test_near_duplicates_are_not_both_at_the_top():
    others = [measured(f"{place}.png", 0.5, 0.5, (place, -place)) for place in (2, 4, 8)]
    twins = [measured("a.png", 0.5, 0.5, (0.0, 3.0)), measured("a-copy.png", 0.5, 0.5, (0.0, 3.001))]
    found = choose([*twins, *others], 5)
    assert len({"a.png", "a-copy.png"} & set(names(found)[:4])) == 1
    assert found[-1].name in ("a.png", "a-copy.png")
    assert found[-1].novelty < 0.01
    assert "similar to a" in found[-1].why


def test_what_looks_like_an_image_with_a_mask_comes_late():
    pool = [measured("like.png", features=(1.0, 1.0)), measured("unlike.png", features=(-1.0, 1.0))]
    assert names(choose(pool, 2)) == ["like.png", "unlike.png"]
    found = choose(pool, 2, np.array([[1.0, 1.0]]))
    assert names(found) == ["unlike.png", "like.png"]
    assert found[-1].why.endswith("similar to an image with a mask")


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 5))
def test_no_image_twice_and_the_same_list_in_whatever_order_they_come(count, budget, seed):
    pool = spread(count, seed)
    found = choose(pool, budget)
    assert len(set(names(found))) == len(found) == min(count, budget)
    assert [one.rank for one in found] == list(range(1, len(found) + 1))
    assert choose(pool[::-1], budget) == found
    assert names(choose(pool, 1)) == names(found)[:1]
    gains = [one.gain for one in found]
    assert gains == sorted(gains, reverse=True), "nothing gains by what is chosen before it"


def test_a_budget_beyond_the_pool_takes_all_even_if_all_are_one_picture():
    pool = [measured(f"{place}.png") for place in range(5)]
    assert names(choose(pool, 99)) == [f"{place}.png" for place in range(5)]
    assert choose([], 3) == []


def test_a_feature_that_is_constant_but_for_rounding_decides_nothing():
    pool = [measured(f"{place}.png", features=(place, 1e-9 * (-1) ** place)) for place in range(4)]
    plain = [measured(f"{place}.png", features=(place, 0.0)) for place in range(4)]
    assert names(choose(pool, 4)) == names(choose(plain, 4))


def test_a_budget_below_1_is_refused():
    with pytest.raises(ConfigError, match="at least 1 image, got 0"):
        choose(spread(3), 0)
