"""How much faster than the authors' form every way to compute a decision is on this machine.

The yardstick is the paper's network as its authors compute it: PyTorch in fp32, layer by layer, channels
first, and a normalisation that asks for the mean and for the deviation in a call of its own. The weights are
random and the 8-bit ranges made up; neither changes the time. Whether an export also decides alike is what
its certificate says (`segdec.export`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segdec.backends import Backend, Choice, open_backend
from segdec.backends.choice import is_installed
from segdec.backends.pytorch import probabilities
from segdec.benchmark import write_untrained
from segdec.certificate import FILES, BackendName, Form, Precision, in_8_bits
from segdec.compress import CANDIDATES
from segdec.config import NetworkConfig, check_image_size
from segdec.errors import ConfigError
from segdec.export.compare import network_time
from segdec.export.export import Target, list_variants
from segdec.export.graph import quantizable, save_graph
from segdec.export.nodes import locate_weights
from segdec.export.quantize import quantize_weight
from segdec.imaging import Pixels, to_unit
from segdec.model_card import ModelCard
from segdec.model_io import WEIGHTS
from segdec.runtime import (
    available_cpus,
    choose_context,
    machine,
    may_gain_from_spectral,
    require_torch,
    versions,
)
from segdec.types import ImageSize

if TYPE_CHECKING:
    import torch

SIZES: tuple[ImageSize, ...] = ((512, 512), (640, 232), (256, 1600), (1408, 512))
"""(height, width) of the paper's data sets and of KolektorSDD2."""

_BATCH = 4
_PEAK = 6.0
_TITLES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Way:
    """One way to compute a decision.

    Attributes
    ----------
    network
        A key of `networks`.
    backend, precision
        As of a certificate.
    """

    network: str
    backend: BackendName
    precision: Precision


@dataclass(frozen=True)
class Timing:
    """What a way takes for images of one size.

    Attributes
    ----------
    name
        Of the way, and of the form of its context layer.
    seconds
        Of one image, each time.
    alone
        The same on one thread, each time.
    batched
        Of an image in a batch, each time.
    """

    name: str
    seconds: Sequence[float]
    alone: Sequence[float]
    batched: Sequence[float]


def networks() -> dict[str, NetworkConfig]:
    """Return what is timed: the paper's network, the same with frozen normalisation, a student of it."""
    student = CANDIDATES[0]
    return {
        "paper's network": NetworkConfig(),
        "frozen normalisation": NetworkConfig(norm="frozen"),
        f"student {student.name}": NetworkConfig(**student.network),
        f"student {student.name}, frozen": NetworkConfig(**student.network, norm="frozen"),
    }


def list_ways() -> tuple[Way, ...]:
    """Return every way that can be computed here: installed, and in a precision that this CPU has."""
    targets: list[Target] = ["onnx", "openvino", "int8"] if is_installed("openvino") else ["onnx", "int8"]
    torch: tuple[BackendName, Precision] = ("torch", "fp32")
    return tuple(Way(network, *each) for network in networks() for each in (torch, *list_variants(targets)))


def compare(
    sizes: Sequence[ImageSize] = SIZES,
    runs: int = 5,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
    ways: Sequence[Way] | None = None,
) -> list[str]:
    """Time every way beside the yardstick, in one run.

    Parameters
    ----------
    sizes
        (height, width) of the images, multiples of 8 and at least 64.
    runs
        Timed passes, at least 1; the median counts. Batches and one thread get half as many.
    tell
        Called with (done, in all).
    ways
        What is timed; everything that can be if left out.

    Returns
    -------
    list of str
        A table for each size.

    Raises
    ------
    ConfigError
        For a size that cannot be.
    MissingExtraError
        Without the training part of the installation.
    """
    require_torch()
    for size in sizes:
        try:
            check_image_size(size)
        except ValueError as error:
            raise ConfigError(f"--image-size {error}") from None
    found = machine()
    chosen = list_ways() if ways is None else tuple(ways)
    lines = [
        f"machine    {found['cpu']}, {found['cores']} cores, bf16: {found['cpu_kind']}",
        f"versions   {', '.join(f'{name} {number}' for name, number in versions().items())}",
        "yardstick  the paper's network as its authors compute it: PyTorch, fp32, layer by layer",
        f"timed      the network alone, median of {runs}; {available_cpus()} threads, if not said otherwise",
    ]
    done, total = 0, len(sizes) * (len(chosen) + 1)
    for size in sizes:
        timings = []
        for timing in _time_all(size, chosen, runs):
            timings.append(timing)
            done += 1
            tell(done, total)
        lines += ["", *_table(size, timings)]
    return lines


class AuthorsForm:
    """The yardstick: a backend that computes the network as its authors do.

    Parameters
    ----------
    network
        Sizes; the normalisation is not frozen.
    weights
        Name -> array.
    """

    name: BackendName = "torch"
    precision: Precision = "fp32"

    def __init__(self, network: NetworkConfig, weights: Mapping[str, NDArray[np.float32]]) -> None:
        import torch

        from segdec.network import SegDecNet

        module = SegDecNet(network, context="direct")
        module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
        self._network = _spell_out(module).eval().requires_grad_(False)

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        """Return (C, h, w) float32 in [0, 1]."""
        return np.ascontiguousarray(to_unit(pixels).transpose(2, 0, 1))

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Score prepared images."""
        import torch

        with torch.inference_mode():
            seg_logits, dec_logits = self._network(torch.from_numpy(np.stack(images)))
        return probabilities(dec_logits)[:, 0], probabilities(seg_logits)[:, 0].astype(np.float32)


def _spell_out(network: torch.nn.Module) -> torch.nn.Module:
    """Let every normalisation ask for the mean and for the deviation by itself."""
    from torch import Tensor, nn

    from segdec.network import FeatureNorm

    class Spelled(nn.Module):
        def __init__(self, norm: FeatureNorm) -> None:
            super().__init__()
            self.scale, self.bias, self.eps = norm.scale, norm.bias, norm.eps

        def forward(self, x: Tensor) -> Tensor:
            mean = x.mean((2, 3), keepdim=True)
            alone = x.shape[2] * x.shape[3] == 1  # one pixel has no unbiased deviation: its deviation is 0
            std = x.std((2, 3), correction=0 if alone else 1, keepdim=True)
            x = self.scale.view(1, -1, 1, 1) * (x - mean) / (std + self.eps).sqrt()
            return x if self.bias is None else x + self.bias.view(1, -1, 1, 1)

    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FeatureNorm):
                setattr(parent, name, Spelled(child))
    return network


def _time_all(size: ImageSize, ways: Sequence[Way], runs: int) -> Iterator[Timing]:
    """Yield the yardstick, then each way; the yardstick takes its turn at the end as well, for drift."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
    with TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / str(place) for place, name in enumerate(networks())}
        models = {name: write_untrained(folders[name], each, size) for name, each in networks().items()}
        card, weights = next(iter(models.values()))
        yardstick = AuthorsForm(card.network, weights)
        first = _time(lambda _threads: yardstick, "authors' form, PyTorch fp32", pixels, runs)
        for way in ways:
            yield _time_way(way, folders[way.network], *models[way.network], pixels, runs)
        again = time_passes(yardstick, [yardstick.prepare(pixels)], runs)
        yield Timing(first.name, (*first.seconds, *again), first.alone, first.batched)


def _time_way(
    way: Way,
    folder: Path,
    card: ModelCard,
    weights: Mapping[str, NDArray[np.float32]],
    pixels: NDArray[np.uint8],
    runs: int,
) -> Timing:
    """Time a way in the faster form of its context layer."""
    forms: tuple[Form, ...] = ("direct", "spectral") if may_gain_from_spectral(card.network) else ("direct",)
    if way.backend == "torch":
        forms = (choose_context("auto", card.network, "fp32"),)
    choices = [make_graph(way, form, folder, card, weights) for form in forms]

    def look(choice: Choice) -> float:
        return network_time(open_backend(choice, card, weights, "cpu"), pixels)

    choice = choices[0] if len(choices) == 1 else min(choices, key=look)
    name = f"{way.network}, {_TITLES[way.backend]} {way.precision}"
    name += f", {choice.context}" if card.network.context_form == "full" else ""
    return _time(lambda threads: open_backend(choice, card, weights, "cpu", threads), name, pixels, runs)


def make_graph(
    way: Way, form: Form, folder: Path, card: ModelCard, weights: Mapping[str, NDArray[np.float32]]
) -> Choice:
    """Write the graph of a way, where it has one.

    Parameters
    ----------
    way
        Its network is left out of account.
    form
        Of the context layer.
    folder, card, weights
        A model of that network.

    Returns
    -------
    Choice
        To be opened.
    """
    if way.backend == "torch":
        return Choice("torch", context=form)
    path = folder / FILES[way.precision, form]
    if not path.exists():
        names = quantizable(card.network) if in_8_bits(way.precision) else ()
        quantized = {name: quantize_weight(weights[name], _PEAK) for name in names}
        places = locate_weights(folder / WEIGHTS)
        save_graph(path, card.network, places, "uint8", card.image_size, form, quantized)
    return Choice(way.backend, way.precision, form, path)


def _time(open_on: Callable[[int], Backend], name: str, pixels: NDArray[np.uint8], runs: int) -> Timing:
    """Time a backend on all threads; with half of the runs in a batch, and on one thread."""
    import torch

    before, fewer = torch.get_num_threads(), (runs + 1) // 2
    backend = open_on(available_cpus())
    image = backend.prepare(pixels)
    seconds = time_passes(backend, [image], runs)
    batched = [each / _BATCH for each in time_passes(backend, [image] * _BATCH, fewer)]
    del backend
    torch.set_num_threads(1)
    try:
        alone = time_passes(open_on(1), [image], fewer)
    finally:
        torch.set_num_threads(before)
    return Timing(name, seconds, alone, batched)


def time_passes(backend: Backend, images: Sequence[NDArray[Any]], runs: int) -> list[float]:
    """Return the seconds of each pass, after an untimed one.

    Parameters
    ----------
    backend
        Which.
    images
        A batch, prepared.
    runs
        Timed passes, at least 1.
    """
    backend(images)
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        backend(images)
        seconds.append(time.perf_counter() - began)
    return seconds


def _table(size: ImageSize, timings: Sequence[Timing]) -> list[str]:
    """Lay out the figures of one size, the yardstick (the last) first."""
    *others, yardstick = timings
    unit = statistics.median(yardstick.seconds)
    wide = max(len(timing.name) for timing in timings)
    head = f"{f'{size[0]} x {size[1]}':{wide}}  {'an image':>10}  {'times faster':>12}"
    lines = [f"{head}  {'one thread':>10}  {f'in a batch of {_BATCH}':>15}"]
    for timing in (yardstick, *others):
        median = statistics.median(timing.seconds)
        alone, batched = statistics.median(timing.alone), statistics.median(timing.batched)
        lines.append(
            f"{timing.name:{wide}}  {_ms(median):>10}  {unit / median:>12.1f}  {_ms(alone):>10}"
            f"  {_ms(batched):>15}"
        )
    fastest, slowest = min(yardstick.seconds), max(yardstick.seconds)
    lines.append(f"The yardstick took {_ms(fastest)} to {_ms(slowest)}, at the beginning and at the end.")
    return lines


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"
