"""A model and large images in, predictions out: cut into tiles, a page at a time, in little memory."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import segdec
from segdec.cli import app, main
from segdec.config import NetworkConfig
from segdec.errors import ConfigError, ImageError
from segdec.imaging import Pixels, Rows, full_score_map, open_rows, read_image, write_image
from segdec.model_card import ModelCard, Trained
from segdec.model_io import read_model, write_model
from segdec.network import build_network
from segdec.predict import Predictor, Unreadable, predict_files
from segdec.results import find_overlay, write_overlay
from segdec.types import ImageSize, Prediction

CONFIG = NetworkConfig(
    block_channels=(4, 4, 6),
    block_depths=(1, 1, 1),
    context_channels=8,
    context_kernel=3,
    decision_channels=(2, 3, 4),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model")


def make_model(folder: Path, **changes: Any) -> Path:
    weights = {name: value.numpy() for name, value in build_network(CONFIG, seed=1).state_dict().items()}
    fields: dict[str, Any] = {
        "network": CONFIG,
        "image_size": (128, 128),
        "channels": 1,
        "threshold": 0.5,
        "threshold_from": "default",
        "pixel_threshold": 0.9,
        "trained": Trained(
            date="2030-01-01", run="r", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        "versions": {},
    }
    write_model(folder, ModelCard(**(fields | changes)), weights)
    return folder


def make_image(seed: int, shape: tuple[int, ...] = (300, 200), dtype: type = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def test_an_image_of_one_tile_is_predicted_as_without_tiles(model: Path) -> None:
    image = make_image(1, (128, 128))
    tiled = Predictor(model, "cpu", tile=128).predict(image, "a")
    whole = Predictor(model, "cpu").predict(image, "a")
    assert tiled.score == pytest.approx(whole.score, abs=1e-6)
    assert tiled.size == (128, 128)
    assert tiled.score_map.shape == (16, 16)
    np.testing.assert_allclose(full_score_map(tiled), whole.score_map, atol=1e-5)
    assert [region.box for region in tiled.regions] == [region.box for region in whole.regions]


def test_the_next_image_is_read_while_the_network_has_this_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        write_image(path, make_image(number))
    predictor = Predictor(model, "cpu", tile=128)
    inside, busy, second = predictor.backend, threading.Lock(), threading.Event()
    opened: list[Path] = []

    class Watched:
        name, precision, prepare = inside.name, inside.precision, inside.prepare

        def __call__(self, images: Any) -> Any:
            assert busy.acquire(blocking=False)  # one image at a time
            assert second.wait(60)
            answer = inside(images)
            busy.release()
            return answer

    @contextmanager
    def watched(path: Path, *given: Any) -> Iterator[Rows]:
        with open_rows(path, *given) as rows:
            opened.append(path)
            if len(opened) == 2:
                second.set()
            yield rows

    predictor.backend = Watched()
    monkeypatch.setattr("segdec.predict.open_rows", watched)
    before = threading.active_count()
    stream = predict_files(predictor, paths)
    assert next(stream).name == str(paths[0])
    assert len(opened) <= 3
    assert [result.name for result in stream] == [str(path) for path in paths[1:]]
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [(64, 900), (90, 64), (136, 128), (300, 211)])
def test_images_of_many_sizes_are_predicted_in_their_own_pixels(model: Path, size: ImageSize) -> None:
    predictor = segdec.load(model, tile=128, overlap=64)
    predictor.pixel_threshold = 0.5
    prediction = predictor.predict(make_image(2, size))
    assert prediction.size == size
    assert full_score_map(prediction).shape == size
    assert 0 <= prediction.score <= 1
    for region in prediction.regions:
        x, y, width, height = region.box
        assert x + width <= size[1]
        assert y + height <= size[0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 100_000), (63, 300), (300, 63)])
def test_an_image_that_is_too_small_for_tiles(model: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    predictor = Predictor(model, "cpu", tile=128)
    said = rf"is too small: {shape[0]} x {shape[1]} pixels .*, and segdec takes 64 x 64 and more;"
    with pytest.raises(ImageError, match=f"the image {said} give the whole image"):
        predictor.predict(np.zeros(shape, np.uint8))
    write_image(tmp_path / "a.png", np.zeros(shape, np.uint8))
    (row,) = predict_files(predictor, [tmp_path / "a.png"])
    assert isinstance(row, Unreadable)
    assert row.reason.startswith(f"{tmp_path / 'a.png'} is too small")


def test_the_score_is_that_of_the_worst_tile(model: Path) -> None:
    predictor = Predictor(model, "cpu", tile=128)
    image = make_image(3, (128, 200))
    assert predictor.tiling is not None
    starts = predictor.tiling.starts(200)
    scores = [predictor.predict(image[:, x : x + 128]).score for x in starts]
    assert predictor.predict(image).score == pytest.approx(max(scores), abs=1e-6)


def test_batches_of_tiles_answer_as_one_by_one(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, make_image(4))
    predictor = Predictor(model, "cpu", tile=128)
    one, many = (next(iter(predict_files(predictor, [path], batch_size=size))) for size in (1, 5))
    assert isinstance(one, Prediction)
    assert isinstance(many, Prediction)
    assert many.score == pytest.approx(one.score, abs=1e-5)
    np.testing.assert_allclose(many.score_map, one.score_map, atol=1e-5)


def test_a_model_of_tiles_predicts_in_tiles_by_itself(tmp_path: Path) -> None:
    card, _ = read_model(make_model(tmp_path / "tiles", tile=128))
    assert card.tile == 128
    predictor = segdec.load(tmp_path / "tiles")
    assert predictor.predict(make_image(5)).size == (300, 200)
    assert '"tile"' not in (make_model(tmp_path / "whole") / "model.json").read_text()


@pytest.mark.parametrize(
    "options", [{"tile": 100}, {"tile": 64}, {"tile": 128, "overlap": 8}, {"overlap": 64}]
)
def test_tiles_that_cannot_be_are_refused(model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="tile"):
        Predictor(model, "cpu", **options)
    with pytest.raises(ConfigError, match="takes whole images"):
        Predictor(model, "cpu").predict_rows(_Generated((8, 8)))


def test_each_page_is_a_row_and_a_broken_file_stops_nothing(model: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        for seed in range(3):
            file.write(make_image(seed, (150, 140), np.uint16), rowsperstrip=16)
    whole = (tmp_path / "scan.tif").read_bytes()
    tifffile.imwrite(tmp_path / "cut.tif", make_image(9, (400, 140)), rowsperstrip=16, compression="zlib")
    cut = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(cut[: len(cut) // 2])
    write_image(tmp_path / "single.png", make_image(1, (150, 140), np.uint16))
    paths = [tmp_path / name for name in ("cut.tif", "scan.tif", "gone.tif", "single.png")]
    results = list(predict_files(Predictor(model, "cpu", tile=128), paths, pages=True))
    scan = tmp_path / "scan.tif"
    names = [str(paths[0]), *[f"{scan}#{page}" for page in (1, 2, 3)], str(paths[2]), str(paths[3])]
    assert [result.name for result in results] == names
    assert [isinstance(result, Unreadable) for result in results] == [True, False, False, False, True, False]
    assert isinstance(results[2], Prediction)
    assert isinstance(results[5], Prediction)
    assert results[2].score == results[5].score  # the same pixels, page 2 of one file
    assert whole == scan.read_bytes()


def test_whole_images_have_one_page(model: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, make_image(1, (2, 150, 140)), photometric="minisblack")
    (row,) = predict_files(Predictor(model, "cpu"), [path])
    assert isinstance(row, Unreadable)
    assert "holds 2 pages" in row.reason
    (row,) = predict_files(Predictor(model, "cpu", tile=128), [path])
    assert isinstance(row, Unreadable)
    with pytest.raises(ImageError, match="holds 2 pages"):
        Predictor(model, "cpu", tile=128).predict(path)


def test_the_command_cuts_tiles(model: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "scan.tif", make_image(1, (2, 150, 140)), photometric="minisblack")
    write_image(tmp_path / "a.png", make_image(2))
    arguments = ["predict", str(model), str(tmp_path), "--tile", "128", "--format", "csv"]
    result = CliRunner().invoke(app, [*arguments, "--overlays", str(tmp_path / "drawn"), "--overlap", "64"])
    assert result.exit_code == 0, result.output
    names = [Path(row["image"]).name for row in csv.DictReader(io.StringIO(result.stdout))]
    assert names == ["a.png", "scan.tif#1", "scan.tif#2"]
    drawn = {path.name: read_image(path).shape for path in (tmp_path / "drawn").iterdir()}
    assert drawn == {"a.png": (300, 200, 3), "scan-1.png": (150, 140, 3), "scan-2.png": (150, 140, 3)}
    wrong = CliRunner().invoke(app, [*arguments, "--overlap", "much"])
    assert wrong.exit_code == 2
    assert "no overlap" in wrong.output


@pytest.mark.parametrize("options", [["--tile", "128"], []])
@pytest.mark.parametrize("content", [b"II*\0" + bytes([99, 0, 0, 0]), b"II*\0" + bytes([8, 0, 0, 0, 9, 9])])
def test_a_damaged_tiff_is_one_line(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    options: list[str],
    content: bytes,
) -> None:
    """What reads it also warns and logs."""
    (tmp_path / "a.tif").write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["segdec", "predict", str(model), str(tmp_path / "a.tif"), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 9
    said = capsys.readouterr()
    assert "a.tif" in json.loads(said.out)["error"]
    assert said.err.strip() == "1 of 1 images could not be used; their rows say why."
    assert not caplog.records


@pytest.mark.parametrize("options", [["--tile", "128"], []])
def test_whoever_cuts_tiles_is_not_warned_of_large_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    model = make_model(tmp_path / "model", tile=None if options else 128)
    write_image(tmp_path / "a.png", make_image(2))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)  # the image has 60,000; twice as many are refused
    result = CliRunner().invoke(app, ["predict", str(model), str(tmp_path / "a.png"), *options])
    assert result.exit_code == 0, result.output


def test_overlays_of_large_images_are_small(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segdec.results._MOST_PIXELS", 3000)
    monkeypatch.setattr("segdec.results._BAND", 20)
    path = tmp_path / "a.png"
    write_image(path, make_image(2, (301, 203)))
    predictor = Predictor(model, "cpu", tile=128)
    predictor.pixel_threshold = 0.6
    prediction = predictor.predict(path)
    assert prediction.regions
    write_overlay(prediction, tmp_path / "drawn.png")
    assert read_image(tmp_path / "drawn.png").shape == (60, 40, 3)
    renamed = replace(prediction, name=f"{path}#12")
    assert find_overlay(renamed, {path: Path("out/a.png")}) == Path("out/a-12.png")


class _Generated:
    """An image that is made when it is read."""

    def __init__(self, size: ImageSize) -> None:
        self.size = size

    def read(self, top: int, bottom: int) -> Pixels:
        rows = np.arange(top, bottom, dtype=np.uint32)[:, None] * 31 + np.arange(self.size[1]) * 17
        return (rows % 251).astype(np.uint8)[..., None]


def test_memory_grows_by_less_than_a_byte_for_a_pixel(model: Path) -> None:
    predictor = Predictor(model, "cpu", tile=128)
    predictor.pixel_threshold = 0.9
    peaks = []
    for height in (400, 1_600):
        rows: Rows = _Generated((height, 400))
        tracemalloc.start()
        predictor.predict_rows(rows)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (1_200 * 400) < 1
