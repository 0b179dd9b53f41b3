"""What tiles cost: memory on a large image, and how far their answers lie from those of whole images.

::

    python benchmarks/tiles.py memory --size 10000 10000 --tile 512
    python benchmarks/tiles.py agreement runs/kolektor --tile 512
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdec.benchmark import write_untrained
from segdec.config import NetworkConfig
from segdec.imaging import full_score_map, read_image, resize_image
from segdec.judged import samples_to_judge
from segdec.metrics import average_precision
from segdec.predict import Predictor, predict_files
from segdec.quickstart import settings
from segdec.runtime import machine, peak_memory
from segdec.types import ImageSize, Prediction

_STRIP = 64
"""Rows of a strip of the made-up TIFF."""


def measure_memory(size: ImageSize, tile: int, network: NetworkConfig, folder: Path) -> None:
    """Predict a made-up 8-bit TIFF, and print the process' peak memory before and after."""
    import tifffile

    height, width = size
    path = folder / "large.tif"
    count = -(-height // _STRIP) * _STRIP  # whole strips
    tifffile.imwrite(path, _strips(count, width), shape=(count, width), dtype=np.uint8, rowsperstrip=_STRIP)
    write_untrained(folder / "model", network, (tile, tile), tile, pixel_threshold=0.9)
    predictor = Predictor(folder / "model")
    start = peak_memory()
    began = time.perf_counter()
    (result,) = predict_files(predictor, [path])
    seconds = time.perf_counter() - began
    if not isinstance(result, Prediction):
        raise SystemExit(result.reason)
    pixels = count * width
    print(f"machine                  {machine()}")
    print(f"image                    {count} x {width} = {pixels / 1e6:.1f} megapixels of 8 bits")
    print(f"tiles                    {predictor.tiling}")
    print(f"before the prediction    {start / 1e6:.0f} MB (Python, PyTorch, the model)")
    print(f"peak                     {peak_memory() / 1e6:.0f} MB")
    print(f"the prediction's share   {(peak_memory() - start) / 1e6:.0f} MB")
    print(f"seconds                  {seconds:.1f}")


def measure_agreement(run: Path, tile: int, data: Path | None) -> None:
    """Score the test images of a run as a whole and in tiles, at the same scale, and print both."""
    whole, tiled = Predictor(run), Predictor(run, tile=tile)
    whole.tiling = None
    scores: list[tuple[float, float]] = []
    differences: list[float] = []
    seconds = [0.0, 0.0]
    samples = samples_to_judge(run, data).samples
    for sample in samples:
        image = resize_image(read_image(sample.image, whole.card.channels), whole.card.image_size)
        answers = []
        for place, predictor in enumerate((whole, tiled)):
            began = time.perf_counter()
            answers.append(predictor.predict(image))
            seconds[place] += time.perf_counter() - began
        maps = [full_score_map(answer) for answer in answers]
        differences.append(float(np.abs(maps[0] - maps[1]).mean()))
        scores.append((answers[0].score, answers[1].score))
    labels = np.array([sample.label for sample in samples])
    both = np.array(scores)  # (n, 2)
    decisions = both >= whole.threshold
    print(f"machine                  {machine()}")
    print(
        f"images                   {len(samples)}, {int(labels.sum())} defective, at {whole.card.image_size}"
    )
    print(f"tiles                    {tiled.tiling}")
    for name, place in (("whole", 0), ("tiles", 1)):
        ap = average_precision(labels, both[:, place]).value
        wrong = decisions[:, place] != labels
        print(
            f"{name}                    AP {ap}; escapes {int((wrong & labels).sum())}, overkill"
            f" {int((wrong & ~labels).sum())} at {whole.threshold:.6g};"
            f" {seconds[place] / len(samples):.3f} s for an image"
        )
    apart = np.abs(both[:, 0] - both[:, 1])
    print(f"scores differ by         {apart.max():.6f} at most, {apart.mean():.6f} on average")
    print(f"score maps differ by     {np.mean(differences):.6f} on average")
    print(f"decisions that differ    {int((decisions[:, 0] != decisions[:, 1]).sum())}")


def _strips(height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    for _ in range(0, height, _STRIP):
        yield generator.integers(90, 120, (_STRIP, width), dtype=np.uint8)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    memory = commands.add_parser("memory")
    memory.add_argument("--size", type=int, nargs=2, default=(10_000, 10_000), metavar=("H", "W"))
    memory.add_argument("--tile", type=int, default=512)
    memory.add_argument("--network", choices=("quickstart", "paper"), default="quickstart")
    agreement = commands.add_parser("agreement")
    agreement.add_argument("run", type=Path)
    agreement.add_argument("data", type=Path, nargs="?")
    agreement.add_argument("--tile", type=int, default=512)
    given = parser.parse_args()
    if given.command == "agreement":
        measure_agreement(given.run, given.tile, given.data)
        return
    network = settings(0).network if given.network == "quickstart" else NetworkConfig()
    with tempfile.TemporaryDirectory() as folder:
        measure_memory((given.size[0], given.size[1]), given.tile, network, Path(folder))


if __name__ == "__main__":
    main()
