"""The graph is the network: same numbers, in both forms, for every size and batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from segdec.config import NetworkConfig
from segdec.export.graph import build_graph, build_peaks, quantizable
from segdec.export.nodes import locate_weights
from segdec.export.quantize import quantize_weight
from segdec.model_io import WEIGHTS, read_model
from segdec.network import SegDecNet
from segdec.predict import Predictor

SIZES = [(1, 64, 96), (3, 64, 64), (2, 72, 136), (1, 200, 64), (1, 64, 65 * 8)]


def make_pixels(shape: tuple[int, ...], dtype: type = np.uint8) -> NDArray[np.unsignedinteger]:
    low = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (shape[0], 16, 16, 1))
    big = np.kron(low, np.ones((1, -(-shape[1] // 16), -(-shape[2] // 16), 1)))
    return big[:, : shape[1], : shape[2]].astype(dtype)


def expected(network: SegDecNet, pixels: NDArray[np.unsignedinteger]) -> tuple[NDArray, NDArray]:
    unit = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    with torch.inference_mode():
        seg_logits, dec_logits = network(torch.from_numpy(unit).permute(0, 3, 1, 2))
    return dec_logits[:, 0].numpy(), seg_logits[:, 0].sigmoid().numpy()


def session(folder: Path, graph: onnx.ModelProto, name: str) -> onnxruntime.InferenceSession:
    path = folder / name
    onnx.save(graph, path)
    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def copied(model: Path, folder: Path) -> Path:
    return Path(shutil.copy(model / WEIGHTS, folder))


@pytest.mark.parametrize("tile", [None, 9, 12])
@pytest.mark.parametrize("pixel_type", ["uint8", "uint16"])
def test_graph_and_network_agree(trained_run: Path, tmp_path: Path, tile, pixel_type) -> None:
    card, _ = read_model(trained_run)
    weights = locate_weights(copied(trained_run / "model", tmp_path))
    graph = build_graph(card.network, weights, pixel_type, tile)
    assert len(graph.SerializeToString()) < 100_000  # the weights are not in it
    run = session(tmp_path, graph, "graph.onnx")
    network = Predictor(trained_run, "cpu").backend.network
    for shape in SIZES:
        pixels = make_pixels(shape, np.dtype(pixel_type).type)
        score, score_map, logit = run.run(None, {"pixels": pixels})
        wanted, wanted_map = expected(network, pixels)
        np.testing.assert_allclose(logit, wanted, atol=2e-5 * max(1, np.abs(wanted).max()))
        np.testing.assert_allclose(score, 1 / (1 + np.exp(-wanted)), atol=1e-5)
        np.testing.assert_allclose(score_map, wanted_map, atol=1e-4)


def test_bits_of_16_bit_pixels_are_those_of_8_bit_ones(trained_run: Path, tmp_path: Path) -> None:
    card, _ = read_model(trained_run)
    weights = locate_weights(copied(trained_run / "model", tmp_path))
    pixels = make_pixels((1, 64, 96))
    answers = [
        session(tmp_path, build_graph(card.network, weights, name), f"{name}.onnx").run(
            None, {"pixels": pixels.astype(name) * np.dtype(name).type(factor)}
        )
        for name, factor in (("uint8", 1), ("uint16", 257))
    ]
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "frozen"},
        {"seg_head_bias": True},
        {"in_channels": 3},
        {"context_form": "separable"},
        {"context_form": "dilated", "context_kernel": 7},
        {"context_form": "dilated", "context_kernel": 7, "norm": "frozen"},
    ],
)
def test_other_kinds_of_networks(tmp_path: Path, changes, tile) -> None:
    if tile is not None and changes.get("context_form", "full") != "full":
        tile = None  # only the full window has a spectral form
    from safetensors.torch import save_file

    config = NetworkConfig(
        block_channels=(4, 4, 6),
        block_depths=(1, 1, 1),
        context_channels=8,
        context_kernel=5,
        decision_channels=(2, 3, 4),
    ).model_copy(update=changes)
    torch.manual_seed(0)
    network = SegDecNet(config).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.rpartition(".")[2] in ("mean", "std", "scale", "bias"):
                value.uniform_(0.5, 1.5)
    save_file(network.state_dict(), tmp_path / WEIGHTS)
    run = session(tmp_path, build_graph(config, locate_weights(tmp_path / WEIGHTS), "uint8", tile), "a.onnx")
    pixels = np.repeat(make_pixels((2, 64, 72)), config.in_channels, axis=3)
    _, score_map, logit = run.run(None, {"pixels": pixels})
    wanted, wanted_map = expected(network, pixels)
    np.testing.assert_allclose(logit, wanted, atol=1e-5)
    np.testing.assert_allclose(score_map, wanted_map, atol=1e-5)


def test_eight_bits_are_close(trained_run: Path, tmp_path: Path) -> None:
    card, arrays = read_model(trained_run)
    weights = locate_weights(copied(trained_run / "model", tmp_path))
    pixels = make_pixels((1, 64, 96))
    names = quantizable(card.network)
    peaks = session(tmp_path, build_peaks(card.network, weights, "uint8"), "peaks.onnx")
    largest = dict(zip(names, peaks.run(None, {"pixels": pixels}), strict=True))
    forms = {name: quantize_weight(arrays[name], float(largest[name])) for name in names}
    run = session(tmp_path, build_graph(card.network, weights, "uint8", 9, forms), "int8.onnx")
    wanted, wanted_map = expected(Predictor(trained_run, "cpu").backend.network, pixels)
    _, score_map, logit = run.run(None, {"pixels": pixels})
    assert np.abs(score_map - wanted_map).mean() < 0.02
    assert np.abs(logit - wanted).max() < 0.1 * max(1, np.abs(wanted).max())


def test_a_layer_that_is_always_zero_can_be_rounded() -> None:
    form = quantize_weight(np.zeros((2, 1, 5, 5), np.float32), 1.0)
    assert not form.values.any()
    assert (form.scales > 0).all()
