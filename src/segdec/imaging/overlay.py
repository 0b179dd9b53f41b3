"""Score maps made visible: connected regions and heat overlays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.types import Region

_TRANSPARENT_BELOW = 0.5
"""Scores up to this leave the image as it is: seg_logits have mean 0, so a good surface lies around 0.5."""
_OPAQUE = 0.6
"""Share of the heat colour at score 1: the surface stays visible below it."""
_OUTLINE = (0, 230, 255)
"""Cyan: in neither the heat colours nor on a grey surface."""


def find_regions(score_map: NDArray[np.float32], threshold: float) -> tuple[Region, ...]:
    """Find the connected regions of a score map.

    Parameters
    ----------
    score_map
        (H, W) in [0, 1].
    threshold
        Pixels with a score of at least this belong to a region; diagonal neighbours are connected.

    Returns
    -------
    tuple of Region
        Highest peak first, then largest first.

    Examples
    --------
    >>> find_regions(np.array([[0.9, 0.0, 0.6]], np.float32), 0.5)[1].box
    (2, 0, 1, 1)
    """
    above = (score_map >= threshold).astype(np.uint8)
    if not above.any():
        return ()  # most parts are good, and labelling takes twenty times as long as looking
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    regions = []
    for label in range(1, count):  # 0 is the background
        x, y, width, height, area = (int(value) for value in stats[label])
        inside = labels[y : y + height, x : x + width] == label
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
        )
        contour = tuple((int(point[0]), int(point[1])) for point in contours[0].reshape(-1, 2))
        peak = float(score_map[y : y + height, x : x + width][inside].max())
        regions.append(Region((x, y, width, height), area, contour, peak))
    return sort_regions(regions)


def sort_regions(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Put regions in order: highest peak first, then largest first.

    Parameters
    ----------
    regions
        Of one image.
    """
    return tuple(sorted(regions, key=lambda region: (-region.peak_score, -region.area_px, region.box)))


def draw_overlay(
    image: NDArray[Any], score_map: NDArray[np.float32], regions: Sequence[Region] = ()
) -> NDArray[np.uint8]:
    """Lay a score map over its image as heat: clear where it is low, red, then yellow where it is high.

    Parameters
    ----------
    image
        (H, W, C), C 1 or 3, uint8, or uint16 (shown from its darkest to its brightest value).
    score_map
        (H, W) in [0, 1].
    regions
        Outlined on top.

    Returns
    -------
    ndarray
        (H, W, 3) uint8, red, green, blue.
    """
    surface = np.broadcast_to(_to_eight_bits(image), (*score_map.shape, 3)).astype(np.float32)
    score = np.clip(score_map, 0, 1)
    strength = np.clip((score - _TRANSPARENT_BELOW) / (1 - _TRANSPARENT_BELOW), 0, 1)
    heat = np.stack(  # (H, W, 3): red turns to yellow with the score
        [np.full_like(score, 255), 255 * strength**2, np.zeros_like(score)], axis=2
    )
    share = (_OPAQUE * np.sqrt(strength))[..., None]  # (H, W, 1)
    overlay = np.ascontiguousarray(((1 - share) * surface + share * heat).round().astype(np.uint8))
    thickness = max(1, round(min(score_map.shape) / 400))
    outlines = [np.array(region.contour, np.int32).reshape(-1, 1, 2) for region in regions]
    cv2.drawContours(overlay, outlines, -1, _OUTLINE, thickness, cv2.LINE_8)
    return overlay


def _to_eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    # cameras of 10 or 12 bits leave the upper ones empty: without stretching the picture is black
    low, high = float(image.min()), float(image.max())
    return ((image - low) * (255 / max(high - low, 1))).astype(np.uint8)
