"""What is known of each pixel: marks, drawn from mask images, run lengths and shapes.

Marks are an (H, W) uint8 array of the four codes below. A larger code is the surer knowledge, and the
network's targets follow from marks alone.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.errors import ImageError
from segdec.imaging.masks import decode_run_lengths, read_mask_image
from segdec.types import ImageSize, Point, Polygon, RunLengths, Scribble, Shape, Shapes

UNKNOWN, GOOD, DEFECT, SCRIBBLED = 0, 1, 2, 3
"""Nobody knows; good; inside a defect's outline, which may be rough; defect for sure, by a scribble."""

_OVERSHOOT = 1.0
"""So many pixels may a point lie outside its image: tools round, and some count from 1."""
_SHIFT = 4
"""OpenCV draws at fractions of 1 / 2**4 pixel."""


def read_marks(source: Path | RunLengths | Shapes, size: ImageSize) -> NDArray[np.uint8]:
    """Read what is known of each pixel of an image.

    Parameters
    ----------
    source
        A mask image, run lengths or shapes: `Sample.mask`.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (H, W) of UNKNOWN, GOOD, DEFECT or SCRIBBLED.

    Raises
    ------
    ImageError
        If a file cannot be read, belongs to an image of another size, or a shape lies outside the image.

    Examples
    --------
    >>> stroke = Scribble(((0.5, 0.5), (2.5, 0.5)), width=1)
    >>> read_marks(Shapes((Shape(stroke),)), (2, 4))
    array([[3, 3, 3, 0],
           [0, 0, 0, 0]], dtype=uint8)
    """
    if isinstance(source, Shapes):
        return _draw(source, size)
    return np.where(_area(source, size), np.uint8(DEFECT), np.uint8(GOOD))


def read_mask(source: Path | RunLengths | Shapes, size: ImageSize) -> NDArray[np.bool_]:
    """Read which pixels of an image are known to be defect.

    Parameters
    ----------
    source, size
        As for `read_marks`.

    Returns
    -------
    ndarray
        (H, W) bool.

    Raises
    ------
    ImageError
        As for `read_marks`.
    """
    return np.asarray(read_marks(source, size) >= DEFECT)


def check_inside(form: Polygon | Scribble, size: ImageSize, where: str) -> None:
    """Refuse a shape outside its image; a point may be out by one pixel.

    Parameters
    ----------
    form
        All its points count, or the middle alone if it may be cut off.
    size
        (height, width) of the image.
    where
        File and place, for the error message.

    Raises
    ------
    ImageError
        With the first point that is outside.
    """
    points = (_middle(form.points),) if isinstance(form, Polygon) and form.cut else form.points
    outside = next((point for point in points if not _is_inside(point, size)), None)
    if outside is not None:
        raise ImageError(
            f"{where}: the point ({outside[0]:g}, {outside[1]:g}) lies outside its image of"
            f" {size[1]} x {size[0]} pixels (width x height); correct it or remove the shape"
        )


def fill_polygon(points: tuple[Point, ...], size: ImageSize) -> NDArray[np.bool_]:
    """Fill a polygon: the pixels whose centre is inside, by the even-odd rule.

    Parameters
    ----------
    points
        Its corners; parts outside the image are cut off.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (H, W) bool. A polygon too small to hold any centre keeps the pixel of its middle, so that no
        defect vanishes; one outside the image has none.

    Examples
    --------
    >>> fill_polygon(((1, 0), (4, 0), (4, 2), (1, 2)), (3, 5)).astype(int)
    array([[0, 1, 1, 1, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    height, width = size
    start = np.array(points, np.float64)  # (P, 2)
    stop = np.roll(start, -1, axis=0)
    centres = np.arange(height) + 0.5
    edge, row = np.nonzero((start[:, 1:] <= centres) != (stop[:, 1:] <= centres))  # (P, H)
    along = (centres[row] - start[edge, 1]) / (stop[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + along * (stop[edge, 0] - start[edge, 0])
    first = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.intp)  # first centre beyond the crossing
    crossings = np.zeros((height, width + 1), np.int32)
    np.add.at(crossings, (row, first), 1)
    filled = crossings[:, :-1].cumsum(axis=1) % 2 == 1
    x, y = _middle(points)
    if not filled.any() and _is_inside((x, y), size):
        filled[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)] = True
    return np.asarray(filled)


def _draw(shapes: Shapes, size: ImageSize) -> NDArray[np.uint8]:
    if shapes.size is not None and tuple(shapes.size) != tuple(size):
        raise ImageError(
            f"{shapes.items[0].origin} is for an image of {shapes.size[0]} x {shapes.size[1]} pixels (height"
            f" x width), but the image is {size[0]} x {size[1]}; annotate the image that is used"
        )
    for item in shapes.items if shapes.size is None else ():  # otherwise checked when it was read
        if isinstance(item.form, Polygon | Scribble):
            check_inside(item.form, size, item.origin)
    partial = any(isinstance(item.form, Scribble) and item.meaning != "unknown" for item in shapes.items)
    marks = np.full(size, UNKNOWN if partial else GOOD, np.uint8)
    for item in shapes.items:
        if isinstance(item.form, Scribble):
            marks[_stroke(item.form, size)] = _code(item, SCRIBBLED)
        else:
            marks[_area(item.form, size)] = _code(item, DEFECT)
    return marks


def _middle(points: tuple[Point, ...]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _is_inside(point: Point, size: ImageSize) -> bool:
    return all(
        -_OVERSHOOT <= value <= side + _OVERSHOOT for value, side in zip(point, reversed(size), strict=True)
    )


def _code(item: Shape, defect: int) -> int:
    return {"unknown": UNKNOWN, "good": GOOD, "defect": defect}[item.meaning]


def _area(form: Path | RunLengths | Polygon, size: ImageSize) -> NDArray[np.bool_]:
    if isinstance(form, RunLengths):
        return decode_run_lengths(form, size)
    if isinstance(form, Polygon):
        return fill_polygon(form.points, size)
    return read_mask_image(form, size)


def _stroke(scribble: Scribble, size: ImageSize) -> NDArray[np.bool_]:
    canvas = np.zeros(size, np.uint8)
    corners = np.array(scribble.points * (2 if len(scribble.points) == 1 else 1), np.float64)
    scaled = np.round((corners - 0.5) * 2**_SHIFT).astype(np.int32)  # OpenCV counts from pixel centres
    thickness = max(1, round(scribble.width))
    cv2.polylines(canvas, [scaled], isClosed=False, color=1, thickness=thickness, shift=_SHIFT)
    return np.asarray(canvas > 0)
