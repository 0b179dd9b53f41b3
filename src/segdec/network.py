"""SegDecNet: the two-stage segmentation + decision network of the paper.

Source: Bozic, Tabernik, Skocaj, "End-to-end training of a two-stage neural network for defect
detection", ICPR 2020 (arXiv:2007.07676), Sec. III and Fig. 2.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from segdec.config import NetworkConfig, check_image_size
from segdec.spectral import (
    choose_tile,
    product_dtype,
    spectral_conv2d,
    spectral_conv2d_prepared,
    transform_weight,
)

Context: TypeAlias = Literal["direct", "spectral"]


class FeatureNorm(nn.Module):
    """Normalise each sample and channel over height and width; learned scale and bias per channel.

    ``scale * (x - mean) / sqrt(std + eps) + bias``. It divides by the square root of the *standard
    deviation* (unbiased), not by the standard deviation: the published results come from this form.
    There are no running statistics, so training and evaluation agree. Statistics are taken in at
    least float32.

    Frozen, it takes the same statistics for every image: a product and a sum that fold into the convolution
    before it (`segdec.freezing`). That is not the paper's network.

    Parameters
    ----------
    channels
        Number of channels.
    bias
        Whether a bias is learned.
    frozen
        Whether mean and deviation are fixed; they are then buffers ``mean`` and ``std``, each (C,).
    eps
        Added to the standard deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, bias: bool = True, frozen: bool = False, eps: float = 0.001) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.frozen = frozen
        self.eps = eps
        if frozen:
            self.register_buffer("mean", torch.zeros(channels))
            self.register_buffer("std", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tensor, (N, C, H, W) like ``x``."""
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        if self.frozen:
            std, mean = self.std.view(1, -1, 1, 1), self.mean.view(1, -1, 1, 1)
        else:
            std, mean = image_statistics(wide)  # (N, C, 1, 1)
        factor = self.scale.view(1, -1, 1, 1) / torch.sqrt(std + self.eps)
        normalised = (wide - mean) * factor
        if self.bias is not None:
            normalised = normalised + self.bias.view(1, -1, 1, 1)
        return normalised.to(x.dtype)


def image_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unbiased standard deviation and the mean of each sample and channel.

    Parameters
    ----------
    x
        (N, C, H, W).

    Returns
    -------
    std, mean
        (N, C, 1, 1) each.
    """
    # one pixel (a 64-pixel input at 1/64) has no unbiased deviation: its deviation is 0
    correction = 0 if x.shape[2] * x.shape[3] == 1 else 1
    return torch.std_mean(x, dim=(2, 3), correction=correction, keepdim=True)


class ContextConv(nn.Conv2d):
    """The convolution with the large window, in one of two exact forms over the same weights.

    Parameters
    ----------
    in_channels, out_channels, kernel
        As of an ``nn.Conv2d`` with "same" padding and no bias.
    form
        "direct" or "spectral" (`segdec.spectral`): what is faster depends on the machine.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, form: Context) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.form = form
        self._prepared: tuple[tuple[object, ...], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W)."""
        if self.form == "direct":
            return super().forward(x)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return spectral_conv2d(x, self.weight)
        return spectral_conv2d_prepared(x, self._spectrum(x), self.weight.shape[-1])

    def _spectrum(self, x: Tensor) -> Tensor:
        """Return the transformed weights; made anew only when weights, tile or precision have changed."""
        tile = choose_tile(x.shape[0], x.shape[2], x.shape[3], self.weight.shape[-1])
        version = 0 if self.weight.is_inference() else self.weight._version
        key = (tile, version, self.weight.data_ptr(), product_dtype(self.weight))
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = None  # frees the old one first: it is large
            self._prepared = (key, transform_weight(self.weight, tile))
        return self._prepared[1]


class InFp32(nn.Module):
    """A layer that is computed in float32, whatever autocast computes around it in.

    Parameters
    ----------
    layer
        With weights in float32.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer makes of ``x``."""
        with torch.autocast(x.device.type, enabled=False):
            return cast(Tensor, self.layer(x.float()))


class SegDecNet(nn.Module):
    """Segmentation stage, decision stage, and the adjusted gradient between them.

    Parameters
    ----------
    config
        Sizes; the defaults are the paper's.
    gradient_scale
        The factor on the gradient that flows from the decision stage back into the segmentation
        stage: 0 with the paper's gradient-flow adjustment, 1 without. The forward pass is the same.
    context
        How the context convolution is computed.
    """

    def __init__(
        self, config: NetworkConfig, gradient_scale: float = 0.0, context: Context = "direct"
    ) -> None:
        super().__init__()
        self.config = config
        self.gradient_scale = gradient_scale
        frozen = config.norm == "frozen"
        blocks: list[nn.Module] = []
        channels = config.in_channels
        for out_channels, depth in zip(config.block_channels, config.block_depths, strict=True):
            for _ in range(depth):
                blocks.append(_conv5(channels, out_channels, frozen))
                channels = out_channels
            blocks.append(nn.MaxPool2d(2))
        blocks.append(_context(channels, config, context))
        self.segmentation = nn.Sequential(*blocks)
        self.seg_head = nn.Sequential(
            nn.Conv2d(config.context_channels, 1, 1, bias=False),
            FeatureNorm(1, config.seg_head_bias, frozen),
        )
        decision: list[nn.Module] = []
        channels = config.context_channels + 1
        for out_channels in config.decision_channels:
            decision += [nn.MaxPool2d(2), _conv5(channels, out_channels, frozen)]
            channels = out_channels
        self.decision = nn.Sequential(*decision)
        self.fc = nn.Linear(2 * channels + 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Score images.

        Parameters
        ----------
        image
            (N, C, H, W), grey levels in [0, 1]; H and W multiples of 8 and at least 64.

        Returns
        -------
        seg_logits
            (N, 1, H/8, W/8).
        dec_logits
            (N, 1).
        """
        height, width = image.shape[2:]
        check_image_size((int(height), int(width)))
        features = self.segmentation(image)  # (N, 1024, H/8, W/8)
        seg_logits = self.seg_head(features)  # (N, 1, H/8, W/8)

        seen = _scale_gradient(torch.cat([features, seg_logits], dim=1), self.gradient_scale)
        maps = self.decision(seen)  # (N, 32, H/64, W/64)
        seg_seen = _scale_gradient(seg_logits, self.gradient_scale)
        pooled = [_highest(maps), maps.mean((2, 3)), _highest(seg_seen), seg_seen.mean((2, 3))]
        dec_logits = self.fc(torch.cat(pooled, dim=1))  # (N, 66) -> (N, 1)
        return seg_logits, dec_logits


def build_network(
    config: NetworkConfig, seed: int, gradient_scale: float = 0.0, context: Context = "direct"
) -> SegDecNet:
    """Make a network with the reference's initial weights: Xavier-normal convolutions.

    Parameters
    ----------
    config, gradient_scale, context
        As of `SegDecNet`.
    seed
        Decides the weights; the global random state is neither read nor changed.

    Returns
    -------
    SegDecNet
    """
    with torch.random.fork_rng(devices=[]):  # the layers' own initialisation draws from the global state
        network = SegDecNet(config, gradient_scale, context)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight, generator=generator)
    bound = 1 / math.sqrt(network.fc.in_features)
    nn.init.uniform_(network.fc.weight, -bound, bound, generator=generator)
    nn.init.uniform_(network.fc.bias, -bound, bound, generator=generator)
    return network


def to_channels_last(network: nn.Module) -> None:
    """Lay the weights out in the order in which they are computed with: channels innermost.

    Parameters
    ----------
    network
        Changed in place; feed it images in the same memory format.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in PyTorch's stubs
    for module in network.modules():
        if isinstance(module, ContextConv) and module.form == "spectral":
            weight = module.weight.data.permute(2, 3, 1, 0).contiguous()  # (k, k, C_in, C_out): as it is read
            module.weight.data = weight.permute(3, 2, 0, 1)


def _context(in_channels: int, config: NetworkConfig, form: Context) -> nn.Sequential:
    """Make the last part of the segmentation stage: the paper's, or a smaller block with the same window."""
    channels, kernel, frozen = config.context_channels, config.context_kernel, config.norm == "frozen"
    if config.context_form == "full":
        return _norm_relu(ContextConv(in_channels, channels, kernel, form), channels, frozen)
    if config.context_form == "separable":
        window = nn.Conv2d(
            in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False
        )
        mix = nn.Conv2d(in_channels, channels, 1, bias=False)
        return _norm_relu(nn.Sequential(window, mix), channels, frozen)
    layers: list[nn.Module] = []
    for step in config.dilations:
        wide = nn.Conv2d(in_channels, in_channels, 3, padding=step, dilation=step, bias=False)
        layers.append(_norm_relu(wide, in_channels, frozen))
    mix = nn.Conv2d(in_channels, channels, 1, bias=False)
    return nn.Sequential(*layers, _norm_relu(mix, channels, frozen))


def _conv5(in_channels: int, out_channels: int, frozen: bool) -> nn.Sequential:
    return _norm_relu(nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False), out_channels, frozen)


def _norm_relu(conv: nn.Module, channels: int, frozen: bool) -> nn.Sequential:
    return nn.Sequential(conv, FeatureNorm(channels, frozen=frozen), nn.ReLU(inplace=True))


def _highest(maps: Tensor) -> Tensor:
    """Return the highest value of each map, (N, C, H, W) -> (N, C); its gradient goes to one cell.

    ``amax`` gives it to all cells that equal the maximum. Compiled in bf16 the backward pass may compute the
    cells anew, with more digits: then none equals it, and the gradient is 0 / 0.
    """
    return maps.flatten(2).max(dim=2).values


def _scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return ``x`` unchanged, its gradient times ``scale``; 0 cuts the graph, so nothing flows at all."""
    if scale == 0:
        return x.detach()
    return x if scale == 1 else x * scale + x.detach() * (1 - scale)
