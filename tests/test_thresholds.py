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


def sigmoid(logit):
    return float(1 / (1 + np.exp(-logit)))


def test_separable_scores_are_parted_in_the_middle_of_their_logits():
    assert best_f1_threshold([False, True, False, True], [0.1, 0.7, 0.3, 0.9]) == pytest.approx(0.5)
    # a model that is sure of itself: 0.9999 is good, 1 - 1e-9 is not
    low, high = 1 - 1e-4, 1 - 1e-9
    middle = sigmoid((np.log(low / 1e-4) + np.log(high / 1e-9)) / 2)
    assert best_f1_threshold([False, True], [low, high]) == pytest.approx(middle, abs=1e-9)
    assert 1 - middle < 1e-6


def test_the_widest_gap_wins_among_equals():
    # from the top: D, good, good, D, D. At 0.9: F1 = 2/(1 + 3); at 0.3 with four called: 4/(4 + 3);
    # all five: 6/(5 + 3) is best, and the next lower score is 0
    assert 0 < best_f1_threshold([1, 0, 0, 1, 1], [0.9, 0.8, 0.7, 0.3, 0.2]) < 1e-6
    # D, good, D, good with F1 2/(1 + 2) = 2/3 at 0.9 and 4/(3 + 2) = 0.8 at 0.7
    assert best_f1_threshold([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.3]) == pytest.approx(0.5)
    # D, good x 2, D, good: 2/(1 + 2) at 0.9 equals 4/(4 + 2) at 0.6; the second gap is wider
    assert best_f1_threshold([1, 0, 0, 1, 0], [0.9, 0.85, 0.8, 0.6, 0.4]) == pytest.approx(0.5)
    # the same with the first gap wider
    assert best_f1_threshold([1, 0, 0, 1, 0], [0.8, 0.2, 0.15, 0.1, 0.09]) == pytest.approx(0.5)
    # and by their logits, where the wider gap in the scores is the second
    labels, scores = [1, 0, 0, 1, 0], [1 - 1e-9, 0.99, 0.9, 0.7, 0.5]
    assert 0.99 < best_f1_threshold(labels, scores) < 1 - 1e-9


def test_constant_scores_all_count_as_defect():
    assert 0 < best_f1_threshold([True, False], [0.4, 0.4]) < 0.4
    assert best_f1_threshold([True, False], [0.0, 0.0]) == 0


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


def test_scores_must_be_scores_and_as_many_as_labels():
    for wrong in (float("nan"), 1.1, -0.1):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            best_f1_threshold([True, False], [0.1, wrong])
    with pytest.raises(ValueError, match="alike"):
        best_f1_threshold([True, False], [0.1])
