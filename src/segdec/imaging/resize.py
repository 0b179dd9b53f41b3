"""Sizes and grey levels: resize images and masks, scale to [0, 1]."""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.errors import ImageError
from segdec.types import ImageSize

Truth = TypeVar("Truth", np.bool_, np.uint8)


def to_unit(image: NDArray[Any]) -> NDArray[np.float32]:
    """Scale grey levels to [0, 1].

    Parameters
    ----------
    image
        Any shape, uint8 or uint16.

    Returns
    -------
    ndarray
        The same shape, float32: values divided by 255 or 65535.

    Raises
    ------
    ImageError
        For any other kind of values.

    Examples
    --------
    >>> to_unit(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must hold uint8 or uint16 values, got {image.dtype}; convert it first")
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)


def resize_image(image: NDArray[Any], size: ImageSize) -> NDArray[Any]:
    """Resize an image: means of areas where it shrinks, linear interpolation where it grows.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), uint8, uint16 or float32.
    size
        (height, width) wanted.

    Returns
    -------
    ndarray
        The same kind of array in that size.
    """
    height, width = size
    between = (min(height, image.shape[0]), min(width, image.shape[1]))
    resized = image
    if between != resized.shape[:2]:
        resized = cv2.resize(resized, between[::-1], interpolation=cv2.INTER_AREA)
    if size != resized.shape[:2]:
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, *image.shape[2:])  # OpenCV drops a last axis of 1


def resize_mask(mask: NDArray[Truth], size: ImageSize) -> NDArray[Truth]:
    """Resize a mask, or marks, so that no defect vanishes.

    Where the mask shrinks, each source pixel belongs to the target pixel that its centre falls in, and
    the largest of its source pixels counts: defect before good, known before unknown. Where it grows,
    the nearest one counts.

    Parameters
    ----------
    mask
        (H, W) bool, or uint8 as `segdec.imaging.read_marks` gives them.
    size
        (height, width) wanted.

    Returns
    -------
    ndarray
        (height, width) of the same kind.

    Examples
    --------
    >>> resize_mask(np.array([[0, 0, 0, 1], [0, 0, 0, 0]], bool), (1, 2))
    array([[False,  True]])
    """
    for axis, wanted in enumerate(size):
        present = mask.shape[axis]
        if wanted < present:
            owner = (2 * np.arange(present) + 1) * wanted // (2 * present)
            mask = np.maximum.reduceat(mask, np.searchsorted(owner, np.arange(wanted)), axis=axis)
        elif wanted > present:
            nearest = (2 * np.arange(wanted) + 1) * present // (2 * wanted)
            mask = mask.take(nearest, axis=axis)
    return mask
