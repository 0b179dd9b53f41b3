"""Multiply-adds: how many an image takes, and how many a second this device reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from segdec.config import NetworkConfig
from segdec.runtime import device_type, keep_fp32_exact, wait_for_device
from segdec.types import ImageSize

if TYPE_CHECKING:
    from torch import Tensor

_RUNS = 9
_WARM_UP = 2


def multiply_adds(network: NetworkConfig, image_size: ImageSize) -> int:
    """Count the multiply-adds of one image: convolutions and the last linear layer, in their direct form.

    Parameters
    ----------
    network
        Sizes.
    image_size
        (height, width) in pixels.

    Returns
    -------
    int

    Examples
    --------
    >>> round(multiply_adds(NetworkConfig(), (512, 512)) / 1e9, 1)
    84.3
    """
    height, width = image_size
    channels, total = network.in_channels, 0
    for out_channels, depth in zip(network.block_channels, network.block_depths, strict=True):
        for _ in range(depth):
            total += height * width * 25 * channels * out_channels
            channels = out_channels
        height, width = height // 2, width // 2
    wide, window = network.context_channels, network.context_kernel**2
    each_cell = {
        "full": window * channels * wide,
        "separable": window * channels + channels * wide,
        "dilated": len(network.dilations) * 9 * channels**2 + channels * wide,
    }[network.context_form]
    total += height * width * (each_cell + wide)  # and the segmentation head
    channels = wide + 1
    for out_channels in network.decision_channels:
        height, width = height // 2, width // 2
        total += height * width * 25 * channels * out_channels
        channels = out_channels
    return total + 2 * channels + 2


def measure_peak(precision: Literal["fp32", "bf16", "fp16", "int8"], side: int | None = None) -> float:
    """Measure how many multiply-adds a second this device reaches in PyTorch with nothing else to do.

    Parameters
    ----------
    precision
        Of what is multiplied. In int8 it is a product of matrices, with sums in int32; otherwise the faster
        of a product and a wide convolution.
    side
        Rows of the matrices; convolutions have an eighth as many channels. None takes 4096, on a GPU 8192:
        it is done with smaller ones before it is at full speed.

    Returns
    -------
    float
        From the median of a few products.
    """
    import torch

    device = device_type()
    keep_fp32_exact()
    side = side or (4096 if device == "cpu" else 8192)
    with torch.inference_mode():
        if precision == "int8":
            whole = torch.randint(-128, 128, (2, side, side), device=device).to(torch.int8)
            return _speed(side**3, torch._int_mm, *whole)  # PyTorch has no public one
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        product = _speed(side**3, torch.mm, *torch.rand(2, side, side, device=device).to(kind))
        # on some CPUs one library multiplies matrices and another, faster one convolves
        wide, pixels = side // 8, 64
        shapes = (1, wide, pixels, pixels), (wide, wide, 3, 3)
        tensors = [
            torch.rand(shape, device=device).to(kind, memory_format=torch.channels_last) for shape in shapes
        ]
        count = wide * wide * 9 * (pixels - 2) ** 2
        return max(product, _speed(count, torch.nn.functional.conv2d, *tensors))


def _speed(count: int, compute: Callable[..., object], *operands: Tensor) -> float:
    """Return how many multiply-adds a second something reaches that takes so many."""
    seconds = []
    for _ in range(_WARM_UP + _RUNS):
        wait_for_device()
        began = time.perf_counter()
        compute(*operands)
        wait_for_device()
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds[_WARM_UP:])
