"""The parts of an ONNX graph: nodes, constants, and weights that stay in the model's own file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.model_io import WEIGHTS


@dataclass(frozen=True)
class Weight:
    """Where a weight lies.

    Attributes
    ----------
    shape
        Its sides.
    offset
        Of its first byte in the file.
    """

    shape: tuple[int, ...]
    offset: int

    @property
    def length(self) -> int:
        """Bytes of float32."""
        return 4 * int(np.prod(self.shape))


def locate_weights(path: Path) -> dict[str, Weight]:
    """Read where the weights lie in a safetensors file that was checked before.

    Parameters
    ----------
    path
        The file; it holds float32.

    Returns
    -------
    dict
        Name -> place.
    """
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return {
        name: Weight(tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__"
    }


class Nodes:
    """Nodes and constants of a graph that grows.

    Parameters
    ----------
    weights
        Where those lie that the graph refers to.
    """

    def __init__(self, weights: Mapping[str, Weight]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        from onnx import helper

        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any] | np.generic | Sequence[int] | int | float) -> str:
        """Put a constant into the graph; Python's integers become int64, its floats float32."""
        from onnx import numpy_helper

        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        """Refer to a weight in the file beside, in its own shape or one of as many values."""
        from onnx import StringStringEntryProto, TensorProto

        place = self.weights[name]
        if all(each.name != name for each in self.constants):
            entries = {"location": WEIGHTS, "offset": str(place.offset), "length": str(place.length)}
            tensor = TensorProto(
                name=name,
                data_type=TensorProto.FLOAT,
                dims=shape or place.shape,
                data_location=TensorProto.EXTERNAL,
                external_data=[StringStringEntryProto(key=key, value=text) for key, text in entries.items()],
            )
            self.constants.append(tensor)
        return name

    def side(self, x: str, axis: int) -> str:
        """Return the length of an axis, (1,) int64."""
        return self.add("Shape", x, start=axis, end=axis + 1)

    def integers(self, operator: str, *operands: str | int) -> str:
        """Compute with (1,) int64 values; integers become constants."""
        return self.add(
            operator, *(self.constant([each]) if isinstance(each, int) else each for each in operands)
        )
