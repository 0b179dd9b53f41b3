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

from segdec.certificate import Form
from segdec.config import STRIDE, NetworkConfig
from segdec.export.nodes import Weight
from segdec.export.spectral_nodes import SpectralNodes, spectral_tile
from segdec.types import ImageSize

if TYPE_CHECKING:
    from onnx import ModelProto

PixelType = Literal["uint8", "uint16"]

_OPSET = 18
_MANY = 16  # channels; OpenVINO takes the mean of a large map of fewer several times faster when pooled first
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


class _Network(SpectralNodes):
    """The layers of `segdec.network.SegDecNet` as nodes."""

    def __init__(
        self,
        network: NetworkConfig,
        weights: Mapping[str, Weight],
        quantized: Mapping[str, Quantized],
    ) -> None:
        super().__init__(weights)
        self.network, self.quantized = network, quantized

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
        stride = 1
        for place, layer in enumerate(_layers(self.network)):
            if layer is None:
                x, stride = self._pool(x), 2 * stride
                continue
            if seen is not None:
                seen[f"segmentation.{layer}.0.weight"] = x
            few = self.weights[f"segmentation.{place}.1.scale"].shape[0] < _MANY
            x = self._conv_norm_relu(x, f"segmentation.{place}", square=STRIDE // stride if few else 1)
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
            x = self.spectral_conv(x, f"{name}.0.weight", tile)
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
        return self.add("Gemm", seen, self.weight("fc.weight"), self.weight("fc.bias"), transB=1)

    def _conv_norm_relu(self, x: str, name: str, step: int = 1, square: int = 1) -> str:
        return self.add("Relu", self._norm(self._conv(x, f"{name}.0.weight", step), f"{name}.1", square))

    def _pool(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=(2, 2), strides=(2, 2))

    def _conv(self, x: str, name: str, step: int = 1, group: int = 1) -> str:
        """Convolve with "same" padding; ``step`` is the distance of the kernel's pixels."""
        kernel = self.weights[name].shape[-1]
        if name in self.quantized:
            x, weight = self._eight_bits(x, self.quantized[name])
        else:
            weight = self.weight(name)
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

    def _norm(self, x: str, name: str, square: int = 1) -> str:
        """Normalise as `segdec.network.FeatureNorm` does: by the square root of the standard deviation.

        ``square`` divides height and width: the pixels of squares so wide are averaged first.
        """
        frozen = f"{name}.mean" in self.weights
        mean, deviation = (
            (self._column(f"{name}.mean"), self._column(f"{name}.std"))
            if frozen
            else self._statistics(x, square)
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

    def _statistics(self, x: str, square: int) -> tuple[str, str]:
        """Return mean and unbiased standard deviation of each image and channel, (N, C, 1, 1)."""
        mean = self._mean(x, square)
        rest = self.add("Sub", x, mean)
        variance = self._mean(self.add("Mul", rest, rest), square)
        # one pixel alone has no deviation, which 0 * 1 / 1 says, too
        count = self.integers("Mul", self.side(x, 2), self.side(x, 3))
        freedom = self.integers("Max", self.integers("Sub", count, 1), 1)
        share = self.add("Div", *(self.add("Cast", each, to=1) for each in (count, freedom)))
        return mean, self.add("Sqrt", self.add("Mul", variance, share))

    def _mean(self, x: str, square: int) -> str:
        """Return the mean of each image and channel, (N, C, 1, 1)."""
        if square > 1:
            x = self.add("AveragePool", x, kernel_shape=(square, square), strides=(square, square))
        return self.add("ReduceMean", x, self.constant([2, 3]))

    def _column(self, name: str) -> str:
        """Refer to a weight of each channel, (C, 1, 1)."""
        return self.weight(name, (*self.weights[name].shape, 1, 1))
