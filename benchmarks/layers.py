"""Where an exported model's time goes, layer by layer, as OpenVINO counts it, and the machine's limit.

The limit of a layer is its multiply-adds divided by the machine's peak: what the faster of a product of large
matrices and a wide convolution reaches in PyTorch (in 8 bits, the product).

::

    python benchmarks/layers.py runs/kolektor --precision int8-bf16
    python benchmarks/layers.py --untrained paper --size 512 512 --precision bf16
    python benchmarks/layers.py --peak
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from segdec.arithmetic import measure_peak
from segdec.backends import open_backend
from segdec.backends.openvino_runtime import OpenVinoBackend
from segdec.benchmark import write_untrained
from segdec.certificate import Form, Precision
from segdec.config import NetworkConfig
from segdec.predict import Predictor
from segdec.runtime import machine
from segdec.yardstick import Way, make_graph

_RUNS = 9
_WARM_UP = 2
_NETWORKS = {"paper": NetworkConfig(), "frozen": NetworkConfig(norm="frozen")}


def count(backend: OpenVinoBackend, size: tuple[int, ...]) -> dict[tuple[str, str, str], float]:
    """Return the median milliseconds of each layer: (its kind, how it is computed, its name)."""
    backend.settings["PERF_COUNT"] = True
    request = backend.compile(size).create_infer_request()
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size), np.uint8)
    times: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for done in range(_WARM_UP + _RUNS):
        request.infer({"pixels": pixels, **backend.matrices})
        for layer in request.profiling_info if done >= _WARM_UP else ():
            if layer.status == layer.Status.EXECUTED:
                key = (layer.node_type, layer.exec_type, layer.node_name)
                times[key].append(1000 * layer.real_time.total_seconds())
    return {key: statistics.median(each) for key, each in times.items()}


def show(layers: Mapping[tuple[str, str, str], float], longest: int) -> None:
    """Print the time by kind of layer, then the longest layers."""
    total = sum(layers.values())
    kinds: dict[tuple[str, str], float] = defaultdict(float)
    for (kind, how, _), milliseconds in layers.items():
        kinds[kind, how] += milliseconds
    print(f"machine  {machine()}")
    print(f"all      {total:.1f} ms, sum of the medians of {_RUNS}")
    for title, rows in (("by kind", kinds), ("by layer", layers)):
        print(f"\n{title}")
        ordered: list[tuple[Any, float]] = sorted(rows.items(), key=lambda row: -row[1])
        for key, milliseconds in ordered[:longest]:
            print(f"{milliseconds:8.2f} ms {milliseconds / total:6.1%}  {', '.join(key)}")


def show_peaks(side: int | None) -> None:
    """Print what the machine's matrix products reach, on its GPU if it has one."""
    import torch

    print(f"machine  {machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    precisions: tuple[Literal["fp32", "bf16", "int8"], ...] = ("fp32", "bf16", "int8")
    for name in precisions:
        print(f"{name:7} {measure_peak(name, side) / 1e9:7.1f} G multiply-adds a second")


def open_untrained(network: NetworkConfig, way: Way, form: Form, size: tuple[int, int], folder: Path) -> Any:
    """Open a network with random weights."""
    card, weights = write_untrained(folder, network, size)
    return open_backend(make_graph(way, form, folder, card, weights), card, weights)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--untrained", choices=_NETWORKS)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"))
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    parser.add_argument("--context", choices=get_args(Form), default="spectral")
    parser.add_argument("--longest", type=int, default=20)
    parser.add_argument("--peak", action="store_true", help="measure the limit of this machine instead")
    parser.add_argument(
        "--side",
        type=int,
        help="of these matrices; 4096, or on a GPU 8192. Convolutions have an eighth as many channels",
    )
    given = parser.parse_args()
    if given.peak:
        show_peaks(given.side)
        return
    if (given.model is None) == (given.untrained is None):
        parser.error("name a model folder, or --untrained")
    size = tuple(given.size)
    with tempfile.TemporaryDirectory() as scratch:
        if given.model is None:
            way = Way(given.untrained, "openvino", given.precision)
            network = _NETWORKS[given.untrained]
            backend = open_untrained(network, way, given.context, size, Path(scratch) / "model")
            channels = network.in_channels
        else:
            predictor = Predictor(
                given.model, backend="openvino", precision=given.precision, context=given.context
            )
            backend, size, channels = predictor.backend, predictor.card.image_size, predictor.card.channels
        show(count(backend, (*size, channels)), given.longest)


if __name__ == "__main__":
    main()
