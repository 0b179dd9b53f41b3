"""What a backend is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segdec.certificate import BackendName, Precision
from segdec.imaging import Pixels


class Backend(Protocol):
    """Computes the network.

    Attributes
    ----------
    name : str
        "torch", "onnx" or "openvino".
    precision : str
        What it computes in.
    """

    name: BackendName
    precision: Precision

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Give an image of the network's size, (h, w, C) integers, the form that a call takes.

        It may run in another thread than the calls.

        Raises
        ------
        ImageError
            If the backend cannot take such values.
        """
        ...

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score prepared images of one size: scores (N,) and score maps (N, h/8, w/8), all in [0, 1]."""
        ...
