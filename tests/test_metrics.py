"""Every metric against scikit-learn and against a brute-force reading of its definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from segdec.metrics import (
    Confusion,
    Metric,
    auroc,
    average_precision,
    average_precision_trapezoid,
    confusion,
    precision_recall_curve,
    roc_curve,
)

ONE_CLASS = ([True, True], [False, False])


@st.composite
def labelled_scores(draw):
    """Labels of both classes; scores with few distinct values (ties) or many."""
    scores = draw(
        st.one_of(
            st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=12),
            st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12),
        )
    )
    labels = draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    if len(set(labels)) == 1:
        labels[0] = not labels[0]
    return labels, scores


def thresholds_of(scores):
    return sorted(set(scores), reverse=True)


def brute_points(labels, scores):
    """(precision, recall) at each distinct score, by counting."""
    points = []
    for threshold in thresholds_of(scores):
        called = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        points.append((sum(called) / len(called), sum(called) / sum(labels)))
    return points


@given(labelled_scores())
@settings(max_examples=60, deadline=None)
def test_average_precision(case):
    labels, scores = case
    brute = before = 0.0
    for precision, recall in brute_points(labels, scores):
        brute += (recall - before) * precision
        before = recall
    value = average_precision(labels, scores).value
    assert value == pytest.approx(brute)
    assert value == pytest.approx(reference.average_precision_score(labels, scores))


@given(labelled_scores())
@settings(max_examples=60, deadline=None)
def test_average_precision_trapezoid(case):
    labels, scores = case
    points = [(1.0, 0.0), *brute_points(labels, scores)]
    brute = sum((r1 - r0) * (p0 + p1) / 2 for (p0, r0), (p1, r1) in itertools.pairwise(points))
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    value = average_precision_trapezoid(labels, scores).value
    assert value == pytest.approx(brute)
    assert value == pytest.approx(reference.auc(recall, precision))


@given(labelled_scores())
@settings(max_examples=60, deadline=None)
def test_auroc(case):
    labels, scores = case
    defects = [score for label, score in zip(labels, scores, strict=True) if label]
    good = [score for label, score in zip(labels, scores, strict=True) if not label]
    wins = sum((d > g) + (d == g) / 2 for d in defects for g in good)
    value = auroc(labels, scores).value
    assert value == pytest.approx(wins / len(defects) / len(good))
    assert value == pytest.approx(reference.roc_auc_score(labels, scores))


@given(labelled_scores(), st.data())
@settings(max_examples=40, deadline=None)
def test_weights_count_as_repetitions(case, data):
    labels, scores = case
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)))
    times[labels.index(True)] = times[labels.index(False)] = 2
    repeated = np.repeat(labels, times), np.repeat(scores, times)
    for metric in (average_precision, auroc):
        assert metric(labels, scores, times).value == pytest.approx(metric(*repeated).value)
    for mine, plain in zip(roc_curve(labels, scores, times), roc_curve(*repeated), strict=True):
        np.testing.assert_allclose(mine, plain)


@given(labelled_scores())
@settings(max_examples=40, deadline=None)
def test_curves_are_those_of_scikit_learn(case):
    labels, scores = case
    curve = precision_recall_curve(labels, scores)
    precision, recall, thresholds = reference.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(curve.precision, precision[::-1])
    np.testing.assert_allclose(curve.recall, recall[::-1])
    np.testing.assert_allclose(curve.thresholds[1:], thresholds[::-1])
    roc = roc_curve(labels, scores)
    fpr, tpr, thresholds = reference.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.fpr, fpr)
    np.testing.assert_allclose(roc.tpr, tpr)
    np.testing.assert_allclose(roc.thresholds, thresholds)


@given(labelled_scores(), st.sampled_from([0.0, 0.25, 0.4, 1.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_confusion(case, threshold):
    labels, scores = case
    counts = confusion(labels, scores, threshold)
    called = [score >= threshold for score in scores]
    tn, fp, fn, tp = reference.confusion_matrix(labels, called, labels=[False, True]).ravel()
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (tp, fp, fn, tn)
    assert counts.accuracy.value == pytest.approx(reference.accuracy_score(labels, called))
    assert counts.f1.value == pytest.approx(reference.f1_score(labels, called, zero_division=0.0))
    assert counts.iou.value == pytest.approx(reference.jaccard_score(labels, called, zero_division=0.0))
    assert counts + counts == confusion(labels * 2, scores * 2, threshold)


def test_a_score_at_the_threshold_is_a_defect():
    assert confusion([True, False], [0.5, 0.5], 0.5) == Confusion(tp=1, fp=1, fn=0, tn=0)


def test_constant_scores_are_defined():
    labels, scores = [True, False, False, False], [0.3] * 4
    assert average_precision(labels, scores).value == 0.25
    assert average_precision_trapezoid(labels, scores).value == (1 + 0.25) / 2
    assert auroc(labels, scores).value == 0.5


@pytest.mark.parametrize("metric", [average_precision, average_precision_trapezoid, auroc])
def test_one_class_is_undefined_with_a_reason(metric):
    assert metric([True, True], [0.1, 0.9]) == Metric(None, "there is nothing without defect")
    assert metric([False, False], [0.1, 0.9]) == Metric(None, "there is no defect")
    assert metric([], []) == Metric(None, "there is no defect")


def test_confusion_of_nothing_is_undefined():
    nothing = Confusion(0, 0, 0, 0)
    for metric in (nothing.accuracy, nothing.f1, nothing.iou):
        assert metric.value is None
        assert metric.reason
    assert Confusion(0, 0, 0, 9).f1.value is None
    assert Confusion(0, 1, 0, 9).f1.value == 0


def test_curves_need_their_classes():
    for labels in ([False, False], []):
        with pytest.raises(ValueError, match="there is no defect"):
            precision_recall_curve(labels, [0.1, 0.9][: len(labels)])
    for labels in ONE_CLASS:
        with pytest.raises(ValueError, match="both classes"):
            roc_curve(labels, [0.1, 0.9])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "metric", [average_precision, average_precision_trapezoid, auroc, precision_recall_curve, roc_curve]
)
def test_scores_that_are_not_finite_are_refused(metric, wrong):
    with pytest.raises(ValueError, match=rf"finite, got {wrong} at position 1"):
        metric([True, False], [0.5, wrong])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"\(N,\) alike, got \(2,\) and \(1,\)"):
        auroc([True, False], [0.5])


def test_a_metric_is_a_value_or_a_reason():
    with pytest.raises(ValueError, match="a value or a reason"):
        Metric(None)
    with pytest.raises(ValueError, match="a value or a reason"):
        Metric(0.5, "both")
