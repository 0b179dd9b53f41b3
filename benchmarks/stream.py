"""A folder of images from disk to decisions, and the way from a fresh process to its first decision.

::

    python benchmarks/stream.py folder runs/kolektor --files data/KolektorSDD --threads 2
    python benchmarks/stream.py folder --network quickstart --size 256 256 --count 10000
    python benchmarks/stream.py start runs/kolektor --image data/KolektorSDD/kos01/Part0.jpg

Without a model a made-up one is exported, without files made-up ones are written. Linux only: resident memory
is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.backends import Backend
from segdec.benchmark import write_untrained
from segdec.certificate import Form, Precision
from segdec.cli.screen import renderer
from segdec.config import NetworkConfig
from segdec.data.find import find_images
from segdec.imaging import Pixels, open_rows, write_image
from segdec.inputs import network_pixels
from segdec.predict import Predictor, predict_files
from segdec.quickstart import settings
from segdec.runtime import machine, may_gain_from_spectral
from segdec.tiles import read_tile
from segdec.types import ImageSize, Prediction
from segdec.yardstick import Way, make_graph, time_passes

BackendWish: TypeAlias = Literal["auto", "torch", "onnx", "openvino"]

_FILES = 300
"""Made-up images on disk; they come again and again."""
_LARGER = 1.8
"""Their sides against the network's: decoding and resizing cost what they do with a camera's images."""
_ALONE = 10
"""Timed calls of the network by itself."""

_PHASES = """
import sys, time
began, seconds = float(sys.argv.pop(1)), {}
import json
import segdec.cli, segdec.data.find, segdec.predict
seconds["interpreter and imports"] = time.monotonic() - began

def timed(name, function):
    def call(*given, **named):
        start = time.monotonic()
        result = function(*given, **named)
        seconds[name] = time.monotonic() - start
        return result
    return call

def first(*given, **named):
    stream = predict_files(*given, **named)
    yield timed("first image", next)(stream)
    yield from stream

predict_files = segdec.predict.predict_files
segdec.predict.predict_files = first
segdec.predict.read_model = timed("model read and checked", segdec.predict.read_model)
segdec.predict.open_backend = timed("backend loaded, graph opened", segdec.predict.open_backend)
try:
    segdec.cli.main()
finally:
    print(json.dumps(seconds), file=sys.stderr)
"""


class _Timed:
    """A backend that counts how long its calls take."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.name, self.precision = backend.name, backend.precision
        self.calls: list[float] = []

    def prepare(self, pixels: Pixels) -> NDArray[Any]:
        return self.backend.prepare(pixels)

    def __call__(self, images: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        began = time.perf_counter()
        answer = self.backend(images)
        self.calls.append(time.perf_counter() - began)
        return answer


def measure_folder(
    predictor: Predictor, files: Sequence[Path], count: int, batch: int = 1, workers: int = 2
) -> None:
    """Predict ``count`` images, the files in turn; print speed, the network's share of time, and memory."""
    inside = predictor.backend
    alone = _time_alone(predictor, files[0], batch)
    timed = _Timed(inside)
    predictor.backend = timed
    render = renderer("jsonl")
    paths, resident = islice(cycle(files), count), {}
    began = time.perf_counter()
    for done, result in enumerate(predict_files(predictor, paths, batch, workers), start=1):
        if not isinstance(result, Prediction):
            raise SystemExit(result.reason)
        render.row(result)  # what `segdec predict` does with it
        if done in (100, 1000, count):
            resident[done] = _resident()
    seconds = time.perf_counter() - began
    predictor.backend = inside
    size = predictor.card.image_size
    print(f"machine                  {machine()}, {os.getloadavg()[0]:.1f} processes running")
    seen = f"{size[0]} x {size[1]}" if predictor.tiling is None else f"tiles of {predictor.tiling.tile}"
    print(f"network                  {inside.name} {inside.precision}, {seen}, batch {batch}")
    print(f"images                   {count}, {len(set(files))} files")
    print(f"images per second        {count / seconds:.2f}")
    print(f"network busy             {100 * sum(timed.calls) / seconds:.1f} % of the time")
    print(f"a call, in the stream    {1000 * statistics.median(timed.calls):.1f} ms")
    print(f"a call, by itself        {1000 * alone:.1f} ms")
    for done, held in resident.items():
        print(
            f"memory at image {done:<8} {held / 1e6:.0f} MB, {(held - min(resident.values())) / 1e6:+.0f} MB"
        )


def measure_start(
    model: Path, image: Path, backend: BackendWish, precision: Precision | None, runs: int
) -> None:
    """Start `segdec predict` on one image again and again; print the time to its row, and its parts."""
    options = [
        "--allow-uncertified",
        "--backend",
        backend,
        *(["--precision", precision] if precision else []),
    ]
    arguments = ["predict", str(model), str(image), *options]
    whole, worked, parts = [], [], []
    for _ in range(runs):
        before = _work_of_children()
        whole.append(_first_row([sys.executable, "-m", "segdec", *arguments])[0])
        worked.append(_work_of_children() - before)
        began = str(time.monotonic())
        _, told = _first_row([sys.executable, "-c", _PHASES, began, *arguments])
        parts.append(json.loads(told.splitlines()[-1]))
    print(f"machine                            {machine()}, {os.getloadavg()[0]:.1f} processes running")
    print(f"first decision written after       {1000 * statistics.median(whole):.0f} ms, {_between(whole)}")
    print(f"processor time of it all           {1000 * statistics.median(worked):.0f} ms, {_between(worked)}")
    for name in parts[0]:
        times = [each[name] for each in parts]
        print(f"  {name:<32} {1000 * statistics.median(times):.0f} ms, {_between(times)}")


def make_model(folder: Path, network: NetworkConfig, size: ImageSize) -> Path:
    """Write a model with random weights, and its export."""
    card, weights = write_untrained(folder, network, size, pixel_threshold=0.9)
    form: Form = "spectral" if may_gain_from_spectral(network) else "direct"
    make_graph(Way("untrained", "onnx", "fp32"), form, folder, card, weights)
    return folder


def make_files(folder: Path, size: ImageSize, count: int = _FILES) -> list[Path]:
    """Write grey JPEG files with a grain like that of a surface, larger than the network's images."""
    generator = np.random.default_rng(0)
    shape = (round(_LARGER * size[0]), round(_LARGER * size[1]))
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        grain = cv2.GaussianBlur(generator.normal(0, 30, shape), (0, 0), 1.0)
        write_image(path, np.clip(128 + grain, 0, 255).astype(np.uint8))
    return paths


def _time_alone(predictor: Predictor, file: Path, batch: int) -> float:
    """Return the median seconds of the network's calls with nothing beside them."""
    if predictor.tiling is None:
        pixels = network_pixels(file, predictor.card)[0]
    else:
        with open_rows(file, predictor.card.channels) as rows:
            pixels = read_tile(rows, (0, 0), predictor.tiling.tile)
    image = predictor.backend.prepare(pixels)
    return statistics.median(time_passes(predictor.backend, [image] * batch, _ALONE))


def _first_row(command: Iterable[str]) -> tuple[float, str]:
    """Run a command and return the seconds until its first line, and what it tells on standard error."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        row = process.stdout.readline() if process.stdout else ""
        seconds = time.monotonic() - began
        _, told = process.communicate()
    if process.returncode != 0 or not row:
        raise SystemExit(told)
    return seconds, told


def _work_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _between(seconds: Sequence[float]) -> str:
    return f"{1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    folder, start = commands.add_parser("folder"), commands.add_parser("start")
    for command in (folder, start):
        command.add_argument("model", type=Path, nargs="?")
        command.add_argument("--backend", choices=("auto", "torch", "onnx", "openvino"), default="onnx")
        command.add_argument("--precision", choices=get_args(Precision))
        command.add_argument("--network", choices=("quickstart", "paper"), default="quickstart")
        command.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    folder.add_argument("--files", type=Path, help="a folder of images")
    folder.add_argument("--count", type=int, default=10_000)
    folder.add_argument("--threads", type=int)
    folder.add_argument("--batch", type=int, default=1)
    folder.add_argument("--workers", type=int, default=2)
    folder.add_argument("--tile", type=int, help="cut the images into tiles of this side")
    start.add_argument("--image", type=Path)
    start.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    size = (given.size[0], given.size[1])
    network = settings(0).network if given.network == "quickstart" else NetworkConfig()
    with tempfile.TemporaryDirectory() as scratch:
        model = given.model or make_model(Path(scratch) / "model", network, size)
        if given.command == "start":
            image = given.image or make_files(Path(scratch), size, 1)[0]
            measure_start(model, image, given.backend, given.precision, given.runs)
            return
        predictor = Predictor(
            model,
            tile=given.tile,
            backend=given.backend,
            precision=given.precision,
            allow_uncertified=True,
            threads=given.threads,
        )
        files = (
            find_images([str(given.files)], sys.stdin).images
            if given.files
            else make_files(Path(scratch), predictor.card.image_size)
        )
        measure_folder(predictor, files, given.count, given.batch, given.workers)


if __name__ == "__main__":
    main()
