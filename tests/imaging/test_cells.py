"""The regions of a map of cells are those of the enlarged map, which need not be there as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.imaging import cells as cells_module
from segdec.imaging import enlarge_cells, find_cell_regions, find_regions, full_score_map
from segdec.types import Prediction


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 130), st.integers(1, 130), st.floats(0.2, 0.95))
def test_regions_are_those_of_the_enlarged_map(seed: int, height: int, width: int, threshold: float) -> None:
    size = -(-height // 8), -(-width // 8)
    cells = np.random.default_rng(seed).random(size, np.float32) ** 3
    found = find_cell_regions(cells, threshold, (height, width))
    expected = find_regions(enlarge_cells(cells, (height, width)), threshold)
    assert [(each.box, each.area_px) for each in found] == [(each.box, each.area_px) for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.peak_score == pytest.approx(other.peak_score, abs=1e-6)
        assert one.contour == other.contour


def test_a_huge_area_is_given_in_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "_MOST_PIXELS", 100)
    cells = np.zeros((5, 5), np.float32)
    cells[1:5, 2:5] = 0.9
    (region,) = find_cell_regions(cells, 0.5, (37, 36))
    assert region.box == (16, 8, 20, 29)
    assert region.area_px <= 20 * 29
    assert all(16 <= x < 36 and 8 <= y < 37 for x, y in region.contour)


def test_a_prediction_in_tiles_has_a_score_map_in_cells() -> None:
    cells = np.full((2, 3), 0.25, np.float32)
    tiled = Prediction("a", 0.1, False, 0.5, (), cells, size=(15, 20))
    assert full_score_map(tiled).shape == (15, 20)
    assert full_score_map(Prediction("a", 0.1, False, 0.5, (), cells)) is cells
