"""From a choice to a backend that computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from segdec.backends.backend import Backend
from segdec.backends.choice import Choice
from segdec.model_card import ModelCard


def open_backend(
    choice: Choice,
    card: ModelCard,
    weights: Mapping[str, NDArray[np.float32]],
    device: str | None = None,
    threads: int | None = None,
) -> Backend:
    """Open what was chosen.

    Parameters
    ----------
    choice
        From `segdec.backends.choose_backend`.
    card, weights
        The model.
    device
        Where PyTorch computes; the others use the CPU.
    threads
        How many compute; None takes all that the process may use. PyTorch has a setting of its own.

    Returns
    -------
    Backend

    Raises
    ------
    MissingExtraError
        If it is not installed.
    ModelError
        If the weights or the graph cannot be used.
    ConfigError
        If the machine has no such device or precision.
    """
    if choice.backend == "torch" or choice.file is None:
        from segdec.backends.pytorch import TorchBackend

        return TorchBackend(
            card, weights, device, choice.context, "bf16" if choice.precision == "bf16" else "fp32"
        )
    if choice.backend == "onnx":
        from segdec.backends.onnx_runtime import OnnxBackend

        return OnnxBackend(choice.file, choice.precision, threads)
    from segdec.backends.openvino_runtime import OpenVinoBackend

    return OpenVinoBackend(choice.file, choice.precision, threads)
