"""What a training begins with: random weights, or those of a model, with frozen statistics where asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from segdec.backends.pytorch import open_network, to_batch
from segdec.config import Config, NetworkConfig
from segdec.data.pixels import load_pixels
from segdec.errors import ConfigError
from segdec.model_io import read_model
from segdec.network import FeatureNorm, SegDecNet, image_statistics
from segdec.types import Sample


def starting_weights(
    config: Config, samples: Sequence[Sample], watch: Callable[[int, int], None]
) -> dict[str, Tensor]:
    """Read the weights of ``train.start_from``, and measure the statistics that the network wants frozen.

    Parameters
    ----------
    config
        Its ``train.start_from`` names a run or a model.
    samples
        The training part; read only where statistics are to be measured.
    watch
        Called with (images measured, images in all).

    Returns
    -------
    dict of str to Tensor
        The state of a `SegDecNet` of ``config.network``.

    Raises
    ------
    ConfigError
        If that model's network is another one.
    ModelError
        If it is no whole model.
    """
    if config.train.start_from is None:
        raise ValueError("train.start_from must be set")
    card, arrays = read_model(Path(config.train.start_from))
    _refuse_other_network(card.network, config)
    weights = {name: torch.tensor(array) for name, array in arrays.items()}
    if config.network.norm == card.network.norm:
        return weights
    network = open_network(card.network, weights)
    return weights | frozen_statistics(network, samples, config, watch)


@torch.inference_mode()
def frozen_statistics(
    network: SegDecNet, samples: Sequence[Sample], config: Config, watch: Callable[[int, int], None]
) -> dict[str, Tensor]:
    """Measure what each normalisation would take for all images alike.

    Parameters
    ----------
    network
        With per-image statistics, of `open_network`.
    samples
        The images to take the means over.
    config
        How they are read.
    watch
        Called with (images measured, images in all).

    Returns
    -------
    dict of str to Tensor
        "LAYER.mean" and "LAYER.std", (C,) each: the means over the images of their means and standard
        deviations.
    """
    sums: dict[str, Tensor] = {}

    def collect(name: str) -> Callable[[torch.nn.Module, tuple[Tensor, ...]], None]:
        def add(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            std, mean = image_statistics(inputs[0])  # (1, C, 1, 1)
            for key, value in ((f"{name}.mean", mean), (f"{name}.std", std)):
                total = value.flatten().double().cpu()
                sums[key] = sums[key] + total if key in sums else total

        return add

    norms = [(name, module) for name, module in network.named_modules() if isinstance(module, FeatureNorm)]
    hooks = [module.register_forward_pre_hook(collect(name)) for name, module in norms]
    for done, sample in enumerate(samples, start=1):
        image, _ = load_pixels(sample, config)
        network(to_batch([image]))
        watch(done, len(samples))
    for hook in hooks:
        hook.remove()
    return {key: (total / len(samples)).float() for key, total in sums.items()}


def _refuse_other_network(found: NetworkConfig, config: Config) -> None:
    wanted = config.network
    if found.norm == "frozen" and wanted.norm == "image":
        raise ConfigError(
            f"the normalisation of {config.train.start_from} is frozen, and cannot go back to network.norm"
            ' "image"; start from the run that it was frozen from'
        )
    for key, value in found.model_dump(exclude={"norm"}).items():
        if getattr(wanted, key) != value:
            raise ConfigError(
                f"network.{key} is {getattr(wanted, key)!r}, but {value!r} in {config.train.start_from},"
                " whose weights train.start_from wants; set both to the same"
            )
