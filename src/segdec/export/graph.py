"""The network as an ONNX graph: from integer pixels to scores and score maps.

The graph is built node by node from the network's sizes, so that batch, height and width stay open. Its
weights are not in it: it names their place in ``weights.safetensors`` beside it (ONNX calls that external
data), so several graphs over the same weights cost a few kilobytes each. Only what a graph has in a form of
its own, 8-bit weights and the matrices of the spectral form, lies inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from segdec.backends.exported import TRANSFORM
from segdec.certificate import Form
from segdec.config import STRIDE, NetworkConfig
from segdec.export.nodes import Nodes, Weight
from segdec.types import ImageSize

if TYPE_CHECKING:
    from onnx import ModelProto

PixelType = Literal["uint8", "uint16"]

_OPSET = 18
_IR = 9  # of ONNX Runtime 1.14 (2023) and newer


def build_graph(
    network: NetworkConfig,
    weights: Mapping[str, Weight],
    pixels: PixelType,
    tile: int | None = None,
    quantized: Mapping[str, Quantized] | None = None,
) -> ModelProto:
    """Build the graph.

    Its input is ``pixels`` (N, H, W, C), H and W multiples of 8 and at least 64. Its outputs are ``score``
    (N,) and ``score_map`` (N, H/8, W/8) in [0, 1], and ``logit`` (N,): the score before its sigmoid, which
    tells scores apart that float32 rounds to 1.

    Parameters
    ----------
    network
        Sizes.
    weights
        Where they lie.
    pixels
        What the graph takes: "uint8" counts to 255, "uint16" to 65535.
    tile
        Side of the tiles of the spectral context layer; None takes the direct form.
    quantized
        Weight name -> its 8-bit form, for the convolutions that compute in 8 bits.

    Returns
    -------
    onnx.ModelProto
        To be saved in the folder of the weights.
    """
    return _Network(network, weights, quantized or {}).build(pixels, tile)


def save_graph(
    path: Path,
    network: NetworkConfig,
    weights: Mapping[str, Weight],
    pixels: PixelType,
    image_size: ImageSize,
    form: Form,
    quantized: Mapping[str, Quantized] | None = None,
) -> None:
    """Build a graph for images of one size, though it takes others, and write it beside its weights.

    Parameters
    ----------
    path
        The file; the weights lie in its folder.
    network, weights, pixels, quantized
        As of `build_graph`.
    image_size
        (height, width) that the spectral form's tiles are chosen for.
    form
        Of the context layer.
    """
    tile = spectral_tile(network, image_size) if form == "spectral" else None
    graph = build_graph(network, weights, pixels, tile, quantized)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def build_peaks(network: NetworkConfig, weights: Mapping[str, Weight], pixels: PixelType) -> ModelProto:
    """Build the graph that gives the largest input of each convolution that may be quantised.

    Parameters
    ----------
    network, weights, pixels
        As of `build_graph`.

    Returns
    -------
    onnx.ModelProto
        Its outputs are numbers, in the order of `quantizable`; it ends before the context layer.
    """
    return _Network(network, weights, {}).build_peaks(pixels)


@dataclass(frozen=True)
class Quantized:
    """A convolution in 8 bits.

    Attributes
    ----------
    values
        (C_out, C_in, k, k) int8.
    scales
        (C_out,) float32: a weight is its value times the scale of its output channel.
    peak
        The input that becomes 255; it starts from 0.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    peak: float


def quantizable(network: NetworkConfig) -> tuple[str, ...]:
    """Name the weights of the convolutions that may compute in 8 bits.

    The first sees the image itself, the context layer has a faster form, and the heads decide.

    Parameters
    ----------
    network
        Sizes.

    Examples
    --------
    >>> quantizable(NetworkConfig(block_depths=(1, 2, 1)))
    ('segmentation.2.0.weight', 'segmentation.3.0.weight', 'segmentation.5.0.weight')
    """
    layers = [layer for layer in _layers(network) if layer is not None]
    return tuple(f"segmentation.{place}.0.weight" for place in layers[1:])


def _layers(network: NetworkConfig) -> list[int | None]:
    """Return the places of the 5 x 5 convolutions in the segmentation stage; None is a pooling."""
    places: list[int | None] = []
    for depth in network.block_depths:
        places += [*range(len(places), len(places) + depth), None]
    return places


class _Network(Nodes):
    """The layers of `segdec.network.SegDecNet` as nodes."""

    def __init__(
        self,
        network: NetworkConfig,
        weights: Mapping[str, Weight],
        quantized: Mapping[str, Quantized],
    ) -> None:
        super().__init__()
        self.network, self.weights, self.quantized = network, weights, quantized

    def build(self, pixels: PixelType, tile: int | None) -> ModelProto:
        """Return the whole graph."""
        name = f"segmentation.{len(_layers(self.network))}"
        x = self._blocks(self._image(pixels))
        features = self._context(x, name, tile)  # (N, 1024, H/8, W/8)
        seg_logits = self._norm(self._conv(features, "seg_head.0.weight"), "seg_head.1")  # (N, 1, H/8, W/8)
        dec_logits = self._decision(features, seg_logits)
        self.add("Sigmoid", self.add("Squeeze", seg_logits, self.constant([1])), name="score_map")
        self.add("Squeeze", dec_logits, self.constant([1]), name="logit")
        self.add("Sigmoid", "logit", name="score")
        grid = ["batch", f"height/{STRIDE}", f"width/{STRIDE}"]
        return self._close(pixels, {"score": ["batch"], "score_map": grid, "logit": ["batch"]})

    def build_peaks(self, pixels: PixelType) -> ModelProto:
        """Return a graph of the blocks alone."""
        seen: dict[str, str] = {}
        self._blocks(self._image(pixels), seen)
        names = quantizable(self.network)
        return self._close(
            pixels,
            {self.add("ReduceMax", seen[name], name=f"peak:{name}", keepdims=0): [] for name in names},
        )

    def _image(self, pixels: PixelType) -> str:
        """Return the image in [0, 1], (N, C, H, W)."""
        from onnx import TensorProto

        grey = self.add("Cast", "pixels", to=TensorProto.FLOAT)
        grey = self.add("Div", grey, self.constant(float(np.iinfo(pixels).max)))
        return self.add("Transpose", grey, perm=(0, 3, 1, 2))

    def _close(self, pixels: PixelType, outputs: Mapping[str, Sequence[str]]) -> ModelProto:
        from onnx import TensorProto, helper

        number = TensorProto.UINT8 if pixels == "uint8" else TensorProto.UINT16
        sides: list[str | int | None] = ["batch", "height", "width", self.network.in_channels]
        graph = helper.make_graph(
            self.nodes,
            "segdec",
            [helper.make_tensor_value_info("pixels", number, sides)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in outputs.items()
            ],
            self.constants,
        )
        opset = helper.make_opsetid("", _OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=_IR, producer_name="segdec")

    def _blocks(self, x: str, seen: dict[str, str] | None = None) -> str:
        """Compute everything before the context layer; note what each convolution sees."""
        for place, layer in enumerate(_layers(self.network)):
            if layer is not None and seen is not None:
                seen[f"segmentation.{layer}.0.weight"] = x
            x = self._pool(x) if layer is None else self._conv_norm_relu(x, f"segmentation.{place}")
        return x  # (N, 64, H/8, W/8)

    def _context(self, x: str, name: str, tile: int | None) -> str:
        """Compute the layer with the large window, in any of its forms."""
        if self.network.context_form == "dilated":
            for place, step in enumerate(self.network.dilations):
                x = self._conv_norm_relu(x, f"{name}.{place}", step)
            return self._conv_norm_relu(x, f"{name}.{len(self.network.dilations)}")
        if self.network.context_form == "separable":
            depthwise = f"{name}.0.0.weight"
            x = self._conv(x, depthwise, group=self.weights[depthwise].shape[0])
            x = self._conv(x, f"{name}.0.1.weight")
        elif tile is None:
            x = self._conv(x, f"{name}.0.weight")
        else:
            x = self._spectral(x, f"{name}.0.weight", tile)
        return self.add("Relu", self._norm(x, f"{name}.1"))

    def _decision(self, features: str, seg_logits: str) -> str:
        """Return the logit of each image, (N, 1)."""
        maps = self.add("Concat", features, seg_logits, axis=1)
        for place in range(1, 2 * len(self.network.decision_channels), 2):
            maps = self._conv_norm_relu(self._pool(maps), f"decision.{place}")
        sides = self.constant([2, 3])
        pooled = [
            self.add(operator, source, sides, keepdims=0)
            for source in (maps, seg_logits)
            for operator in ("ReduceMax", "ReduceMean")
        ]
        seen = self.add("Concat", *pooled, axis=1)  # (N, 66)
        return self.add("Gemm", seen, self._weight("fc.weight"), self._weight("fc.bias"), transB=1)

    def _conv_norm_relu(self, x: str, name: str, step: int = 1) -> str:
        return self.add("Relu", self._norm(self._conv(x, f"{name}.0.weight", step), f"{name}.1"))

    def _pool(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))

    def _weight(self, name: str, shape: Sequence[int] | None = None) -> str:
        return self.weight(name, self.weights[name], shape or self.weights[name].shape)

    def _conv(self, x: str, name: str, step: int = 1, group: int = 1) -> str:
        """Convolve with "same" padding; ``step`` is the distance of the kernel's pixels."""
        kernel = self.weights[name].shape[-1]
        if name in self.quantized:
            x, weight = self._eight_bits(x, self.quantized[name])
        else:
            weight = self._weight(name)
        return self.add(
            "Conv",
            x,
            weight,
            kernel_shape=(kernel, kernel),
            pads=(step * (kernel // 2),) * 4,
            dilations=(step, step),
            group=group,
        )

    def _eight_bits(self, x: str, form: Quantized) -> tuple[str, str]:
        """Return input and weight as 8-bit values and what they stand for; a runtime merges that."""
        step, zero = self.constant(form.peak / 255), self.constant(np.uint8(0))
        x = self.add("DequantizeLinear", self.add("QuantizeLinear", x, step, zero), step, zero)
        scales, zeros = self.constant(form.scales), self.constant(np.zeros(len(form.scales), np.int8))
        return x, self.add("DequantizeLinear", self.constant(form.values), scales, zeros, axis=0)

    def _norm(self, x: str, name: str) -> str:
        """Normalise as `segdec.network.FeatureNorm` does: by the square root of the standard deviation."""
        frozen = f"{name}.mean" in self.weights
        mean, deviation = (
            (self._column(f"{name}.mean"), self._column(f"{name}.std")) if frozen else self._statistics(x)
        )
        root = self.add("Sqrt", self.add("Add", deviation, self.constant(0.001)))
        factor = self.add("Div", self._column(f"{name}.scale"), root)
        bias = self._column(f"{name}.bias") if f"{name}.bias" in self.weights else ""
        if not frozen:
            x = self.add("Mul", self.add("Sub", x, mean), factor)
            return self.add("Add", x, bias) if bias else x
        # one product and one sum, which a runtime moves into the convolution
        shift = self.add("Mul", mean, factor)
        shift = self.add("Sub", bias, shift) if bias else self.add("Neg", shift)
        return self.add("Add", self.add("Mul", x, factor), shift)

    def _statistics(self, x: str) -> tuple[str, str]:
        """Return mean and unbiased standard deviation of each image and channel, (N, C, 1, 1)."""
        sides = self.constant([2, 3])
        mean = self.add("ReduceMean", x, sides)
        # one pixel alone has no deviation, which 0 / 1 says, too
        freedom = self.integers("Sub", self.integers("Mul", self.side(x, 2), self.side(x, 3)), 1)
        freedom = self.add("Cast", self.integers("Max", freedom, 1), to=1)
        squares = self.add("ReduceSumSquare", self.add("Sub", x, mean), sides)
        return mean, self.add("Sqrt", self.add("Div", squares, freedom))

    def _column(self, name: str) -> str:
        """Refer to a weight of each channel, (C, 1, 1)."""
        return self._weight(name, (*self.weights[name].shape, 1, 1))

    def _spectral(self, x: str, name: str, tile: int) -> str:
        """Convolve as `segdec.spectral` does, which explains the steps."""
        c_out, c_in, _, kernel = self.weights[name].shape
        half, step = tile // 2 + 1, tile - kernel + 1
        height, width = self.side(x, 2), self.side(x, 3)
        down, across = self._tiles(height, step), self._tiles(width, step)
        x = self.add("Transpose", self.add("Mul", x, self.constant(tile**-2.0)), perm=(0, 2, 3, 1))
        for axis, size, count in ((1, height, down), (2, width, across)):
            x = self._cut(x, axis, size, count, tile, step)
        batch = self.side(x, 0)

        def shape(*sides: int | str) -> str:
            parts = (each if isinstance(each, str) else self.constant([each]) for each in sides)
            return self.add("Concat", *parts, axis=0)

        # (N, down T, across T, C) -> (T across, T down, N tiles C)
        x = self.add("Reshape", x, shape(batch, down, tile, across, tile, c_in))
        x = self.add("Transpose", x, perm=(4, 2, 0, 1, 3, 5))
        x = self.add("Reshape", x, shape(tile, -1))
        cos, sin = _waves(half, tile, tile)
        x = self._transform(_alternate(cos, -sin), x)  # (half re/im, T N tiles C)
        tiles = self.integers("Mul", self.integers("Mul", batch, down), across)
        x = self.add("Reshape", x, shape(half, 2 * tile, -1))
        x = self._transform(_rows(tile), x)  # (half, T 4, tiles C)
        x = self.add("Reshape", x, shape(half * tile, 2, 2, tiles, c_in))
        x = self.add("Transpose", x, perm=(0, 1, 3, 2, 4))
        x = self.add("Reshape", x, shape(half * tile, -1, 2 * c_in))
        x = self.add("MatMul", x, self._spectrum(name, tile))  # (half T, re/im tiles, C_out)

        x = self.add("Reshape", x, shape(half, 2 * tile, -1))
        cos, sin = _waves(step, tile, tile)
        back = _turn(cos, sin).reshape(step, 2, 2 * tile).transpose(1, 0, 2).reshape(2 * step, 2 * tile)
        x = self._transform(back, x)  # (half, re/im step, tiles C_out)
        x = self.add("Reshape", x, shape(2 * half, -1))
        x = self._transform(_back_across(step, tile), x)  # (step, step tiles C_out)
        x = self.add("Reshape", x, shape(step, step, batch, down, across, c_out))
        x = self.add("Transpose", x, perm=(2, 3, 1, 4, 0, 5))  # channels stay innermost: whole rows are moved
        full = [self.integers("Mul", count, step) for count in (down, across)]
        x = self.add("Reshape", x, shape(batch, *full, c_out))
        ends = self.add("Concat", height, width, axis=0)
        x = self.add("Slice", x, self.constant([0, 0]), ends, self.constant([1, 2]))
        return self.add("Transpose", x, perm=(0, 3, 1, 2))

    def _transform(self, matrix: Waves, x: str) -> str:
        """Multiply by a constant from the left, under a name by which a runtime may know it."""
        return self.add("MatMul", self.constant(matrix), x, name=f"{TRANSFORM}{len(self.nodes)}")

    def _tiles(self, size: str, step: int) -> str:
        """Return how many tiles cover an axis."""
        return self.integers("Div", self.integers("Add", size, step - 1), step)

    def _cut(self, x: str, axis: int, size: str, count: str, tile: int, step: int) -> str:
        """Replace an axis by the overlapping tiles along it, with zeros where they hang over the edge."""
        before = (tile - step) // 2
        after = self.integers("Sub", self.integers("Add", self.integers("Mul", count, step), before), size)
        pads = self.add("Concat", self.constant([before]), after, axis=0)
        x = self.add("Pad", x, pads, "", self.constant([axis]))
        squeeze = self.constant([0])
        numbers = self.add("Range", self.constant(0), self.add("Squeeze", count, squeeze), self.constant(1))
        first = self.add("Unsqueeze", self.add("Mul", numbers, self.constant(step)), self.constant([1]))
        places = self.add("Add", first, self.constant(np.arange(tile)))  # (count, T)
        return self.add("Gather", x, self.add("Reshape", places, self.constant([-1])), axis=axis)

    def _spectrum(self, name: str, tile: int) -> str:
        """Transform the kernel: constant, so a runtime computes it once, when it loads the graph.

        A runtime keeps every step of that in memory until it is done: hence one product in the order that
        is needed, and as few nodes as can be.
        """
        c_out, c_in, _, kernel = self.weights[name].shape
        half, window = tile // 2 + 1, kernel * kernel
        w = self.add("Transpose", self._weight(name, (c_out, c_in, window)), perm=(2, 1, 0))
        w = self.add("Reshape", w, self.constant([window, c_in * c_out]))
        # waves over the window, picked from a line of cosines and sines: written out they were megabytes
        across, down = (np.outer(np.arange(rows), np.arange(kernel)) % tile for rows in (half, tile))
        parts = down[:, None, :, None] + [[[0]], [[2 * tile]]]  # (T, re/im, k, 1)
        places = self.add("Add", self.constant(across[:, None, None, None]), self.constant(parts))
        angle = np.arange(2 * tile) * (2 * np.pi / tile)  # of two turns: places are sums of two within one
        waves = self.add("Gather", self.constant(np.concatenate([np.cos(angle), np.sin(angle)])), places)
        waves = self.add("Reshape", waves, self.constant([2 * half * tile, window]))
        w = self.add("MatMul", waves, w)  # (half T re/im, C_in C_out)
        return self.add("Reshape", w, self.constant([half * tile, 2 * c_in, c_out]))


Waves = NDArray[np.float64]


def _waves(rows: int, columns: int, tile: int) -> tuple[Waves, Waves]:
    """Cosine and sine of 2 pi r c / T, each (rows, columns)."""
    angle = np.outer(np.arange(rows), np.arange(columns)) % tile * (2 * np.pi / tile)
    return np.cos(angle), np.sin(angle)


def _alternate(first: Waves, second: Waves) -> Waves:
    """Rows of both in turn, (2 rows, columns)."""
    return np.stack([first, second], axis=1).reshape(-1, first.shape[1])


def _turn(cos: Waves, sin: Waves) -> Waves:
    """The complex matrix cos + i sin as a real one, (2 rows, 2 columns), re and im alternating in both."""
    both = [np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)]
    return np.stack(both, axis=1).reshape(2 * cos.shape[0], 2 * cos.shape[1])


def _rows(tile: int) -> Waves:
    """Transform all real, then all imaginary parts along the height into rows re, -im, im, re by turns."""
    cos, sin = _waves(tile, tile, tile)
    real, imag = np.concatenate([cos, sin], axis=1), np.concatenate([-sin, cos], axis=1)
    return np.stack([real, -imag, imag, real], axis=1).reshape(4 * tile, 2 * tile)


def _back_across(step: int, tile: int) -> Waves:
    """The inverse transform along the width from half of the frequencies; those left out are conjugates."""
    half = tile // 2 + 1
    cos, sin = _waves(step, half, tile)
    turn = 2 * np.stack([cos, -sin], axis=2).reshape(step, 2 * half)
    turn[:, :2] /= 2
    if tile % 2 == 0:
        turn[:, -2:] /= 2
    return turn


def spectral_tile(network: NetworkConfig, image_size: ImageSize) -> int:
    """Choose the side of the spectral form's tiles for images of one size.

    Parameters
    ----------
    network
        Sizes.
    image_size
        (height, width) of the images; others may come, and take a little longer.
    """
    from segdec.spectral import choose_tile

    return choose_tile(1, image_size[0] // STRIDE, image_size[1] // STRIDE, network.context_kernel)
