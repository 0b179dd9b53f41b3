"""Pixel ground truth: mask images and run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.errors import ImageError
from segdec.imaging.files import decode_file
from segdec.types import ImageSize, RunLengths

MAX_MASK_VALUES = 16
"""A mask with more distinct values than this is taken for a photo or a lossy copy."""


def read_mask_image(path: Path, size: ImageSize) -> NDArray[np.bool_]:
    """Read a mask image.

    Parameters
    ----------
    path
        An image file, where any value above 0 counts (in a palette image the index, in a colour image
        any channel).
    size
        (height, width) of the image that the mask belongs to.

    Returns
    -------
    ndarray
        (H, W) bool.

    Raises
    ------
    ImageError
        If the mask cannot be read, has another size than its image, or looks like a photo.
    """
    values = decode_file(path, indices=True)  # (H, W, C)
    _check_mask(path, values, size)
    return np.asarray((values > 0).any(axis=2))


def decode_run_lengths(runs: RunLengths, size: ImageSize) -> NDArray[np.bool_]:
    """Turn run lengths into a mask.

    Parameters
    ----------
    runs
        Rows of "start length start length ...", starts from 1, down the columns first.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (H, W) bool, the union of all rows.

    Raises
    ------
    ImageError
        If a row is no list of pairs of whole numbers or a run leaves the image.

    Examples
    --------
    >>> decode_run_lengths(RunLengths(("2 2",), "train.csv"), (2, 2)).astype(int)
    array([[0, 1],
           [1, 0]])
    """
    height, width = size
    changes = np.zeros(height * width + 1, np.int32)
    for row in runs.rows:
        try:
            numbers = np.array(row.split(), dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise ImageError(
                f"{runs.origin}: run lengths must be whole numbers, got {_shorten(row)}; correct that row"
            ) from error
        if len(numbers) % 2:
            raise ImageError(
                f"{runs.origin}: run lengths come in pairs of start and length, got {len(numbers)} numbers"
                f" ({_shorten(row)}); correct that row"
            )
        first, length = numbers[::2] - 1, numbers[1::2]
        wrong = np.flatnonzero((first < 0) | (length < 1) | (first + length > height * width))
        if len(wrong):
            raise ImageError(
                f"{runs.origin}: the run {first[wrong[0]] + 1} {length[wrong[0]]} leaves its image of"
                f" {height} x {width} = {height * width} pixels; correct that row or replace the image"
            )
        np.add.at(changes, first, 1)
        np.add.at(changes, first + length, -1)
    covered = changes[:-1].cumsum() > 0
    return np.ascontiguousarray(covered.reshape(width, height).T)


def encode_run_lengths(mask: NDArray[np.bool_]) -> str:
    """Turn a mask into run lengths, the inverse of `decode_run_lengths`.

    Parameters
    ----------
    mask
        (H, W) bool.

    Returns
    -------
    str
        "start length start length ...", empty for an empty mask.

    Examples
    --------
    >>> encode_run_lengths(np.array([[0, 1], [1, 0]], bool))
    '2 2'
    """
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def fill_boxes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Turn a mask into the filled upright boxes around its connected parts.

    Parameters
    ----------
    mask
        (H, W) bool. Pixels that touch at a corner are connected.

    Returns
    -------
    ndarray
        (H, W) bool, True inside every box.

    Examples
    --------
    >>> fill_boxes(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], bool)).astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [0, 0, 0]])
    """
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    boxes = np.zeros_like(mask)
    for x, y, width, height, _ in stats[1:count]:  # the first is the background
        boxes[y : y + height, x : x + width] = True
    return boxes


def _check_mask(path: Path, values: NDArray[Any], size: ImageSize) -> None:
    if values.shape[:2] != tuple(size):
        raise ImageError(
            f"the mask {path} is {values.shape[0]} x {values.shape[1]} pixels (height x width), its image"
            f" {size[0]} x {size[1]}; save the mask in the size of its image"
        )
    distinct = max(_count_distinct(values[..., band]) for band in range(values.shape[2]))
    if distinct > MAX_MASK_VALUES:
        raise ImageError(
            f"the mask {path} holds {distinct} different values from {values.min()} to {values.max()}, as a"
            " photo, a JPEG or a smoothed copy does; expected 0 for good and at most"
            f" {MAX_MASK_VALUES - 1} values above 0 for defect, so save it as PNG with 0 = good and"
            " 255 = defect"
        )


def _count_distinct(values: NDArray[Any]) -> int:
    if values.dtype == np.uint8:  # much faster than sorting
        return int(np.count_nonzero(np.bincount(values.ravel(), minlength=256)))
    return len(np.unique(values))


def _shorten(text: str) -> str:
    return f'"{text}"' if len(text) <= 40 else f'"{text[:37]}..."'
