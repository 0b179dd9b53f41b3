"""Score maps of large images: kept in cells, one value for 8 x 8 pixels, and enlarged where that is needed.

Enlarging interpolates, so a pixel lies above a threshold only if one of the four cells around it does. That
is why the regions of the enlarged map can be found without ever holding it as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.config import STRIDE
from segdec.imaging.overlay import find_regions, sort_regions
from segdec.imaging.resize import resize_image
from segdec.types import ImageSize, Prediction, Region

_MOST_PIXELS = 1 << 24
"""An area larger than this is outlined in cells: enlarging it would take more memory than it is worth."""


def enlarge_cells(cells: NDArray[np.float32], size: ImageSize) -> NDArray[np.float32]:
    """Enlarge a map of cells to the pixels that they stand for.

    Parameters
    ----------
    cells
        (ceil(H/8), ceil(W/8)).
    size
        (H, W).

    Returns
    -------
    ndarray
        (H, W), interpolated between the cells' centres.
    """
    height, width = cells.shape
    return resize_image(cells, (STRIDE * height, STRIDE * width))[: size[0], : size[1]]


def full_score_map(prediction: Prediction) -> NDArray[np.float32]:
    """Return the score map of a prediction in its image's own pixels, whichever way it was predicted.

    Parameters
    ----------
    prediction
        Of a whole image or of tiles. A map of 100 megapixels takes 400 MB.

    Returns
    -------
    ndarray
        (H, W) float32 in [0, 1].
    """
    if prediction.size is None:
        return prediction.score_map
    return enlarge_cells(prediction.score_map, prediction.size)


def find_cell_regions(cells: NDArray[np.float32], threshold: float, size: ImageSize) -> tuple[Region, ...]:
    """Find the connected regions of a map of cells, in pixels.

    Parameters
    ----------
    cells
        (ceil(H/8), ceil(W/8)) in [0, 1].
    threshold
        Pixels of the enlarged map with a score of at least this belong to a region.
    size
        (H, W).

    Returns
    -------
    tuple of Region
        Those that `segdec.imaging.find_regions` finds in the enlarged map. An area whose surroundings exceed
        16 megapixels is given in whole cells.

    Examples
    --------
    >>> cells = np.zeros((3, 3), np.float32)
    >>> cells[1, 1] = 1
    >>> find_cell_regions(cells, 0.5, (24, 24))[0].box
    (8, 8, 8, 8)
    """
    # cells that touch after growing by one may be joined by the pixels between them; others cannot
    near = cv2.dilate((cells >= threshold).astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    regions: list[Region] = []
    for label in range(1, count):  # 0 is the background
        x, y, width, height, _ = (int(value) for value in stats[label])
        inside = labels[y : y + height, x : x + width] == label
        window = np.where(inside, cells[y : y + height, x : x + width], 0)
        left, top = STRIDE * x, STRIDE * y
        extent = min(STRIDE * height, size[0] - top), min(STRIDE * width, size[1] - left)
        if extent[0] * extent[1] <= _MOST_PIXELS:
            found = find_regions(enlarge_cells(window, extent), threshold)
        else:
            found = tuple(_in_pixels(region, extent) for region in find_regions(window, threshold))
        regions += [_moved(region, left, top) for region in found]
    return sort_regions(regions)


def _in_pixels(region: Region, size: ImageSize) -> Region:
    """Turn a region that is counted in cells into one in pixels, cut at the image's border."""
    x, y, width, height = (STRIDE * value for value in region.box)
    box = x, y, min(width, size[1] - x), min(height, size[0] - y)
    contour = tuple((STRIDE * x + STRIDE // 2, STRIDE * y + STRIDE // 2) for x, y in region.contour)
    contour = tuple((min(x, size[1] - 1), min(y, size[0] - 1)) for x, y in contour)
    return Region(box, min(STRIDE**2 * region.area_px, box[2] * box[3]), contour, region.peak_score)


def _moved(region: Region, left: int, top: int) -> Region:
    x, y, width, height = region.box
    contour = tuple((x + left, y + top) for x, y in region.contour)
    return Region((x + left, y + top, width, height), region.area_px, contour, region.peak_score)
