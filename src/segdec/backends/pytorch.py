"""The network itself, in PyTorch: what the other backends are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdec.certificate import BackendName, Precision
from segdec.errors import ConfigError, ModelError
from segdec.imaging import Pixels, to_unit
from segdec.model_card import ModelCard
from segdec.runtime import choose_context, computes_in_bf16, device_type, keep_fp32_exact, require_torch

if TYPE_CHECKING:
    import torch

    from segdec.config import NetworkConfig
    from segdec.network import SegDecNet


class TorchBackend:
    """The network itself.

    Parameters
    ----------
    card
        What the network is.
    weights
        Name -> array.
    device
        In torch's words; None takes a GPU where there is one.
    context
        How the context convolution is computed.
    precision
        "bf16" computes all but the normalisations and both heads in it; a head's logits tell more scores
        apart than bf16 has numbers for.

    Attributes
    ----------
    network : SegDecNet
        In evaluation mode.
    device : torch.device
        Where it is.

    Raises
    ------
    ModelError
        If the weights do not belong to the network.
    ConfigError
        If there is no such device, or it does not compute in bf16.
    MissingExtraError
        If torch is not installed.
    """

    name: BackendName = "torch"

    def __init__(
        self,
        card: ModelCard,
        weights: Mapping[str, NDArray[np.float32]],
        device: str | None = None,
        context: Literal["auto", "direct", "spectral"] = "auto",
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        require_torch()
        import torch

        from segdec.network import InFp32, SegDecNet

        keep_fp32_exact()
        self.device = _choose_device(device)
        self.precision: Precision = precision
        if precision == "bf16" and not computes_in_bf16(self.device.type):
            raise ConfigError(f"this machine's {self.device.type} does not compute in bf16; choose fp32")
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            network = SegDecNet(card.network, context=choose_context(context, card.network, precision))
        check_weights(weights, {name: tuple(value.shape) for name, value in network.state_dict().items()})
        network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()}, assign=True)
        network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision == "bf16":
            for head in ("seg_head", "fc"):
                network.add_module(head, InFp32(network.get_submodule(head)))
        self.network = network.eval().requires_grad_(False)

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Return (C, h, w) float32 in [0, 1]."""
        return np.ascontiguousarray(to_unit(pixels).transpose(2, 0, 1))

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score prepared images."""
        import torch

        batch = torch.from_numpy(np.stack(images)).to(self.device, memory_format=torch.channels_last)
        rounded = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), rounded:
            seg_logits, dec_logits = self.network(batch)  # (N, 1, h/8, w/8), (N, 1)
        return probabilities(dec_logits)[:, 0], probabilities(seg_logits)[:, 0].astype(np.float32)


def open_network(config: NetworkConfig, weights: Mapping[str, torch.Tensor]) -> SegDecNet:
    """Return a network of its own in evaluation mode, in fp32, on the device of this machine.

    Parameters
    ----------
    config
        Sizes.
    weights
        Its state.
    """
    from segdec.network import SegDecNet, to_channels_last

    keep_fp32_exact()
    network = SegDecNet(config, context=choose_context("auto", config, "fp32"))
    network.load_state_dict(weights)
    to_channels_last(network)
    return network.to(device_type()).eval()


def to_batch(images: Sequence[Pixels]) -> torch.Tensor:
    """Return images as `open_network`'s network takes them.

    Parameters
    ----------
    images
        (H, W, C) each, of one size.

    Returns
    -------
    Tensor
        (N, C, H, W) in [0, 1], on the device of this machine, channels last.
    """
    import torch

    unit = torch.from_numpy(np.stack([to_unit(image).transpose(2, 0, 1) for image in images]))
    return unit.to(device_type(), memory_format=torch.channels_last)


def probabilities(logits: torch.Tensor) -> NDArray[np.float64]:
    """Turn logits into probabilities; the one place where that happens.

    Parameters
    ----------
    logits
        Any shape and device.

    Returns
    -------
    ndarray
        The same shape, in [0, 1]. In float64, where scores close to 1 stay apart: float32 rounds every
        logit above 17 to the same score.
    """
    wide: torch.Tensor = logits.detach().cpu().double().sigmoid()  # not every device has float64
    return np.asarray(wide.numpy())


def check_weights(weights: Mapping[str, NDArray[np.float32]], expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse weights that do not belong to a network.

    Parameters
    ----------
    weights
        Name -> array.
    expected
        Name -> shape, of the network.

    Raises
    ------
    ModelError
        Naming the first weight that is missing, unknown or of another shape.
    """
    for name, shape in expected.items():
        if name not in weights:
            raise ModelError(
                f"the weights miss {name}, which the network in model.json has; write the model anew"
            )
        if weights[name].shape != shape:
            raise ModelError(
                f"the weight {name} is {weights[name].shape}, the network in model.json has {shape}; write"
                " the model anew"
            )
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        raise ModelError(
            f"the weights hold {unknown[0]}, which the network in model.json has not; write the model anew"
        )


def _choose_device(name: str | None) -> torch.device:
    import torch

    name = name or device_type()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise ConfigError(f'no device "{name}" on this machine; try "cpu"') from error
    return device
