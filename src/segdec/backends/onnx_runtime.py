"""An exported graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.backends.exported import score_of, to_pixel_type
from segdec.certificate import BackendName, Precision
from segdec.errors import MissingExtraError, ModelError
from segdec.imaging import Pixels
from segdec.runtime import available_cpus

_PIXELS: dict[str, type[np.unsignedinteger[Any]]] = {"tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16}


class OnnxBackend:
    """A graph on the CPU.

    Parameters
    ----------
    path
        The file; its weights lie beside it.
    precision
        What the file computes in.
    threads
        How many compute; None takes all that the process may use.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    ModelError
        If the file is no graph of segdec.
    """

    name: BackendName = "onnx"

    def __init__(self, path: Path, precision: Precision, threads: int | None = None) -> None:
        try:
            import onnxruntime as runtime
            from onnxruntime.capi import onnxruntime_pybind11_state as errors
        except ImportError as error:
            raise MissingExtraError(
                f"this needs ONNX Runtime, which is not installed ({error}); install it with:"
                " pip install onnxruntime"
            ) from error
        self.precision = precision
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or available_cpus()
        options.log_severity_level = 3  # errors
        broken = (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.InvalidArgument)
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self._pixels = _PIXELS[self._session.get_inputs()[0].type]
        except (*broken, errors.NotImplemented, errors.RuntimeException, KeyError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{path} is no graph that can be computed: {reason}; export it again") from error

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Return (h, w, C) in the graph's type."""
        return to_pixel_type(pixels, self._pixels)

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score prepared images."""
        logits, maps = self._session.run(["logit", "score_map"], {"pixels": np.stack(images)})
        return score_of(logits), maps
