"""What a mask covers: how large and thick its defects are, and whether something unusual is under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_REACH = 24
"""Shifts of a mask are tried this far to every side, in pixels of its image."""
_CONTROLS = 60
"""Other places in the same image that a mask is compared with."""


@dataclass(frozen=True, slots=True)
class Form:
    """Measurements of one mask.

    Attributes
    ----------
    areas
        Pixels of each connected part, largest first.
    thickness
        Of the thickest place, in pixels: twice the largest distance to the mask's border.
    simple
        True where every larger part is a box or an ellipse: drawn around the defect, not along its border;
        None where no part is large enough to tell.
    """

    areas: tuple[int, ...]
    thickness: float
    simple: bool | None


@dataclass(frozen=True, slots=True)
class Outline:
    """Measurements of one mask on its image.

    Attributes
    ----------
    form
        Of the mask itself.
    rank
        Share of places in the same image that are less unusual than where the mask lies, in [0, 1].
    shift
        (down, right) in pixels to where the mask would cover what is most unusual nearby.
    gain
        How many times more unusual it is there than where the mask lies; 1 where nothing is gained.
    """

    form: Form
    rank: float
    shift: tuple[int, int]
    gain: float


def measure_outline(grey: NDArray[np.float32], mask: NDArray[np.bool_]) -> Outline:
    """Measure a mask on its image.

    Parameters
    ----------
    grey
        (H, W), grey levels in [0, 1].
    mask
        (H, W) bool with at least one True.

    Returns
    -------
    Outline
    """
    rank, shift, gain = _compare_places(_unusualness(grey), mask.astype(np.uint8))
    return Outline(measure_form(mask), rank, shift, gain)


def measure_form(mask: NDArray[np.bool_]) -> Form:
    """Measure a mask, without its image.

    Parameters
    ----------
    mask
        (H, W) bool with at least one True.

    Returns
    -------
    Form

    Examples
    --------
    >>> mask = np.zeros((40, 40), bool)
    >>> mask[10:30, 5:35] = True
    >>> measure_form(mask)
    Form(areas=(600,), thickness=20.0, simple=True)
    """
    drawn = mask.astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(drawn, connectivity=8)
    areas = tuple(sorted((int(row[cv2.CC_STAT_AREA]) for row in stats[1:]), reverse=True))
    framed = np.pad(drawn, 1)  # the image's edge is a border as well
    thickness = 2 * float(cv2.distanceTransform(framed, cv2.DIST_L2, 5).max())
    return Form(areas, thickness, _is_simple(drawn))


def _unusualness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each pixel is from what is usual in its image, (H, W), at least 0.

    Two things are usual: the grey level of the surroundings, and the strength of the texture there. Both
    are compared at the scale of a few pixels, in units of their own spread over the image.
    """
    level = cv2.GaussianBlur(grey, (0, 0), 2.0)
    texture = cv2.GaussianBlur(np.abs(grey - level), (0, 0), 4.0)
    total = np.zeros_like(grey)
    for field in (level, texture):
        around = cv2.blur(field, (97, 97), borderType=cv2.BORDER_REFLECT_101)
        # along the rows too: parts of a scene, such as an edge of the item, run through the image
        by_column = np.median(field, axis=0, keepdims=True) if grey.shape[0] >= grey.shape[1] else around
        away = np.minimum(np.abs(field - around), np.abs(field - by_column))
        total += away / (np.median(away) + 1e-6)
    return total


def _compare_places(
    unusual: NDArray[np.float32], drawn: NDArray[np.uint8]
) -> tuple[float, tuple[int, int], float]:
    """Return rank, shift and gain as in `Outline`: the mean under the mask, here and elsewhere."""
    x, y, width, height = cv2.boundingRect(drawn)
    stamp = drawn[y : y + height, x : x + width].astype(np.float32)  # (h, w)
    # (H - h + 1, W - w + 1): the sum under the mask at every place that it fits into
    sums = cv2.filter2D(unusual, cv2.CV_32F, stamp, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    means = sums[: unusual.shape[0] - height + 1, : unusual.shape[1] - width + 1] / stamp.sum()
    here = float(means[y, x])
    elsewhere = means.ravel()[:: max(1, means.size // _CONTROLS)]
    top, left = max(0, y - _REACH), max(0, x - _REACH)
    near = means[top : y + _REACH + 1, left : x + _REACH + 1]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    shift = (int(row) + top - y, int(column) + left - x)
    return float((elsewhere < here).mean()), shift, float(near.max()) / max(here, 1e-6)


def _is_simple(drawn: NDArray[np.uint8]) -> bool | None:
    contours, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # of a few pixels everything is a box
    larger = [contour for contour in contours if cv2.contourArea(contour) >= 200]
    return all(_is_box_or_ellipse(contour) for contour in larger) if larger else None


def _is_box_or_ellipse(contour: NDArray[Any]) -> bool:
    area = cv2.contourArea(contour)
    _, (one, other), _ = cv2.minAreaRect(contour)
    hull = cv2.contourArea(cv2.convexHull(contour))
    filled = area / max(one * other, 1.0)  # 1 for a box, pi / 4 for an ellipse
    return bool(area / hull > 0.96 and (filled > 0.95 or abs(filled - np.pi / 4) < 0.04))
