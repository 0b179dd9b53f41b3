"""Tiles cover the image, and where a network looks no further than its field, they answer like the whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segdec.config import STRIDE, NetworkConfig
from segdec.errors import ConfigError
from segdec.imaging import PixelRows, find_cell_regions, to_unit
from segdec.network import FeatureNorm, SegDecNet, build_network
from segdec.tiles import Tiling, choose_tiling, pad_tile, receptive_field, score_tiles

SMALL = NetworkConfig(
    block_channels=(2, 3, 3),
    block_depths=(1, 1, 1),
    context_channels=4,
    context_kernel=3,
    decision_channels=(2, 2, 2),
)
SIDES = st.integers(1, 400)
TILINGS = st.builds(
    lambda side, margin, spare: Tiling(8 * side, 8 * min(2 * margin + spare, side - 1), 8 * margin),
    st.integers(12, 30), st.integers(0, 5), st.integers(0, 12),
)  # fmt: skip


def make_image(seed: int, height: int, width: int, channels: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def cell_means(images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Stand in for a network that sees each cell alone: its mean, and the brightest cell as score."""
    pixels = to_unit(np.stack(images)).mean(axis=3)
    n, height, width = pixels.shape
    maps = pixels.reshape(n, height // STRIDE, STRIDE, width // STRIDE, STRIDE).mean(axis=(2, 4))
    return maps.max(axis=(1, 2)).astype(np.float64), maps


def on_canvas(image: NDArray[np.uint8], tiling: Tiling) -> NDArray[np.uint8]:
    """Return the image as far as tiles reach: (h, w, C)."""
    height, width = (tiling.starts(side)[-1] + tiling.tile for side in image.shape[:2])
    below, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric")


@pytest.fixture
def frozen() -> SegDecNet:
    """A network that normalises by the same statistics everywhere."""
    network = build_network(SMALL.model_copy(update={"norm": "frozen"}), seed=2).eval()
    for module in network.modules():
        if isinstance(module, FeatureNorm):
            module.std *= 0.1
            module.mean -= 0.05
    return network


@given(SIDES, TILINGS)
def test_tiles_cover_an_axis_and_overlap_enough(length: int, tiling: Tiling) -> None:
    starts = tiling.starts(length)
    assert starts[0] == 0
    assert all(start % STRIDE == 0 for start in starts)
    assert all(0 < b - a <= tiling.tile - tiling.overlap for a, b in pairwise(starts))
    end = starts[-1] + tiling.tile
    assert length <= end < max(length, tiling.tile - 7) + STRIDE


@given(SIDES, TILINGS)
def test_weights_add_up_to_one_and_vanish_in_the_margin(length: int, tiling: Tiling) -> None:
    starts, margin = tiling.starts(length), tiling.margin // STRIDE
    total = np.zeros((starts[-1] + tiling.tile) // STRIDE)
    for start, weights in zip(starts, tiling.weights(length), strict=True):
        total[start // STRIDE :][: len(weights)] += weights
        assert start == starts[0] or not weights[:margin].any()
        assert start == starts[-1] or not weights[len(weights) - margin :].any()
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(SIDES, TILINGS)
def test_each_pixel_lies_in_the_core_of_one_tile(length: int, tiling: Tiling) -> None:
    cores, starts = tiling.cores(length), tiling.starts(length)
    assert cores[0][0] == 0
    assert cores[-1][1] >= length
    assert all(left[1] == right[0] for left, right in pairwise(cores))
    for (first, end), start in zip(cores, starts, strict=True):
        assert start <= first < end <= start + tiling.tile


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, TILINGS, st.integers(1, 3))
def test_tiles_answer_like_the_whole_where_cells_stand_alone(
    height: int, width: int, tiling: Tiling, batch: int
) -> None:
    image = make_image(height, height, width, channels=3)
    score, cells = score_tiles(PixelRows(image), tiling, cell_means, batch)
    whole_score, whole = cell_means([on_canvas(image, tiling)])
    assert cells.shape == (-(-height // STRIDE), -(-width // STRIDE))
    np.testing.assert_allclose(cells, whole[0, : cells.shape[0], : cells.shape[1]], atol=1e-6)
    assert score == pytest.approx(whole_score[0], abs=1e-6)


@given(SIDES, SIDES, TILINGS)
def test_a_joined_map_is_never_above_one(height: int, width: int, tiling: Tiling) -> None:
    """Weights that add up to 1 but for rounding must not push a score map out of [0, 1]."""
    _, cells = score_tiles(PixelRows(np.full((height, width, 1), 255, np.uint8)), tiling, cell_means)
    assert cells.max() <= 1


@pytest.mark.parametrize("size", [(200, 333), (97, 1), (64, 64), (129, 130), (150, 401)])
@pytest.mark.parametrize("overlap", ["auto", 64, 88])
def test_a_network_with_frozen_normalisation_draws_the_same_map_from_tiles(
    frozen: SegDecNet, size: tuple[int, int], overlap: int | str
) -> None:
    tiling = choose_tiling(SMALL, 128, overlap)  # type: ignore[arg-type]

    def infer(images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        with torch.inference_mode():
            seg_logits, dec_logits = frozen(torch.from_numpy(to_unit(np.stack(images)).transpose(0, 3, 1, 2)))
        return dec_logits[:, 0].double().numpy(), seg_logits[:, 0].numpy()

    image = make_image(5, *size)
    _, cells = score_tiles(PixelRows(image), tiling, infer)
    _, whole = infer([on_canvas(image, tiling)])
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(cells, whole[0, : cells.shape[0], : cells.shape[1]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, SMALL.model_copy(update={"block_depths": (1, 2, 2)})])
def test_the_receptive_field_is_how_far_a_change_is_seen(
    config: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureNorm, "forward", lambda self, x: x)
    monkeypatch.setattr("torch.nn.ReLU.forward", lambda self, x: x)
    network = build_network(config, seed=3)
    for weight in network.parameters():
        weight.data.abs_()  # nothing cancels out
    field, cell, side = receptive_field(config), 15, 256
    image = torch.zeros(1, 1, side, side)
    # the largest values at the edges of the field, so that no pooling hides them
    first = STRIDE * cell - (field.cell - STRIDE) // 2
    seen = []
    for place in (first - 1, first, first + field.cell - 1, first + field.cell):
        changed = image.clone()
        changed[..., STRIDE * cell, place] = 1
        seen.append(bool(network(changed)[0][0, 0, cell, cell] != 0))
    assert seen == [False, True, True, False]
    assert field.margin - STRIDE < (field.cell - STRIDE) // 2 <= field.margin


@pytest.mark.parametrize(
    ("tile", "overlap"), [(500, "auto"), (224, "auto"), (512, 200), (512, 512), (512, 212)]
)
def test_what_does_not_fit_the_network_is_one_clear_error(tile: int, overlap: int | str) -> None:
    with pytest.raises(ConfigError, match=r"receptive field of 212|receptive field is 212") as caught:
        choose_tiling(NetworkConfig(), tile, overlap)  # type: ignore[arg-type]
    assert "try" in str(caught.value)


def test_a_defect_on_a_border_is_one_region() -> None:
    tiling = choose_tiling(SMALL, 128)
    border = tiling.starts(400)[1]
    image = np.zeros((400, 400, 1), np.uint8)
    image[border - 10 : border + 14, border - 20 : border + 22] = 255
    _, cells = score_tiles(PixelRows(image), tiling, cell_means)
    (region,) = find_cell_regions(cells, 0.5, (400, 400))
    x, y, width, height = region.box
    assert abs(x - (border - 20)) <= 4
    assert abs(y - (border - 10)) <= 4
    assert abs(width - 42) <= 8
    assert abs(height - 24) <= 8


def test_a_very_long_line_is_an_image() -> None:
    image = make_image(0, 64, 100_000)
    _, cells = score_tiles(PixelRows(image), Tiling(256, 208, 104), cell_means)
    _, (expected,) = cell_means([image])
    np.testing.assert_allclose(cells, expected, atol=1e-5)


def test_a_small_image_is_mirrored_to_a_tile() -> None:
    tile = pad_tile(np.arange(6, dtype=np.uint8).reshape(2, 3, 1), 8)
    assert tile[..., 0].tolist()[0] == [0, 1, 2, 2, 1, 0, 0, 1]
    assert tile[:, 0, 0].tolist() == [0, 3, 3, 0, 0, 3, 3, 0]
