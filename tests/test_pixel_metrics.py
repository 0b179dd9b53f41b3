"""Pixel metrics against scikit-learn and brute force over all pixels at once."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn import metrics as reference

from segdec.metrics import Metric
from segdec.pixel_metrics import PixelTally, SizeRecall

THRESHOLD = 0.5


def make_maps(seed, sizes=((9, 7), (5, 12), (8, 8)), levels=None):
    """Score maps of several sizes with masks of a few blobs; scores are higher inside."""
    rng = np.random.default_rng(seed)
    for size in sizes:
        mask = ndimage.binary_dilation(rng.random(size) > 0.93)
        score_map = np.clip(rng.random(size) * 0.7 + 0.3 * mask, 0, 1)
        if levels:
            score_map = np.round(score_map * levels) / levels
        yield score_map.astype(np.float32), mask


def tally_of(maps, threshold=THRESHOLD):
    tally = PixelTally(threshold)
    for score_map, mask in maps:
        tally.add(score_map, mask, caught=True)
    return tally


def flat(maps):
    masks = np.concatenate([mask.ravel() for _, mask in maps])
    return masks, np.concatenate([score_map.ravel() for score_map, _ in maps])


def brute_aupro(maps, limit=0.3):
    """Overlap over false positive rate, every distinct score a threshold, cut at the limit."""
    masks, scores = flat(maps)
    points = [(0.0, 0.0)]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        overlaps = []
        for score_map, mask in maps:
            regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
            overlaps += [(score_map[regions == r] >= threshold).mean() for r in range(1, count + 1)]
        points.append(((scores[~masks] >= threshold).mean(), np.mean(overlaps)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        elif x0 < limit:
            y_end = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + y_end) / 2
    return area / limit


@given(st.integers(0, 10_000), st.sampled_from([3, 20]))
@settings(max_examples=15, deadline=None)
def test_scores_on_a_grid_are_exact(seed, levels):
    maps = list(make_maps(seed, levels=levels))
    masks, scores = flat(maps)
    tally = tally_of(maps)
    if not masks.any():
        assert tally.ap == Metric(None, "there is no defect")
        return
    assert tally.ap.value == pytest.approx(reference.average_precision_score(masks, scores))
    assert tally.auroc.value == pytest.approx(reference.roc_auc_score(masks, scores))
    assert tally.aupro.value == pytest.approx(brute_aupro(maps))
    called = scores >= THRESHOLD
    assert tally.iou.value == pytest.approx(reference.jaccard_score(masks, called, zero_division=0.0))
    assert tally.dice.value == pytest.approx(reference.f1_score(masks, called, zero_division=0.0))


def test_any_scores_are_within_the_resolution():
    rng = np.random.default_rng(0)
    # as a network gives them: nearly all close to 0, defects close to 1
    mask = np.zeros((400, 300), bool)
    mask[100:130, 100:120] = True
    logits = rng.normal(np.where(mask, 3, -9), 4)
    score_map = (1 / (1 + np.exp(-logits))).astype(np.float32)
    tally = tally_of([(score_map, mask)])
    assert tally.ap.value == pytest.approx(
        reference.average_precision_score(mask.ravel(), score_map.ravel()), abs=1e-3
    )
    assert tally.auroc.value == pytest.approx(
        reference.roc_auc_score(mask.ravel(), score_map.ravel()), abs=1e-4
    )


def test_scores_close_to_0_and_1_are_told_apart():
    score_map = np.array([[1e-9, 2e-9, 1 - 2e-7, 1 - 1e-7]], np.float32)
    mask = np.array([[False, True, False, True]])
    assert tally_of([(score_map, mask)]).auroc.value == 0.75
    ends = np.array([[0.0, 1.0]], np.float32)
    assert tally_of([(ends, np.array([[False, True]]))]).auroc.value == 1.0


def test_size_recall_by_area_and_decision():
    # components of 63, 64 and 256 pixels; only the second is seen in the map, by one pixel
    mask = np.zeros((40, 60), bool)
    mask[0:7, 0:9] = mask[10:18, 0:8] = mask[20:36, 20:36] = True
    score_map = np.zeros(mask.shape, np.float32)
    score_map[10, 0] = THRESHOLD
    tally = PixelTally(THRESHOLD)
    tally.add(score_map, mask, caught=False)
    assert tally.size_recall[:4] == (
        SizeRecall(0, 64, 1, 0, 0),
        SizeRecall(64, 256, 1, 1, 0),
        SizeRecall(256, 1024, 1, 0, 0),
        SizeRecall(1024, 4096, 0, 0, 0),
    )
    assert tally.size_recall[-1].max_area is None
    tally.add(score_map, mask, caught=True)
    assert tally.size_recall[0] == SizeRecall(0, 64, 2, 0, 1)
    assert tally.size_recall[1] == SizeRecall(64, 256, 2, 2, 1)


def test_touching_corners_are_one_defect():
    tally = PixelTally(THRESHOLD)
    tally.add(np.zeros((2, 2), np.float32), np.eye(2, dtype=bool), caught=True)
    assert tally.size_recall[0].defects == 1


def test_merged_is_the_tally_of_all():
    first, second = list(make_maps(1)), list(make_maps(2))
    both, merged = tally_of(first + second), tally_of(first).merged(tally_of(second))
    for name in ("ap", "auroc", "aupro", "iou", "dice", "size_recall", "maps", "threshold"):
        assert getattr(merged, name) == getattr(both, name)
    apart = tally_of(first, 0.2).merged(tally_of(second, 0.8))
    assert math.isnan(apart.threshold)
    assert apart.confusion == tally_of(first, 0.2).confusion + tally_of(second, 0.8).confusion


def test_constant_map_and_missing_classes():
    constant = np.full((4, 4), 0.2, np.float32)
    mask = np.zeros((4, 4), bool)
    good = tally_of([(constant, mask)])
    for metric in (good.ap, good.auroc, good.aupro):
        assert metric == Metric(None, "there is no defect")
    assert good.iou == Metric(None, "there is no defect and nothing is called defective")
    assert tally_of([(constant, ~mask)]).aupro == Metric(None, "there is nothing without defect")
    assert tally_of([]).aupro == Metric(None, "there is no defect")
    mask[0, 0] = True
    tied = tally_of([(constant, mask)])
    assert tied.auroc.value == 0.5
    assert tied.ap.value == 1 / 16
    # the straight line from (0, 0) to (1, 1): 0.3 * 0.3 / 2 / 0.3
    assert tied.aupro.value == pytest.approx(0.15)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_scores_outside_0_to_1_are_refused(wrong):
    score_map = np.array([[0.5, wrong]], np.float32)
    with pytest.raises(ValueError, match=r"numbers in \[0, 1\]"):
        PixelTally(THRESHOLD).add(score_map, np.zeros((1, 2), bool), caught=False)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(H, W\) alike, got \(1, 2\) and \(2, 1\)"):
        PixelTally(THRESHOLD).add(np.zeros((1, 2), np.float32), np.zeros((2, 1), bool), caught=False)


def test_memory_does_not_grow_with_the_data_set():
    score_map = np.random.default_rng(0).random((500, 400)).astype(np.float32)
    mask = score_map > 0.99
    tally = PixelTally(THRESHOLD)
    tally.add(score_map, mask, caught=True)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5):
        tally.add(score_map, mask, caught=True)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < score_map.nbytes // 2
