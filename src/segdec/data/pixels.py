"""An image and what is known of its pixels, as the network takes them: resized, or a tile cut out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segdec.config import Config, DataConfig
from segdec.imaging import (
    DEFECT,
    GOOD,
    UNKNOWN,
    Pixels,
    fill_boxes,
    open_rows,
    read_image,
    read_marks,
    resize_image,
    resize_mask,
)
from segdec.tiles import Origin, pad_tile, read_tile
from segdec.types import ImageSize, Sample, Shapes
from segdec.weighting import dilate


def load_pixels(sample: Sample, config: Config) -> tuple[Pixels, NDArray[np.uint8]]:
    """Read an image and what is known of its pixels, at the network's input size.

    Parameters
    ----------
    sample
        Which; a tile of an image is cut out, and nothing is resized.
    config
        ``data.image_size`` and ``data.channels`` must be set. Defects are dilated after the resize, over
        good pixels only; scribbles are not.

    Returns
    -------
    image
        (H, W, C) uint8 or uint16.
    marks
        (H, W) as from `segdec.imaging.read_marks`: DEFECT and SCRIBBLED on defects, UNKNOWN throughout a
        defective image without mask.

    Raises
    ------
    ImageError
        If a file cannot be used.
    """
    size, channels = config.data.image_size, config.data.channels
    if size is None or channels is None:
        raise ValueError("data.image_size and data.channels must be set before images are loaded")
    if sample.origin is not None:
        return _load_tile(sample, sample.origin, config)
    image = read_image(sample.image, channels)
    marks = load_marks(sample, (image.shape[0], image.shape[1]), size, config.data)
    return resize_image(image, size), marks


def load_marks(sample: Sample, size: ImageSize, target: ImageSize, config: DataConfig) -> NDArray[np.uint8]:
    """Read what is known of an image's pixels.

    Parameters
    ----------
    sample
        Which.
    size
        (height, width) of its image.
    target
        (height, width) wanted.
    config
        ``masks`` and ``dilation`` are used.

    Returns
    -------
    ndarray
        (height, width) of the target, as of `load_pixels`.

    Raises
    ------
    ImageError
        If the mask cannot be used.
    """
    if sample.mask is None or not (sample.label or isinstance(sample.mask, Shapes)):
        return np.full(target, UNKNOWN if sample.label else GOOD, np.uint8)
    given = read_marks(sample.mask, size)
    if config.masks == "boxes":
        given[fill_boxes(given == DEFECT) & (given == GOOD)] = DEFECT
    marks = resize_mask(given, target)
    if config.dilation > 1:
        marks[dilate(marks == DEFECT, config.dilation) & (marks == GOOD)] = DEFECT
    return marks


def _load_tile(sample: Sample, origin: Origin, config: Config) -> tuple[Pixels, NDArray[np.uint8]]:
    side = config.data.tile
    if side is None:
        raise ValueError("data.tile must be set before tiles are loaded")
    y, x = origin
    with open_rows(sample.image, config.data.channels) as rows:
        size = rows.size
        pixels = read_tile(rows, origin, side)
    marks = load_marks(sample, size, size, config.data)
    # copies: a cache of views would keep whole images
    return pixels.copy(), pad_tile(marks[y : y + side, x : x + side], side).copy()
