"""The threshold of best F1 against a search over all thresholds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from segdec.errors import DataError
from segdec.thresholds import best_f1_threshold


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])), min_size=1, max_size=12
    )
)
@settings(max_examples=60, deadline=None)
def test_no_threshold_has_a_higher_f1(pairs):
    pairs += [(True, 0.5), (False, 0.2)]
    labels, scores = map(np.array, zip(*pairs, strict=True))
    chosen = best_f1_threshold(labels, scores)
    f1 = f1_score(labels, scores >= chosen)
    assert f1 == pytest.approx(max(f1_score(labels, scores >= t, zero_division=0.0) for t in scores))
    # no score stands on the threshold unless everything counts as defect
    assert chosen not in scores or chosen == scores.min()


def test_separable_scores_are_parted_in_the_middle():
    assert best_f1_threshold([False, True, False, True], [0.1, 0.7, 0.3, 0.9]) == pytest.approx(0.5)


def test_the_widest_gap_wins_among_equals():
    # from the top: D, good, good, D, D. At 0.9: F1 = 2/(1 + 3); at 0.3 with four called: 4/(4 + 3);
    # all five: 6/(5 + 3) is best.
    assert best_f1_threshold([1, 0, 0, 1, 1], [0.9, 0.8, 0.7, 0.3, 0.2]) == pytest.approx(0.2)
    # D, good, D, good with F1 2/(1 + 2) = 2/3 at 0.9 and 4/(3 + 2) = 0.8 at 0.5
    assert best_f1_threshold([1, 0, 1, 0], [0.9, 0.6, 0.5, 0.1]) == pytest.approx(0.3)
    # D, good x 2, D, good: 2/(1 + 2) at 0.9 equals 4/(4 + 2) at 0.3; gaps 0.1 and 0.25
    assert best_f1_threshold([1, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.3, 0.05]) == pytest.approx(0.175)
    # the same with gaps 0.4 and 0.1
    assert best_f1_threshold([1, 0, 0, 1, 0], [0.9, 0.5, 0.4, 0.3, 0.2]) == pytest.approx(0.7)


def test_constant_scores_all_count_as_defect():
    assert best_f1_threshold([True, False], [0.4, 0.4]) == 0.4


def test_neighbouring_floats_stay_apart():
    low = 0.5
    high = np.nextafter(low, 1)
    threshold = best_f1_threshold([False, True], [low, high])
    assert low < threshold <= high


@pytest.mark.parametrize(
    ("labels", "counts"), [([1, 1], "2 defective and 0"), ([0], "0 defective and 1"), ([], "0")]
)
def test_one_class_has_no_threshold(labels, counts):
    with pytest.raises(DataError, match=counts):
        best_f1_threshold(labels, np.linspace(0.2, 0.8, len(labels)))


def test_scores_must_be_finite_and_as_many_as_labels():
    with pytest.raises(ValueError, match="finite"):
        best_f1_threshold([True, False], [0.1, float("nan")])
    with pytest.raises(ValueError, match="alike"):
        best_f1_threshold([True, False], [0.1])
