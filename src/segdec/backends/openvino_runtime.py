"""An exported graph in OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segdec.backends.exported import TRANSFORM, score_of, to_pixel_type
from segdec.certificate import BackendName, Precision
from segdec.errors import ConfigError, MissingExtraError, ModelError
from segdec.imaging import Pixels
from segdec.runtime import available_cpus

if TYPE_CHECKING:
    from openvino import CompiledModel, Model

# Left to itself, OpenVINO computes fp32 graphs in bf16 where the CPU can.
_HINTS = {"fp32": "f32", "int8": "f32", "bf16": "bf16", "int8-bf16": "bf16"}


class OpenVinoBackend:
    """A graph on the CPU, compiled for images of one size at a time.

    Images of a batch are computed one by one: on a CPU that is as fast, and gives what single images give.

    Parameters
    ----------
    path
        The file; its weights lie beside it.
    precision
        What to compute in.
    threads
        How many compute; None takes all that the process may use.

    Attributes
    ----------
    settings : dict
        Of the compilation, in OpenVINO's words.
    matrices : dict
        Inputs of the compiled graph beside the pixels.

    Raises
    ------
    MissingExtraError
        If OpenVINO is not installed.
    ConfigError
        For a precision with bf16 on a CPU that does not compute in it.
    ModelError
        If the file is no graph of segdec.
    """

    name: BackendName = "openvino"

    def __init__(self, path: Path, precision: Precision, threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError(
                f"this needs OpenVINO, which is not installed ({error}); install it with:"
                " pip install 'segdec[openvino]'"
            ) from error
        self._core = openvino.Core()
        if _HINTS[precision] == "bf16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            raise ConfigError("this CPU does not compute in bf16; choose fp32 or int8")
        self.precision = precision
        self.settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads or available_cpus(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._path = path
        try:
            self._pixels = self._core.read_model(path).input("pixels").element_type.to_dtype().type
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise ModelError(f"{path} is no graph that can be computed: {reason}; export it again") from error
        self._compiled: dict[tuple[int, ...], CompiledModel] = {}
        self.matrices: dict[str, NDArray[np.float32]] = {}

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Return (h, w, C) in the graph's type."""
        return to_pixel_type(pixels, self._pixels)

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score prepared images."""
        compiled = self.compile(images[0].shape)
        answers = [compiled({"pixels": image[None], **self.matrices}) for image in images]
        logits = np.concatenate([answer["logit"] for answer in answers])
        return score_of(logits), np.concatenate([answer["score_map"] for answer in answers])

    def compile(self, shape: tuple[int, ...]) -> CompiledModel:
        """Return the graph for images of a shape (h, w, C); only the last is kept: its weights are large."""
        if shape not in self._compiled:
            self._compiled.clear()
            model = self._core.read_model(self._path)
            if self.settings["INFERENCE_PRECISION_HINT"] == "bf16":
                self.matrices = _to_inputs(model)
            model.reshape({"pixels": [1, *shape]})
            self._compiled[shape] = self._core.compile_model(model, "CPU", self.settings)
        return self._compiled[shape]


def _to_inputs(model: Model) -> dict[str, NDArray[np.float32]]:
    """Make the constant matrices of the spectral form inputs of the graph, and return them by name.

    OpenVINO computes a product with a constant on its left in fp32, whatever it is asked for, and converts
    everything that goes in and out. What comes from outside may be anything, and follows the rest.
    """
    from openvino import opset8

    matrices: dict[str, NDArray[np.float32]] = {}
    inputs = []
    for node in model.get_ops():
        name = node.get_friendly_name()
        if not name.startswith(TRANSFORM):
            continue
        constant = node.input_value(0).get_node()
        given = opset8.parameter(constant.shape, np.float32, name)
        given.output(0).set_names({name})
        node.input(0).replace_source_output(given.output(0))
        matrices[name] = constant.data.copy()  # the graph's own memory goes with the constant
        inputs.append(given)
    model.add_parameters(inputs)
    return matrices
