"""From a mask to the targets of training: distance-transform weights, and both reduced to cells.

Source: arXiv:2007.07676, Sec. III (loss weighting for positive pixels).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.config import STRIDE

WINDOW = 17
"""Side of the windows that the reduction averages over, in pixels."""


def weight_map(
    mask: NDArray[np.bool_], w_pos: float, p: float, d_max: Literal["image", "component"] = "image"
) -> NDArray[np.float32]:
    """Weigh the pixels of an image: 1 outside defects, w_pos * (D / D_max)^p inside.

    D is the Euclidean distance of a defect's pixel to the nearest good pixel, D_max the largest
    distance in the image, or in the pixel's own connected part of the mask. Rough masks are wrong at their
    borders first, so pixels there count little.

    Parameters
    ----------
    mask
        (H, W), True on defects.
    w_pos
        Weight of the pixel deepest inside.
    p
        Exponent.
    d_max
        "image" is the reference's; "component" gives every defect its full weight, also a small one beside
        a large one (parts that touch at a corner are one).

    Returns
    -------
    ndarray
        (H, W).

    Examples
    --------
    >>> weight_map(np.array([[0, 1, 1, 1, 0]], bool), w_pos=4, p=1).tolist()
    [[1.0, 2.0, 4.0, 2.0, 1.0]]
    """
    weights = np.ones(mask.shape, np.float32)
    if mask.all():
        weights[:] = w_pos  # no border anywhere: every pixel is as deep as can be
    elif mask.any():
        distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # OpenCV's last bit differs from call to call; the square is a whole number, so rounding settles it
        exact = np.sqrt(np.rint(distance[mask].astype(np.float64) ** 2))  # (n,)
        weights[mask] = w_pos * (exact / _deepest(mask, exact, d_max)) ** p
    return weights


def reduce_to_cells(
    pixels: NDArray[np.float32], kind: Literal["mean17", "area"] = "mean17"
) -> NDArray[np.float32]:
    """Reduce a map of pixels to the cells of the segmentation output.

    "mean17" is what the reference does: the mean over 17 x 17 windows, one every 8 pixels, mirrored at the
    image's border. The windows overlap: cells next to a defect see a part of it, and a small defect never
    reaches 1. "area" is the mean over the 8 x 8 pixels that a cell stands for.

    Parameters
    ----------
    pixels
        (H, W), H and W multiples of 8.
    kind
        "mean17" or "area".

    Returns
    -------
    ndarray
        (H/8, W/8).
    """
    if kind == "area":
        height, width = pixels.shape
        cells = pixels.reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE)
        return np.asarray(cells.mean(axis=(1, 3), dtype=np.float32))
    means = cv2.blur(pixels, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101)  # (H, W)
    return np.ascontiguousarray(means[::STRIDE, ::STRIDE])


def _deepest(
    mask: NDArray[np.bool_], distance: NDArray[np.float64], d_max: Literal["image", "component"]
) -> NDArray[np.float64]:
    """Return D_max for each of the mask's pixels, whose distances are given: (n,), or (1,) for all alike."""
    if d_max == "image":
        return np.array([distance.max()])
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    part = np.asarray(parts, np.int64)[mask]  # (n,)
    deepest = np.zeros(count)
    np.maximum.at(deepest, part, distance)
    return np.asarray(deepest[part])


def dilate(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Grow a mask by a square.

    Parameters
    ----------
    mask
        (H, W).
    side
        Side of the square in pixels; 1 leaves the mask as it is.

    Returns
    -------
    ndarray
        (H, W).
    """
    if side == 1:
        return mask
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)).astype(bool)
