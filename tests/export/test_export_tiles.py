"""Models that were trained on tiles are exported, certified and used in tiles, and in no other way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from segdec import backends
from segdec.backends import choice
from segdec.certificate import CERTIFICATE, Check, read_certificate
from segdec.cli import app
from segdec.data.synthetic import write_dagm_like
from segdec.errors import DataError, ModelError
from segdec.evaluate import evaluate_run
from segdec.export import export, spectral_nodes
from segdec.export.evidence import cut_calibrating, gather_evidence
from segdec.imaging import read_image, write_image
from segdec.model_io import read_model, write_model
from segdec.predict import Predictor
from segdec.runs import open_run
from segdec.tiles import trained_tiling

TILE = 96
LEARNING = (
    f"data.tile={TILE}",
    "data.workers=0",
    "network.block_channels=[8, 8, 16]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=32",
    "network.context_kernel=5",
    "train.epochs=10",
    "train.learning_rate=0.3",
    "train.batch_size=2",
    "train.precision=fp32",
)


@pytest.fixture(scope="module")
def tile_run(
    tmp_path_factory: pytest.TempPathFactory, train_apart: Callable[[Path, Path, Sequence[str]], Path]
) -> Path:
    """Return a run folder of a small network, trained on tiles; copy it before changing it."""
    folder = tmp_path_factory.mktemp("tiles")
    write_dagm_like(folder / "data", 0, (112, 160), train=(10, 10), test=(5, 5))
    return train_apart(folder / "data", folder / "run", LEARNING)


@pytest.fixture(scope="module")
def exported(tile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose model is exported; not to be changed."""
    run = Path(shutil.copytree(tile_run, tmp_path_factory.mktemp("exported") / "run"))
    checks = export(run, ["onnx", "openvino", "int8"])
    assert all(check.passed for check in checks), [check.reason for check in checks]
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(exported, tmp_path / "run"))


def export_whole(tile_run: Path, folder: Path) -> Path:
    """Return a model folder of the same weights that takes whole images, exported."""
    card, weights = read_model(tile_run)
    (folder / "images").mkdir(parents=True)
    write_model(folder / "model", card.model_copy(update={"tile": None, "image_size": (112, 160)}), weights)
    for path in images_of(tile_run):
        shutil.copy(path, folder / "images" / path.name)
    export(folder, ["onnx"], folder / "images")
    return folder


def checks_of(run: Path) -> tuple[Check, ...]:
    certificate = read_certificate(run / "model")
    assert certificate is not None
    return certificate.checks


def images_of(run: Path) -> list[Path]:
    return [sample.image for sample in open_run(run).split.test]


def test_the_scores_differ_enough_to_prove_something(tile_run: Path) -> None:
    predictor = Predictor(tile_run, "cpu")
    scores = [predictor.predict(path).score for path in images_of(tile_run)]
    assert max(scores) - min(scores) > 0.5


@pytest.mark.parametrize(
    ("backend", "precision", "tolerance"),
    [("onnx", "fp32", 1e-5), ("openvino", "fp32", 1e-5), ("onnx", "int8", 0.05), ("openvino", "int8", 0.05)],
)
def test_an_export_predicts_in_tiles_like_the_model(exported: Path, backend, precision, tolerance) -> None:
    torch = Predictor(exported, "cpu")
    other = Predictor(exported, backend=backend, precision=precision, threads=1)
    assert (other.backend.name, other.backend.precision) == (backend, precision)
    assert other.tiling == torch.tiling
    for path in images_of(exported):
        one, two = torch.predict(path), other.predict(path)
        assert two.score == pytest.approx(one.score, abs=tolerance)
        assert (two.decision, two.size) == (one.decision, (112, 160))
        np.testing.assert_allclose(two.score_map, one.score_map, atol=10 * tolerance)


def test_the_certificate_is_about_images_in_tiles(exported: Path) -> None:
    tiling = Predictor(exported, "cpu").tiling
    split = open_run(exported).split
    for check in checks_of(exported):
        assert check.images.tiles is not None
        assert (check.images.tiles.tile, check.images.tiles.overlap) == (TILE, tiling.overlap)
        assert check.images.count == len(split.val) + len(split.test)
        assert check.timed == "tile"
        assert check.score_map.largest > 0


def test_the_certificate_names_images_and_what_predictions_say_of_them(
    tile_run: Path, tmp_path: Path, monkeypatch
) -> None:
    """Its scores are those of whole predictions: the highest of the tiles, not those of resized images."""
    run = Path(shutil.copytree(tile_run, tmp_path / "run"))
    monkeypatch.setattr(spectral_nodes, "_waves", lambda rows, columns, tile: (np.ones((rows, columns)),) * 2)
    (check,) = export(run, ["onnx"], context="spectral")
    assert not check.passed
    assert check.flips
    predictor = Predictor(run, "cpu")
    wrong = Predictor(run, backend="onnx", allow_uncertified=True, threads=1)
    split = open_run(run).split
    images = {sample.name: sample.image for sample in (*split.val, *split.test)}
    for flip in check.flips:
        assert predictor.predict(images[flip.image]).score == pytest.approx(flip.torch_score, abs=1e-5)
        assert wrong.predict(images[flip.image]).score == pytest.approx(flip.score, abs=1e-5)


def test_ranges_of_8_bits_come_from_tiles_with_and_without_defects(exported: Path) -> None:
    card, _ = read_model(exported)
    tiling = trained_tiling(card)
    evidence = cut_calibrating(gather_evidence(exported, None), tiling)
    assert len(evidence.calibrating) == 64
    assert all(sample.origin is not None for sample in evidence.calibrating)
    assert 8 <= sum(sample.label for sample in evidence.calibrating) <= 32
    texts = {check.precision: check.calibrated_on for check in checks_of(exported)}
    assert texts["fp32"] is None
    assert texts["int8"] == evidence.calibrated_on
    assert texts["int8"].startswith("64 tiles of ")


def test_a_model_without_its_run(tile_run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tile_run / "model", tmp_path / "model"))
    images = tmp_path / "images"
    for place, path in enumerate(images_of(tile_run)[:2]):
        pixels = read_image(path)
        write_image(images / f"{place}.png", pixels.astype(np.uint16) * 257 if place else pixels)
    (images / "broken.png").write_bytes(b"no image")
    (check,) = export(model, ["onnx"], images)
    assert check.passed, check.reason
    assert check.ap is None
    assert (check.images.count, len(check.images.unreadable)) == (2, 1)
    (images / "broken.png").unlink()
    quantized = export(model, ["onnx", "int8"], images)[-1]
    assert quantized.calibrated_on == "20 tiles of the certifying images themselves"
    onnx, torch = Predictor(model, backend="onnx", precision="fp32", threads=1), Predictor(model, "cpu")
    for path in sorted(images.iterdir()):  # the graph takes 16 bits, and so also 8
        assert onnx.predict(path).score == pytest.approx(torch.predict(path).score, abs=1e-5)


def test_too_few_tiles_choose_no_ranges(tile_run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tile_run / "model", tmp_path / "model"))
    write_image(tmp_path / "images" / "a.png", np.zeros((64, 64), np.uint8))
    with pytest.raises(DataError, match="8-bit ranges need 8 tiles or more, got 1"):
        export(model, ["onnx", "int8"], tmp_path / "images")


# --- used as certified, and only so ---------------------------------------------------------------------


def make_fast(run: Path) -> None:
    """Let the certificate say that every export is faster than PyTorch."""
    change(run, milliseconds=1.0, torch_milliseconds=10.0)


def change(run: Path, **changes: object) -> None:
    path = run / "model" / CERTIFICATE
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["checks"] = [check | changes for check in tree["checks"]]
    path.write_text(json.dumps(tree), encoding="utf-8")


def test_auto_takes_an_export_for_the_tiles_that_it_was_certified_for(run: Path, monkeypatch) -> None:
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    make_fast(run)
    overlap = Predictor(run, "cpu").tiling.overlap
    for options in ({}, {"tile": TILE}, {"overlap": overlap}, {"overlap": overlap + 8}):
        assert Predictor(run, backend="auto", threads=1, **options).backend.name != "torch"
    for options in ({"tile": TILE + 8}, {"overlap": overlap - 8}):
        assert Predictor(run, backend="auto", threads=1, **options).backend.name == "torch"


@pytest.mark.parametrize("options", [{"tile": 128}, {"overlap": 72}])
def test_an_export_that_is_named_is_refused_for_other_tiles(run: Path, options: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=r"certified in tiles of 96 pixels that overlap by 80, .*torch"):
        Predictor(run, backend="onnx", **options)
    taken = Predictor(run, backend="onnx", allow_uncertified=True, threads=1, **options)
    assert taken.backend.name == "onnx"


def test_whole_images_and_tiles_do_not_vouch_for_each_other(
    run: Path, tile_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    whole = export_whole(tile_run, tmp_path / "whole")
    make_fast(whole)
    assert Predictor(whole, backend="auto", threads=1).backend.name == "onnx"
    assert Predictor(whole, backend="auto", tile=128).backend.name == "torch"
    with pytest.raises(ModelError, match="certified on whole images, as it was trained, not in tiles of 128"):
        Predictor(whole, backend="onnx", tile=128)
    card, _ = read_model(run)
    certificate = read_certificate(run / "model")
    reason = backends.refusal(run / "model", card, certificate, certificate.checks[0])
    assert reason == "was certified in tiles of 96 pixels that overlap by 80, not on whole images"
    with pytest.raises(ModelError, match="not on whole images; predict as it was trained"):
        backends.choose_backend(run / "model", card, "onnx")
    monkeypatch.setattr(choice, "is_installed", lambda name: name != "torch")
    with pytest.raises(ModelError, match="not in tiles of 128"):
        Predictor(whole, backend="auto", tile=128)


def test_a_certificate_of_before_tiles_is_about_whole_images(
    run: Path, tile_run: Path, tmp_path: Path
) -> None:
    whole = export_whole(tile_run, tmp_path / "whole")
    for folder in (whole, run):
        path = folder / "model" / CERTIFICATE
        tree = json.loads(path.read_text(encoding="utf-8"))
        for check in tree["checks"]:
            del check["timed"], check["images"]["tiles"]
        path.write_text(json.dumps(tree), encoding="utf-8")
    assert Predictor(whole, backend="onnx", threads=1).backend.name == "onnx"
    assert {check.timed for check in checks_of(whole)} == {"image"}
    with pytest.raises(ModelError, match=r"was certified on whole images, not in tiles of 96 .*certify it"):
        Predictor(run, backend="onnx")


# --- commands -------------------------------------------------------------------------------------------


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands(tile_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tile_run, tmp_path / "run"))
    said = call("export", run, "--to", "onnx")
    assert "per tile" in said
    assert f"in tiles of {TILE} pixels)" in " ".join(said.split())
    assert "onnx fp32" in call("benchmark", "predict", "--model", run, "--backend", "onnx", "--runs", 3)
    rows = {
        backend: json.loads(call("predict", run, images_of(run)[0], "--backend", backend))
        for backend in ("torch", "onnx", "auto")
    }
    assert rows["onnx"]["score"] == pytest.approx(rows["torch"]["score"], abs=1e-5)
    assert rows["auto"]["score"] == pytest.approx(rows["torch"]["score"], abs=1e-5)
    evaluation = evaluate_run(run)
    assert len(evaluation.rows) == len(images_of(run))
