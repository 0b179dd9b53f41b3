"""Large images in tiles: where they lie, what they overlap, and how their answers become one.

A tile answers for its inside only. Near a tile's border, where it is no border of the image, the network's
view is cut off; there the tile beside it answers. So tiles overlap by twice the reach of a cell's view, and a
bit more, in which one tile's answer fades into the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segdec.config import STRIDE, NetworkConfig
from segdec.errors import ConfigError
from segdec.imaging import Pixels, Rows
from segdec.model_card import ModelCard

Origin: TypeAlias = tuple[int, int]
"""(y, x) of a tile's upper left pixel in its image."""

Infer: TypeAlias = Callable[[Sequence[Pixels]], tuple[NDArray[np.float64], NDArray[np.float32]]]
"""A network as tiles see it: n images (h, w, C) of one size to scores (n,) and score maps (n, h/8, w/8)."""

_FADE = 16
"""Pixels in which one tile's answer fades into the next one's, where the overlap is chosen here."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """How far the network looks, in pixels of its input.

    Attributes
    ----------
    cell
        Side of the square that one cell of the score map depends on by way of the convolutions. The
        normalisation between them looks at the whole input besides.
    decision
        The same of one element of the decision stage's last feature map. The score itself pools these over
        the whole input: it has no bounded field.
    margin
        A cell nearer to the input's border than this does not see all of its field; a multiple of 8.
    """

    cell: int
    decision: int
    margin: int


@dataclass(frozen=True, slots=True)
class Tiling:
    """How images are cut.

    Attributes
    ----------
    tile
        Side of the square tiles, in pixels; a multiple of 8.
    overlap
        What neighbours share at least, in pixels; a multiple of 8.
    margin
        The border of a tile, in pixels, in which its answer does not count; a multiple of 8.
    """

    tile: int
    overlap: int
    margin: int

    def starts(self, length: int) -> list[int]:
        """Place tiles along an axis.

        Parameters
        ----------
        length
            Of the axis, in pixels, at least 1.

        Returns
        -------
        list of int
            The first pixel of each tile: multiples of 8, evenly spread. The last tile ends at the axis' end
            or less than 8 pixels behind it; where one tile is enough, it may end far behind.

        Examples
        --------
        >>> Tiling(tile=64, overlap=16, margin=8).starts(150)
        [0, 40, 88]
        """
        last = max(0, _cells(length) - self.tile // STRIDE)  # in cells
        gaps = -(-last // ((self.tile - self.overlap) // STRIDE))
        return [STRIDE * (number * last // gaps) for number in range(gaps)] + [STRIDE * last]

    def cores(self, length: int) -> list[tuple[int, int]]:
        """Divide an axis among its tiles: each gets, as (first, end), the pixels that lie deepest in it."""
        starts = self.starts(length)
        middles = [(behind + before + self.tile) // 2 for before, behind in pairwise(starts)]
        return list(pairwise([0, *middles, max(length, starts[-1] + self.tile)]))

    def weights(self, length: int) -> Iterator[NDArray[np.float32]]:
        """Weigh each tile's cells along an axis: (tile/8,) for each tile; over all tiles the sum is 1."""
        starts = [start // STRIDE for start in self.starts(length)]
        side, margin = self.tile // STRIDE, self.margin // STRIDE
        cells = np.arange(side)
        ramps = []
        for start in starts:
            # cells since the tile's inside began, and until it ends; an image's border limits nothing
            since = cells - margin + 1 if start > starts[0] else np.full(side, side)
            until = side - margin - cells if start < starts[-1] else np.full(side, side)
            ramps.append(np.clip(np.minimum(since, until), 0, None).astype(np.float32))
        total = np.zeros(starts[-1] + side, np.float32)
        for start, ramp in zip(starts, ramps, strict=True):
            total[start : start + side] += ramp
        for start, ramp in zip(starts, ramps, strict=True):
            yield ramp / total[start : start + side]


def receptive_field(network: NetworkConfig) -> ReceptiveField:
    """Compute how far a network looks.

    Parameters
    ----------
    network
        Its sizes.

    Returns
    -------
    ReceptiveField

    Examples
    --------
    >>> receptive_field(NetworkConfig())
    ReceptiveField(cell=212, decision=716, margin=104)
    """
    reach, stride = 0, 1  # pixels beyond a cell's own, on each side; pixels between neighbours
    for depth in network.block_depths:
        reach += 2 * depth * stride  # a 5 x 5 convolution reaches two neighbours far
        stride *= 2
    reach += network.context_kernel // 2 * stride
    cell, margin = 2 * reach + stride, STRIDE * _cells(reach)
    for _ in network.decision_channels:
        stride *= 2
        reach += 2 * stride
    return ReceptiveField(cell, 2 * reach + stride, margin)


def choose_tiling(network: NetworkConfig, tile: int, overlap: int | Literal["auto"] = "auto") -> Tiling:
    """Decide how images are cut for a network.

    Parameters
    ----------
    network
        Its sizes.
    tile
        Side of the tiles in pixels.
    overlap
        What neighbours share at least, in pixels; "auto" is what the network's receptive field needs, and
        16 pixels to fade in.

    Returns
    -------
    Tiling

    Raises
    ------
    ConfigError
        If there is no such tile or overlap.

    Examples
    --------
    >>> choose_tiling(NetworkConfig(), 512)
    Tiling(tile=512, overlap=224, margin=104)
    """
    field = receptive_field(network)
    least = 2 * field.margin
    if tile % STRIDE or tile < max(64, least + _FADE + STRIDE):
        smallest = max(64, least + _FADE + STRIDE)
        fitting = max(smallest, STRIDE * _cells(tile))
        raise ConfigError(
            f"tiles must be a multiple of {STRIDE} and at least {smallest} pixels wide for this network (its"
            f" receptive field is {field.cell} pixels), got {tile}; try {fitting}"
        )
    chosen = least + _FADE if overlap == "auto" else overlap
    if chosen % STRIDE or not least <= chosen <= tile - STRIDE:
        raise ConfigError(
            f"the overlap must be a multiple of {STRIDE} from {least} (the network's receptive field of"
            f" {field.cell} pixels needs as much) to {tile - STRIDE} (less than the tile of {tile}), got"
            f' {chosen}; try "auto", which is {least + _FADE}'
        )
    return Tiling(tile, chosen, field.margin)


def trained_tiling(card: ModelCard) -> Tiling | None:
    """Return how the images that a model was trained on were cut; None is as a whole.

    Parameters
    ----------
    card
        What the model says of itself.
    """
    return None if card.tile is None else choose_tiling(card.network, card.tile)


def score_tiles(
    image: Rows, tiling: Tiling, infer: Infer, batch_size: int = 1
) -> tuple[float, NDArray[np.float32]]:
    """Score an image tile by tile.

    Parameters
    ----------
    image
        Read as many rows at a time as a tile is high.
    tiling
        How it is cut.
    infer
        The network.
    batch_size
        Tiles in one pass through the network, at least 1.

    Returns
    -------
    score
        Of the whole image: the highest of its tiles' scores. One tile with a defect is enough.
    cells
        (ceil(H/8), ceil(W/8)), the score map: in each cell the mean of the tiles that see it in full, by how
        deep it lies in them.
    """
    height, width = image.size
    side = tiling.tile // STRIDE
    columns = list(zip(tiling.starts(width), tiling.weights(width), strict=True))
    # (h, w) in cells, as far as the tiles reach
    cells = np.zeros([tiling.starts(length)[-1] // STRIDE + side for length in image.size], np.float32)
    scores, highest = [], -np.inf
    for y, down in zip(tiling.starts(height), tiling.weights(height), strict=True):
        band = image.read(y, min(y + tiling.tile, height))  # (at most T, W, C)
        for first in range(0, len(columns), batch_size):
            chunk = columns[first : first + batch_size]
            tiles = [pad_tile(band[:, x : x + tiling.tile], tiling.tile) for x, _ in chunk]
            found, maps = infer(tiles)  # (n,), (n, T/8, T/8)
            scores.append(found)
            highest = max(highest, float(maps.max()))
            for (x, along), score_map in zip(chunk, maps, strict=True):
                top, left = y // STRIDE, x // STRIDE
                cells[top : top + side, left : left + side] += np.outer(down, along) * score_map
    np.minimum(cells, highest, out=cells)  # no mean is above it, except by rounding
    return float(np.concatenate(scores).max()), cells[: _cells(height), : _cells(width)]


def read_tile(image: Rows, origin: Origin, tile: int) -> Pixels:
    """Read one tile of an image.

    Parameters
    ----------
    image
        Its rows.
    origin
        Where the tile begins.
    tile
        Its side in pixels.

    Returns
    -------
    ndarray
        (tile, tile, C); beyond the image's lower and right border it is mirrored.
    """
    y, x = origin
    band = image.read(y, min(y + tile, image.size[0]))  # (at most T, W, C)
    return pad_tile(band[:, x : x + tile], tile)


def pad_tile(pixels: NDArray[Any], tile: int) -> NDArray[Any]:
    """Continue a tile beyond the image's lower and right border, mirrored, to its full size.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, C), no side larger than the tile.
    tile
        Its side in pixels.

    Returns
    -------
    ndarray
        (tile, tile) or (tile, tile, C).

    Examples
    --------
    >>> pad_tile(np.array([[1, 2]]), 3).tolist()
    [[1, 2, 2], [1, 2, 2], [1, 2, 2]]
    """
    missing = [(0, tile - side) for side in pixels.shape[:2]]
    if missing == [(0, 0), (0, 0)]:
        return pixels
    return np.pad(pixels, [*missing, *[(0, 0)] * (pixels.ndim - 2)], mode="symmetric")


def _cells(pixels: int) -> int:
    """Return how many cells cover so many pixels."""
    return -(-pixels // STRIDE)
