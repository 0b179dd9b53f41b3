"""A reference checkpoint gives the same outputs as a model folder, or is refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from segdec.errors import ConfigError, ModelError
from segdec.model_io import read_model
from segdec.network import SegDecNet
from segdec.predict import Predictor
from segdec.reference import import_reference

VOLUME = (0, 2, 3, 4, 6, 7, 8, 9, 11)


def make_checkpoint(
    channels: int = 1,
    blocks: tuple[int, int, int] = (3, 4, 5),
    context: tuple[int, int] = (6, 7),
    decision: tuple[int, int, int] = (2, 3, 4),
    seed: int = 0,
    seg_bias: float = 0.0,
) -> dict[str, Tensor]:
    """Random weights, with scales and biases that show, under the reference's names."""
    generator = torch.Generator().manual_seed(seed)
    checkpoint: dict[str, Tensor] = {}

    def layer(name: str, out: int, into: int, kernel: int) -> None:
        weight = torch.randn(out, into, kernel, kernel, generator=generator)
        checkpoint[f"{name}.0.weight"] = weight / (into * kernel * kernel) ** 0.5
        checkpoint[f"{name}.1.scale"] = 0.5 + torch.rand(1, out, 1, 1, generator=generator)
        checkpoint[f"{name}.1.bias"] = 0.3 * torch.randn(1, out, 1, 1, generator=generator)

    outs = [blocks[0]] + [blocks[1]] * 3 + [blocks[2]] * 4 + [context[0]]
    ins = [channels, *outs[:-1]]
    for place, out, into in zip(VOLUME, outs, ins, strict=True):
        layer(f"volume.{place}", out, into, context[1] if place == 11 else 5)
    layer("seg_mask", 1, context[0], 1)
    checkpoint["seg_mask.1.bias"].fill_(seg_bias)
    for place, out, into in zip((1, 3, 5), decision, (context[0] + 1, *decision), strict=False):
        layer(f"extractor.{place}", out, into, 5)
    checkpoint["fc.weight"] = torch.randn(1, 2 * decision[2] + 2, generator=generator)
    checkpoint["fc.bias"] = torch.randn(1, generator=generator)
    return checkpoint


def reference_forward(weights: dict[str, Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
    """The network of the paper, step by step over the checkpoint's names; independent of segdec."""

    def norm(x: Tensor, name: str) -> Tensor:
        count = x.shape[2] * x.shape[3]
        mean = x.sum((2, 3), keepdim=True) / count
        std = (((x - mean) ** 2).sum((2, 3), keepdim=True) / max(count - 1, 1)).sqrt()
        return weights[f"{name}.scale"] * (x - mean) / (std + 0.001).sqrt() + weights[f"{name}.bias"]

    def conv(x: Tensor, name: str) -> Tensor:
        weight = weights[f"{name}.0.weight"]
        return F.relu(norm(F.conv2d(x, weight, padding=weight.shape[2] // 2), f"{name}.1"))

    features = F.max_pool2d(conv(image, "volume.0"), 2)
    for place in (2, 3, 4):
        features = conv(features, f"volume.{place}")
    features = F.max_pool2d(features, 2)
    for place in (6, 7, 8, 9):
        features = conv(features, f"volume.{place}")
    features = conv(F.max_pool2d(features, 2), "volume.11")
    seg = norm(F.conv2d(features, weights["seg_mask.0.weight"]), "seg_mask.1")
    maps = torch.cat([features, seg], 1)
    for place in (1, 3, 5):
        maps = conv(F.max_pool2d(maps, 2), f"extractor.{place}")
    pooled = [
        F.adaptive_max_pool2d(maps, 1),
        F.adaptive_avg_pool2d(maps, 1),
        F.adaptive_max_pool2d(seg, 1),
        F.adaptive_avg_pool2d(seg, 1),
    ]
    return seg, F.linear(torch.cat(pooled, 1).flatten(1), weights["fc.weight"], weights["fc.bias"])


def save(folder: Path, checkpoint: object) -> Path:
    path = folder / "reference.pth"
    torch.save(checkpoint, path)
    return path


def load_network(model: Path) -> SegDecNet:
    card, weights = read_model(model)
    network = SegDecNet(card.network)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return network.eval()


@pytest.mark.parametrize(
    ("sizes", "image_size"),
    [
        ({}, (64, 64)),
        ({"channels": 3, "seed": 1}, (128, 72)),
        ({"seg_bias": 0.25}, (64, 128)),
        (
            {"blocks": (32, 64, 64), "context": (1024, 15), "decision": (8, 16, 32), "seed": 2},
            (64, 64),
        ),
    ],
    ids=["small", "colour", "biased head", "paper"],
)
def test_the_outputs_are_the_references(
    tmp_path: Path, sizes: dict[str, object], image_size: tuple[int, int]
) -> None:
    checkpoint = make_checkpoint(**sizes)  # type: ignore[arg-type]
    model = import_reference(save(tmp_path, checkpoint), image_size, tmp_path / "model")
    channels = checkpoint["volume.0.0.weight"].shape[1]
    image = torch.rand(2, channels, *image_size, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        seg_wanted, dec_wanted = reference_forward(checkpoint, image)
        seg, dec = load_network(model)(image)
    assert seg_wanted.std() > 0.05
    torch.testing.assert_close(seg, seg_wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(dec, dec_wanted, rtol=0, atol=1e-4)


def test_the_predictor_gives_the_references_score(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    model = import_reference(save(tmp_path, checkpoint), (64, 64), tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    unit = torch.from_numpy(image.astype(np.float32) / 255)[None, None]
    wanted = reference_forward(checkpoint, unit)[1].sigmoid().item()
    assert Predictor(model, "cpu").predict(image).score == pytest.approx(wanted, abs=1e-5)


def test_what_the_checkpoint_does_not_say_is_marked(tmp_path: Path) -> None:
    model = import_reference(save(tmp_path, make_checkpoint()), (128, 64), tmp_path / "model")
    card, _ = read_model(model)
    assert card.image_size == (128, 64)
    assert (card.threshold, card.threshold_from) == (0.5, "default")
    assert card.trained.run == "imported from reference.pth"
    assert card.trained.epoch is None
    assert card.network.block_channels == (3, 4, 5)
    assert card.network.block_depths == (1, 3, 4)


def test_the_prefix_of_data_parallel_is_dropped(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    plain = import_reference(save(tmp_path, checkpoint), (64, 64), tmp_path / "plain")
    prefixed = {f"module.{key}": tensor for key, tensor in checkpoint.items()}
    parallel = import_reference(save(tmp_path, prefixed), (64, 64), tmp_path / "parallel")
    assert (plain / "weights.safetensors").read_bytes() == (parallel / "weights.safetensors").read_bytes()


def _without(checkpoint: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in checkpoint.items() if name != key}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: _without(c, "volume.7.1.scale"), r"misses volume\.7\.1\.scale"),
        (lambda c: c | {"volume.1.0.weight": torch.ones(1)}, r"holds volume\.1\.0\.weight too much"),
        (lambda c: {"conv1": torch.ones(1)}, r"misses volume\.0\..* and 38 more and it holds conv1"),
        (lambda c: {}, "misses volume"),
        (lambda c: c | {"fc.weight": torch.ones(1, 11)}, r"fc\.weight is \(1, 11\), expected \(1, 10\)"),
        (
            lambda c: c | {"volume.3.1.bias": torch.ones(4)},
            r"volume\.3\.1\.bias is \(4,\), expected \(1, 4, 1, 1\)",
        ),
        (
            lambda c: c | {"volume.3.0.weight": torch.ones(4, 9, 5, 5)},
            r"volume\.3\.0\.weight is \(4, 9, 5, 5\)",
        ),
        (
            lambda c: c | {"volume.3.0.weight": torch.ones(4)},
            r"volume\.3\.0\.weight is \(4,\), expected \(out",
        ),
        (lambda c: c | {"volume.0.0.weight": torch.ones(3, 2, 5, 5)}, "for 2 channels"),
        (lambda c: c | {"volume.11.0.weight": torch.ones(6, 5, 6, 6)}, "context_kernel 6"),
        (lambda c: c | {"fc.bias": torch.tensor([torch.nan])}, r"fc\.bias holds values that are not finite"),
        (lambda c: {"state_dict": c, "epoch": 3}, "holds state_dict, epoch, not tensors"),
        (lambda c: list(c.values()), "holds a list instead of a dictionary"),
        (lambda c: torch.ones(3), "holds a Tensor instead of a dictionary"),
        (lambda c: os.system, "no checkpoint of plain tensors"),
    ],
)
def test_another_content_is_refused_by_name(
    tmp_path: Path, damage: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    path = save(tmp_path, damage(make_checkpoint()))
    with pytest.raises(ModelError, match=message):
        import_reference(path, (64, 64), tmp_path / "model")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", bytes(range(256)), None])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "reference.pth"
    if content is None:
        torch.save(make_checkpoint(), path)
        content = path.read_bytes()[:-2000]
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"reference\.pth is no checkpoint of plain tensors"):
        import_reference(path, (64, 64), tmp_path / "model")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*none\.pth: No such file"):
        import_reference(tmp_path / "none.pth", (64, 64), tmp_path / "model")


def test_an_impossible_image_size(tmp_path: Path) -> None:
    path = save(tmp_path, make_checkpoint())
    with pytest.raises(ConfigError, match=r"image_size must be multiples of 8 .* try \(504, 504\)"):
        import_reference(path, (500, 500), tmp_path / "model")
