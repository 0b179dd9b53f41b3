"""How fast this machine trains and predicts with the paper's network, and how much memory that takes.

The images are made up and the weights random; neither changes the time. Everything else is what training
and prediction use: files that are read from disk, the training loader, the losses, the optimiser.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from segdec.arithmetic import measure_peak, multiply_adds
from segdec.backends.pytorch import TorchBackend
from segdec.certificate import Precision
from segdec.config import Config, NetworkConfig, load_config
from segdec.data import open_dataset
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError
from segdec.model_card import ModelCard, Trained
from segdec.model_io import write_model
from segdec.predict import Predictor
from segdec.runtime import (
    choose_context,
    keep_freed_memory,
    machine,
    peak_memory,
    require_torch,
    versions,
    wait_for_device,
)
from segdec.types import ImageSize, Sample

if TYPE_CHECKING:
    from segdec.data.loader import Batch
    from segdec.step import Learner

Tell = Callable[[int, int], None]

_WARM_UP = 2
"""Untimed runs before the timed ones: compilation, first allocations, worker processes starting."""


def benchmark_train(
    image_size: ImageSize, precision: str, context: str, compiled: bool, runs: int, tell: Tell
) -> list[str]:
    """Time optimiser steps of one image each, and compare them with what this device reaches.

    Parameters
    ----------
    image_size
        (height, width), multiples of 8 and at least 64.
    precision, context
        As of ``train.precision`` and ``train.context``.
    compiled
        Compile the network first; that takes minutes.
    runs
        Timed steps, at least 1.
    tell
        Called with (steps done, steps in all).

    Returns
    -------
    list of str
        A table: medians, and what they lie between; and how near to the peak in the same precision.

    Raises
    ------
    ConfigError
        For a size, precision or context that cannot be.
    MissingExtraError
        Without the training part of the installation.
    """
    keep_freed_memory()
    require_torch()
    from segdec.step import make_learner

    config = _config(image_size, precision, context, compiled)
    names = ("step", "  waiting for data", "  forward and losses", "  backward and update")
    rows: dict[str, list[float]] = {name: [] for name in names}
    with _images(config, _WARM_UP + runs) as samples:
        learner = make_learner(config)
        steps = islice(_batches(samples, config), _WARM_UP + runs)
        for done, (batch, waited) in enumerate(steps, start=1):
            seconds = _timed_step(learner, batch, waited)
            if done > _WARM_UP:
                for times, value in zip(rows.values(), seconds, strict=True):
                    times.append(value)
            tell(done, _WARM_UP + runs + 1)  # and the peak
    memory, step = peak_memory(), statistics.median(rows["step"])
    share = _share_of_peak(config, learner, step)
    tell(_WARM_UP + runs + 1, _WARM_UP + runs + 1)
    form = f"{learner.precision}, {learner.context} context"
    return [
        *_heading(config, form, compiled, "a training step of one image"),
        *_table(rows),
        *share,
        f"images per second  {1 / step:.2f}",
        f"peak memory        {_gib(memory)}",
    ]


def benchmark_predict(
    image_size: ImageSize,
    precision: str,
    context: str,
    compiled: bool,
    runs: int,
    tell: Tell,
    batch: int = 1,
) -> list[str]:
    """Time the prediction of image files, and the network's share of it.

    Parameters
    ----------
    image_size, compiled, runs, tell
        As of `benchmark_train`.
    context
        "direct", "spectral", or "auto" for the form that predictions are computed in unasked.
    precision
        "fp32", "bf16", or "auto" for fp32, which predictions are computed in unasked.
    batch
        Images in one pass through the network, at least 1; all times are those of one image.

    Returns
    -------
    list of str
        A table: medians, and what they lie between.

    Raises
    ------
    ConfigError
        For a size, precision or context that cannot be.
    MissingExtraError
        Without the training part of the installation.
    """
    require_torch()
    config = _config(image_size, precision, context)
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"PyTorch predicts in fp32 or bf16, got precision {precision}; leave it out")
    computed: Literal["fp32", "bf16"] = "bf16" if precision == "bf16" else "fp32"
    form = choose_context(config.train.context, config.network, computed)
    with _images(config, 2) as samples:
        predictor = _untrained_predictor(config, form, computed)
        if compiled and isinstance(predictor.backend, TorchBackend):
            predictor.backend.network.compile()
        figures = _time_predictions(predictor, samples, runs, tell, batch)
    timed = f"the prediction of one image{_in_batches(batch)}"
    return [*_heading(config, f"{computed}, {form} context", compiled, timed), *figures]


def benchmark_model(
    model: Path,
    backend: Literal["auto", "torch", "onnx", "openvino"],
    precision: Precision | None,
    runs: int,
    tell: Tell,
    batch: int = 1,
) -> list[str]:
    """Time predictions of a trained model, or of what it was exported to; PyTorch is needed for itself alone.

    Parameters
    ----------
    model, backend, precision
        As of `segdec.predict.Predictor`.
    runs, tell
        As of `benchmark_train`.
    batch
        As of `benchmark_predict`.

    Returns
    -------
    list of str
        A table: medians, and what they lie between.

    Raises
    ------
    SegdecError
        As `segdec.predict.Predictor`.
    """
    predictor = Predictor(model, backend=backend, precision=precision)
    card, found = predictor.card, machine()
    with _images(_config(card.image_size, "auto", "auto"), 2) as samples:
        figures = _time_predictions(predictor, samples, runs, tell, batch)
    height, width = card.image_size
    notice = predictor.choice.notice
    return [
        f"machine  {found['cpu']}, {found['cores']} cores, bf16: {found['cpu_kind']}",
        f"network  that of {model}, {predictor.backend.name} {predictor.backend.precision}",
        f"timed    the prediction of one image{_in_batches(batch)}, {height} x {width}",
        *([] if notice is None else [f"note     {notice}"]),
        "",
        *figures,
    ]


def _time_predictions(
    predictor: Predictor, samples: Sequence[Sample], runs: int, tell: Tell, batch: int
) -> list[str]:
    rows: dict[str, list[float]] = {"image, from file to regions": [], "  network alone": []}
    for done in range(_WARM_UP + runs):
        values = _time_prediction(predictor, [samples[done % len(samples)].image] * batch)
        if done >= _WARM_UP:
            for times, value in zip(rows.values(), values, strict=True):
                times.append(value)
        tell(done + 1, _WARM_UP + runs)
    return [
        *_table(rows),
        f"images per second  {1 / statistics.median(rows['image, from file to regions']):.2f}",
        f"peak memory        {_gib(peak_memory())}",
    ]


def _timed_step(learner: Learner, batch: Batch, waited: float) -> tuple[float, ...]:
    """Take a step, and return the seconds of the whole, of the wait for its batch, and of its halves."""
    from segdec.step import take_step

    forward = 0.0

    def halfway() -> None:
        nonlocal forward
        wait_for_device()
        forward = time.perf_counter() - began

    began = time.perf_counter()
    take_step(learner, batch, 1.0, 1.0, halfway)
    wait_for_device()
    computed = time.perf_counter() - began
    return waited + computed, waited, forward, computed - forward


def _share_of_peak(config: Config, learner: Learner, seconds: float) -> list[str]:
    """Compare the multiply-adds that a step of so many seconds stands for with what this device reaches."""
    count = 3 * multiply_adds(config.network, _size(config))  # backward: gradients of inputs and of weights
    speed, peak = count / seconds, measure_peak(learner.precision)
    form = "the direct form" + (" (spectral takes fewer)" if learner.context == "spectral" else "")
    return [
        f"multiply-adds      {speed / 1e9:.1f} G a second, in {form}, a backward pass counted as two",
        f"share of the peak  {100 * speed / peak:.0f} %, as large {learner.precision} products reach"
        f" {peak / 1e9:.1f} G a second here",
    ]


def _batches(samples: Sequence[Sample], config: Config) -> Iterator[tuple[Batch, float]]:
    """Yield each image as a batch, and how long it was waited for."""
    from segdec.data.loader import training_loader
    from segdec.sampling import EpochSampler

    sampler = EpochSampler([sample.label for sample in samples], config.train.batch_size, config.train.seed)
    sampler.start_epoch(0)
    batches = iter(training_loader(samples, config, sampler))
    for _ in range(sampler.steps):
        began = time.perf_counter()
        batch = next(batches)
        yield batch, time.perf_counter() - began


def write_untrained(
    folder: Path,
    network: NetworkConfig,
    image_size: ImageSize,
    tile: int | None = None,
    pixel_threshold: float = 0.5,
) -> tuple[ModelCard, dict[str, NDArray[np.float32]]]:
    """Write a model with random weights: as fast, and as large, as a trained one.

    Parameters
    ----------
    folder
        The model folder.
    network
        Sizes.
    image_size, tile, pixel_threshold
        As in ``model.json``.

    Returns
    -------
    card, weights
        What was written.
    """
    from segdec.network import build_network

    card = ModelCard(
        network=network,
        image_size=image_size,
        tile=tile,
        channels=network.in_channels,
        threshold=0.5,
        threshold_from="default",
        pixel_threshold=pixel_threshold,
        trained=Trained(
            date="", run="untrained", dataset=None, data_hash=None, epoch=None, seed=0, commit=None
        ),
        versions=versions(),
    )
    weights = {name: value.numpy() for name, value in build_network(network, seed=0).state_dict().items()}
    write_model(folder, card, weights)
    return card, weights


def _untrained_predictor(
    config: Config, context: Literal["direct", "spectral"], precision: Literal["fp32", "bf16"]
) -> Predictor:
    with TemporaryDirectory() as scratch:
        write_untrained(Path(scratch), config.network, _size(config))
        # random weights decide nothing that a certificate could vouch for
        return Predictor(scratch, context=context, precision=precision, allow_uncertified=True)


def _time_prediction(predictor: Predictor, paths: Sequence[Path]) -> tuple[float, float]:
    """Return the seconds for an image of a batch, of its whole prediction and of the network alone."""
    began = time.perf_counter()
    predictor.predict_batch(paths)
    whole = time.perf_counter() - began
    images = [predictor._prepare(path).pixels for path in paths]
    began = time.perf_counter()
    predictor.backend(images)
    return whole / len(paths), (time.perf_counter() - began) / len(paths)


def _in_batches(batch: int) -> str:
    return "" if batch == 1 else f" in a batch of {batch}"


@contextmanager
def _images(config: Config, count: int) -> Generator[Sequence[Sample], None, None]:
    """Write at least so many images, half of them with a defect, for as long as they are needed."""
    half = (count + 1) // 2
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        write_dagm_like(folder, 0, _size(config), train=(half, half), test=(0, 0))
        yield open_dataset(folder, config.data).samples


def _config(image_size: ImageSize, precision: str, context: str, compiled: bool = False) -> Config:
    size = f"data.image_size=[{image_size[0]}, {image_size[1]}]"
    given = (f"train.precision={precision}", f"train.context={context}", "data.channels=1")
    return load_config(settings=(size, *given, f"train.compile={str(compiled).lower()}"))


def _size(config: Config) -> ImageSize:
    if config.data.image_size is None:
        raise ValueError("data.image_size must be set")
    return config.data.image_size


def _heading(config: Config, form: str, compiled: bool, what: str) -> list[str]:
    found, (height, width) = machine(), _size(config)
    device = "" if found["device"] == "cpu" else f"{found['device']}, "
    return [
        f"machine  {device}{found['cpu']}, {found['cores']} cores, bf16: {found['cpu_kind']}",
        f"network  the paper's, {form}, {'compiled' if compiled else 'not compiled'}",
        f"timed    {what}, {height} x {width}, grey",
        "",
    ]


def _table(rows: dict[str, list[float]]) -> list[str]:
    wide = max(len(name) for name in rows)
    return [
        f"{'':{wide}}  {'median':>10}  {'fastest':>10}  {'slowest':>10}",
        *(
            f"{name:{wide}}  {_ms(statistics.median(times))}  {_ms(min(times))}  {_ms(max(times))}"
            for name, times in rows.items()
        ),
        "",
    ]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:>7.1f} ms"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
