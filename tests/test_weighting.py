"""Weights against scipy's distance transform, the reduction against plain sums, dilation by its meaning."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from segdec.weighting import dilate, reduce_to_cells, weight_map

masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape))


@given(mask=masks, w_pos=st.floats(0.1, 50), p=st.floats(0, 4))
@settings(max_examples=60, deadline=None)
def test_weights_follow_scipys_distance(mask, w_pos, p):
    weights = weight_map(mask, w_pos, p)
    assert weights.dtype == np.float32
    assert (weights[~mask] == 1).all()
    if mask.any() and not mask.all():
        distance = distance_transform_edt(mask)
        np.testing.assert_allclose(weights[mask], w_pos * (distance[mask] / distance.max()) ** p, rtol=1e-5)


def test_a_mask_without_a_border_weighs_w_pos_everywhere():
    assert (weight_map(np.ones((8, 8), bool), 3, 2) == 3).all()
    assert (weight_map(np.zeros((8, 8), bool), 3, 2) == 1).all()


def test_the_same_mask_has_the_same_weights_bit_for_bit():
    """OpenCV's distances differ in their last bit from call to call."""
    generator = np.random.default_rng(0)
    mask = np.zeros((64, 64), bool)
    mask[5:40, 20:50] = generator.random((35, 30)) > 0.02
    clutter: list[np.ndarray] = []
    found = set()
    for _ in range(300):
        clutter = [*clutter[-20:], np.full(generator.integers(1, 9000), generator.random(), np.float32)]
        found.add(weight_map(mask.copy(), 1, 2).tobytes())
    assert len(found) == 1


@given(seed=st.integers(0, 999), rows=st.integers(2, 5), columns=st.integers(2, 5))
@settings(max_examples=20, deadline=None)
def test_cells_are_means_of_mirrored_windows(seed, rows, columns):
    pixels = np.random.default_rng(seed).random((8 * rows, 8 * columns)).astype(np.float32)
    padded = np.pad(pixels.astype(np.float64), 8, mode="reflect")
    expected = [
        [padded[8 * r : 8 * r + 17, 8 * c : 8 * c + 17].mean() for c in range(columns)] for r in range(rows)
    ]
    cells = reduce_to_cells(pixels)
    assert cells.flags.c_contiguous
    np.testing.assert_allclose(cells, expected, atol=1e-6)


@given(mask=masks, side=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_dilation_reaches_half_a_side(mask, side):
    grown = dilate(mask, side)
    expected = np.zeros_like(mask)
    before, after = side // 2, side - side // 2 - 1
    for y, x in np.argwhere(mask):
        expected[max(0, y - after) : y + before + 1, max(0, x - after) : x + before + 1] = True
    assert (grown == expected).all()
