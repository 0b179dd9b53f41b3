"""Which form of the context convolution is the faster one to train with on this machine: measured."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segdec.config import STRIDE, Config, NetworkConfig
from segdec.network import Context, ContextConv, to_channels_last
from segdec.runtime import may_gain_from_spectral, wait_for_device

if TYPE_CHECKING:
    from accelerate import Accelerator

_PASSES = 3
"""Of which the first one warms up."""

_MOST_PIXELS = 768 * 1024
"""Of the images that are measured with, unless one alone has more: enough to tell the forms apart."""

_CLEARLY = 2 / 3
"""Of the spectral form's time: what the direct one must stay below. A tie would be decided anew by each run,
and the two forms round differently."""


def measure_context(config: Config, accelerator: Accelerator) -> Context:
    """Time the context convolution alone in both forms, forward and backward, and return the faster one.

    Where they are about equally fast it is the spectral one. Neither is compiled for that: compiling takes
    longer than all of the measurement.

    Parameters
    ----------
    config
        Its ``network``, ``data.image_size`` and images per pass are measured with. A window or a number of
        channels too small to gain anything (`segdec.runtime.may_gain_from_spectral`) is not measured.
    accelerator
        Its device and its precision, too.

    Returns
    -------
    str
        "direct" or "spectral".
    """
    if not may_gain_from_spectral(config.network):
        return "direct"
    if config.data.image_size is None:
        raise ValueError("data.image_size must be set before the context convolution is measured")
    height, width = config.data.image_size
    images = -(-config.train.batch_size // config.train.accumulate)
    images = min(images, max(1, _MOST_PIXELS // (height * width)))
    shape = (images, config.network.block_channels[-1], height // STRIDE, width // STRIDE)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))  # (N, 64, H/8, W/8)
    x = x.to(accelerator.device, memory_format=torch.channels_last).requires_grad_()

    spectral = _fastest("spectral", x, config.network, accelerator)
    # on a GPU the first pass loads libraries: its time says nothing
    limit = _CLEARLY * spectral if accelerator.device.type == "cpu" else math.inf
    direct = _fastest("direct", x, config.network, accelerator, limit)
    return "direct" if direct < _CLEARLY * spectral else "spectral"


def _fastest(
    form: Context, x: Tensor, network: NetworkConfig, accelerator: Accelerator, limit: float = math.inf
) -> float:
    """Return the seconds of the fastest pass; none follows one whose forward half alone exceeds the limit."""
    with torch.random.fork_rng(devices=[]):  # the global random state is not this measurement's
        layer = ContextConv(x.shape[1], network.context_channels, network.context_kernel, form)
    to_channels_last(layer)
    layer.to(accelerator.device)
    seconds = math.inf
    for _ in range(_PASSES):
        wait_for_device()
        began = time.perf_counter()
        with accelerator.autocast():
            maps = layer(x)  # (N, 1024, H/8, W/8)
        if time.perf_counter() - began > limit:
            break
        torch.autograd.grad(maps, (x, layer.weight), torch.ones_like(maps))
        wait_for_device()
        seconds = min(seconds, time.perf_counter() - began)
    return seconds
