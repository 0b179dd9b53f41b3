"""The convolutions' 8-bit form: weights by their own range, inputs by what calibrating images show.

A convolution's inputs are never negative (they come out of a ReLU), so 0 to 255 stands for 0 to the largest
value seen. Weights are symmetric, -127 to 127, with a scale for each output channel. There is nothing else
to choose: the normalisation that follows takes out any shift or scale that the rounding adds to a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from segdec.export.graph import Quantized


def largest_inputs(names: Iterable[str], seen: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Choose the value that becomes 255 for each convolution: the mean over the images of their largest.

    The very largest would be decided by one bright spot, and cost all others a part of their levels.

    Parameters
    ----------
    names
        Of the weights.
    seen
        Of each calibrating image, the largest input of each convolution.

    Returns
    -------
    dict
        Name -> value, above 0.
    """
    rows = list(seen)
    tiny = float(np.finfo(np.float32).tiny)  # a layer that is always 0
    return {name: max(float(np.mean([row[name] for row in rows])), tiny) for name in names}


def quantize_weight(weight: NDArray[np.float32], peak: float) -> Quantized:
    """Round a kernel to 8 bits.

    Parameters
    ----------
    weight
        (C_out, C_in, k, k).
    peak
        The input that becomes 255.

    Returns
    -------
    Quantized

    Examples
    --------
    >>> form = quantize_weight(np.array([[[[1.27]]], [[[-0.5]]]], np.float32), peak=6.0)
    >>> form.values.ravel().tolist(), (1000 * form.scales).round().tolist()
    ([127, -127], [10.0, 4.0])
    """
    largest = np.abs(weight).max(axis=(1, 2, 3))
    scales = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
    values = np.rint(weight / scales[:, None, None, None])
    return Quantized(np.clip(values, -127, 127).astype(np.int8), scales, peak)
