"""A POD curve is found again from data drawn from it, and refused where the data show none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.pod import fit_pod


def drawn(intercept, slope, count, seed):
    random = np.random.default_rng(seed)
    sizes = np.sort(np.exp(random.uniform(np.log(5), np.log(500), count)))
    hits = random.random(count) < 1 / (1 + np.exp(-(intercept + slope * np.log(sizes))))
    return sizes, hits.astype(np.int64), (~hits).astype(np.int64)


def test_a_known_curve_is_recovered_and_its_interval_holds_it():
    pod, reason = fit_pod(*drawn(-6.0, 1.5, 20_000, 0))

    assert reason is None
    assert pod.intercept == pytest.approx(-6.0, abs=0.2)
    assert pod.slope == pytest.approx(1.5, abs=0.05)
    assert pod.size_at(0.9) == pytest.approx(np.exp((np.log(9) + 6) / 1.5), rel=0.05)


def test_the_fit_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    sizes, hits, misses = drawn(-4.0, 1.2, 150, 1)

    pod, _ = fit_pod(sizes, hits, misses)
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(np.log(sizes)[:, None], hits)

    assert pod.slope == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert pod.intercept == pytest.approx(reference.intercept_[0], rel=1e-3)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    size, truth = np.array([60.0]), 1 / (1 + np.exp(-(-4 + np.log(60.0))))
    held = below = 0
    for seed in range(300):
        pod, _ = fit_pod(*drawn(-4.0, 1.0, 120, seed))
        _, low, high = pod.at(size)
        held += low[0] <= truth <= high[0]
        below += pod.safe_size_at(0.8) is None or pod.safe_size_at(0.8) >= np.exp(4 + np.log(4))

    assert 0.92 <= held / 300 <= 0.98
    assert 0.90 <= below / 300 <= 0.99


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_data_give_a_finite_curve_or_a_reason(rows):
    by_size = {size: (hits, misses) for size, hits, misses in rows}
    sizes = np.array(sorted(by_size), np.float64)
    hits, misses = (np.array([by_size[int(size)][which] for size in sizes]) for which in (0, 1))

    pod, reason = fit_pod(sizes, hits, misses)

    assert (pod is None) != (reason is None)
    if pod is not None:
        middle, low, high = pod.at(np.array([0.5, 5.0, 50.0]))
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert np.isfinite(high).all()


@pytest.mark.parametrize(
    ("hits", "misses", "reason"),
    [
        ([2, 2], [2, 2], "8 defective images have a mask"),
        ([20, 20], [0, 0], "0 defective images are missed"),
        ([1, 1], [20, 20], "2 defective images are found"),
        ([0, 20], [20, 0], "no size is both found and missed"),
    ],
)
def test_too_little_is_refused_with_the_reason(hits, misses, reason):
    pod, why = fit_pod(np.array([10.0, 40.0]), np.array(hits), np.array(misses))

    assert pod is None
    assert why.startswith(reason)


def test_no_size_is_named_where_larger_defects_are_found_less_often():
    pod, _ = fit_pod(np.array([10.0, 40.0]), np.array([15, 5]), np.array([5, 15]))

    assert pod.slope < 0
    assert pod.size_at(0.9) is None
    assert pod.safe_size_at(0.9) is None
