"""From a file or an array to the pixels that a network takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdec.config import STRIDE
from segdec.errors import ImageError
from segdec.imaging import Pixels, convert_channels, read_image, resize_image
from segdec.model_card import ModelCard
from segdec.types import ImageSize

_LEAST_SIDE = 64
"""Pixels: as many as the smallest network input has."""


def network_pixels(
    image: NDArray[Any] | str | Path, card: ModelCard, name: str = ""
) -> tuple[Pixels, ImageSize]:
    """Read an image and bring it to the size that a network takes.

    Parameters
    ----------
    image
        A file, or an array as of `to_pixels`.
    card
        What the network takes.
    name
        What errors call the image.

    Returns
    -------
    pixels
        (h, w, C) uint8 or uint16.
    size
        (height, width) of the image itself.

    Raises
    ------
    ImageError
        If it cannot be read, or is too small.
    """
    if isinstance(image, str | Path):
        pixels = read_image(image, card.channels)
    else:
        pixels = to_pixels(image, card.channels)
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    check_size(size, name, card.image_size)
    return resize_image(pixels, card.image_size), size


def check_size(size: ImageSize, name: str, wanted: ImageSize | None) -> None:
    """Refuse an image with too few pixels along a side: it shows no defect.

    Parameters
    ----------
    size
        (height, width) of the image.
    name
        What the error calls it.
    wanted
        (height, width) that the network takes; None takes images in tiles, or is not known.

    Raises
    ------
    ImageError
        If a side has fewer pixels than 64 (or than the network takes, where that is less), or than the score
        map has cells.
    """
    least = [max(min(_LEAST_SIDE, side), side // STRIDE) for side in wanted or (_LEAST_SIDE, _LEAST_SIDE)]
    if size[0] < least[0] or size[1] < least[1]:
        model = "segdec" if wanted is None else f"a model for {wanted[0]} x {wanted[1]}"
        raise ImageError(
            f"{name or 'the image'} is too small: {size[0]} x {size[1]} pixels (height x width), and {model}"
            f" takes {least[0]} x {least[1]} and more; give the whole image"
        )


def to_pixels(image: NDArray[Any], channels: Literal[1, 3]) -> NDArray[Any]:
    """Give an array the form of `segdec.imaging.read_image`.

    Parameters
    ----------
    image
        (H, W) or (H, W, C) uint8 or uint16, C 1, 3 or 4.
    channels
        1 for grey, 3 for red, green, blue.

    Returns
    -------
    ndarray
        (H, W, channels), contiguous.

    Raises
    ------
    ImageError
        If the array is no such image.

    Examples
    --------
    >>> to_pixels(np.zeros((4, 6), np.uint8), 3).shape
    (4, 6, 3)
    """
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ImageError(f"an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an image must hold uint8 or uint16 values, got {image.dtype}; convert it first")
    return convert_channels(pixels[..., :3], channels)
