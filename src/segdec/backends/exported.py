"""What the backends of exported graphs share: pixels as they take them, scores from their outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.errors import ImageError
from segdec.imaging import Pixels

TRANSFORM = "transform_"
"""What the names of the spectral form's products with constant matrices begin with."""


def to_pixel_type(pixels: Pixels, wanted: type[np.unsignedinteger[Any]]) -> Pixels:
    """Give an image the values that a graph takes: 8-bit ones become 16-bit ones without a loss.

    Parameters
    ----------
    pixels
        (h, w, C) uint8 or uint16.
    wanted
        numpy.uint8 or numpy.uint16.

    Returns
    -------
    ndarray
        (h, w, C) of that type.

    Raises
    ------
    ImageError
        If 16-bit values would have to become 8-bit ones.

    Examples
    --------
    >>> to_pixel_type(np.array([[[255]]], np.uint8), np.uint16).item()
    65535
    """
    if pixels.dtype == wanted:
        return pixels
    if pixels.dtype == np.uint16:
        raise ImageError(
            "the image holds 16-bit values, but the model was exported for 8-bit images; export it again with"
            " 16-bit images among those that certify it (--images), or use --backend torch"
        )
    return pixels.astype(np.uint16) * np.uint16(257)  # 65535 / 255


def score_of(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn a graph's logits into scores, in float64: it tells scores apart that float32 rounds to 1.

    Parameters
    ----------
    logits
        Any shape.

    Returns
    -------
    ndarray
        The same shape, in [0, 1].

    Examples
    --------
    >>> score_of(np.array([-800, 0, 800], np.float32)).tolist()
    [0.0, 0.5, 1.0]
    """
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))  # never overflows
    scores: NDArray[np.float64] = np.where(wide >= 0, 1, small) / (1 + small)
    return scores
