"""A model folder and images in, predictions out; one bad image does not stop the others."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from segdec.backends.pytorch import probabilities
from segdec.config import NetworkConfig, load_config
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, ImageError, ModelError
from segdec.imaging import read_image, write_image
from segdec.inputs import check_size
from segdec.model_card import ModelCard, Trained
from segdec.model_io import write_model
from segdec.network import SegDecNet, build_network
from segdec.predict import Predictor, Unreadable, predict_files
from segdec.train import train
from segdec.types import ImageSize, Prediction

SIZE = (72, 64)
TRAINING = (
    "data.image_size=[64, 96]",
    "data.workers=0",
    "network.block_channels=[8, 8, 16]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=32",
    "network.context_kernel=5",
    "train.epochs=15",
    "train.learning_rate=0.3",
    "train.batch_size=4",
    "train.precision=fp32",
)


def make_model(folder: Path, channels: int = 1, **changes: Any) -> Path:
    config = NetworkConfig(
        in_channels=channels,
        block_channels=(4, 4, 6),
        block_depths=(1, 1, 1),
        context_channels=8,
        context_kernel=5,
        decision_channels=(2, 3, 4),
    )
    weights = {name: value.numpy() for name, value in build_network(config, seed=1).state_dict().items()}
    weights["fc.weight"] = weights["fc.weight"] * 4  # so that images differ in score
    fields: dict[str, Any] = {
        "network": config,
        "image_size": SIZE,
        "channels": channels,
        "threshold": 0.5,
        "threshold_from": "default",
        "pixel_threshold": 0.6,
        "trained": Trained(
            date="2030-01-01", run="r", dataset=None, data_hash=None, epoch=None, seed=None, commit=None
        ),
        "versions": {},
    }
    write_model(folder, ModelCard(**(fields | changes.pop("card", {}))), weights | changes)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("grey") / "model")


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor(model, "cpu")


def make_image(seed: int, shape: tuple[int, ...] = (90, 100), dtype: type = np.uint8) -> NDArray[Any]:
    low = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    return np.ascontiguousarray(np.repeat(np.repeat(low, 2, 0), 2, 1))


def same(one: Prediction, other: Prediction) -> None:
    assert one.score == pytest.approx(other.score, abs=1e-5)
    np.testing.assert_allclose(one.score_map, other.score_map, atol=1e-5)


def _interpolate(line: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    return np.interp(places, np.arange(len(line)), line)


def test_a_prediction_is_in_the_images_own_pixels(predictor: Predictor) -> None:
    image = make_image(0, (150, 40))  # 300 x 80
    prediction = predictor.predict(image, "part 7")
    assert prediction.name == "part 7"
    assert prediction.score_map.shape == (300, 80)
    assert prediction.score_map.dtype == np.float32
    assert 0 <= prediction.score_map.min() <= prediction.score_map.max() <= 1
    assert prediction.regions
    for region in prediction.regions:
        x, y, width, height = region.box
        inside = prediction.score_map[y : y + height, x : x + width]
        assert inside.shape == (height, width)
        assert inside.max() >= region.peak_score >= predictor.pixel_threshold


def test_the_numbers_are_the_networks(model: Path, predictor: Predictor) -> None:
    image = make_image(1, (36, 32))  # already 72 x 64: no resize between
    network = SegDecNet(predictor.card.network)
    network.load_state_dict(predictor.backend.network.state_dict())
    with torch.inference_mode():
        seg, dec = network(torch.from_numpy(image.astype(np.float32) / 255)[None, None])
    prediction = predictor.predict(image)
    assert prediction.score == pytest.approx(torch.sigmoid(dec).item(), abs=1e-6)
    grown = torch.sigmoid(seg)[0, 0].numpy()  # (9, 8); a cell's value stands at its centre
    for axis, side in enumerate(SIZE):
        places = (np.arange(side) + 0.5) / 8 - 0.5
        grown = np.apply_along_axis(_interpolate, axis, grown, places)
    np.testing.assert_allclose(prediction.score_map, grown, atol=1e-5)


def test_decision_and_threshold_go_together(model: Path) -> None:
    predictor = Predictor(model, "cpu")
    image = make_image(2)
    score = predictor.predict(image).score
    for threshold, decision in ((score, True), (np.nextafter(score, 1), False), (0.0, True)):
        predictor.threshold = float(threshold)
        prediction = predictor.predict(image)
        assert (prediction.decision, prediction.threshold) == (decision, threshold)
    predictor.pixel_threshold = 1.1
    assert predictor.predict(image).regions == ()


def test_a_batch_gives_what_single_images_give(predictor: Predictor) -> None:
    images = [make_image(3), make_image(4, (36, 200)), make_image(5, (32, 40, 3)), make_image(6, (50, 60, 1))]
    images.append(make_image(7, (64, 64), np.uint16))
    batch = predictor.predict_batch(images, [str(place) for place in range(5)])
    assert [each.name for each in batch] == list("01234")
    assert len({round(each.score, 6) for each in batch}) == 5
    for together, image in zip(batch, images, strict=True):
        same(together, predictor.predict(image))
    assert predictor.predict_batch([]) == []


def test_the_spectral_form_agrees(model: Path, predictor: Predictor) -> None:
    image = make_image(3)
    same(Predictor(model, "cpu", context="spectral").predict(image), predictor.predict(image))


@pytest.mark.parametrize("form", ["direct", "spectral"])
def test_a_model_that_was_trained_in_one_form_answers_the_same_in_both(tmp_path: Path, form: str) -> None:
    write_dagm_like(tmp_path / "data", 0, (64, 96), train=(20, 20), test=(4, 4), texture="brushed")
    run = train(
        tmp_path / "data", load_config(settings=(*TRAINING, f"train.context={form}")), tmp_path / "run"
    )
    direct, spectral = (Predictor(run.folder, "cpu", context=each) for each in ("direct", "spectral"))
    predictions = [direct.predict(sample.image) for sample in run.split.test]
    assert np.ptp([prediction.score for prediction in predictions]) > 0.5  # it has learnt to tell them apart
    for prediction in predictions:
        same(spectral.predict(prediction.name), prediction)


def test_opening_a_model_leaves_the_random_state_alone(model: Path) -> None:
    state = torch.random.get_rng_state()
    Predictor(model, "cpu")
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_array_counts_as_the_same_image_in_a_file(
    tmp_path: Path, channels: int, shape: tuple[int, ...], dtype: type
) -> None:
    predictor = Predictor(make_model(tmp_path / "model", channels), "cpu")
    image = make_image(8, shape, dtype)
    path = tmp_path / "ü.png"
    write_image(path, image)
    from_file = predictor.predict(path)
    assert from_file.name == str(path)
    same(predictor.predict(image), from_file)
    same(predictor.predict(str(path)), from_file)


def test_alpha_is_ignored(predictor: Predictor) -> None:
    image = make_image(9, (40, 40, 4))
    same(predictor.predict(image), predictor.predict(image[..., :3]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64), np.float32), "uint8 or uint16 values, got float32"),
        (np.zeros((64, 64), bool), "got bool"),
        (np.zeros((64, 64, 2), np.uint8), r"got \(64, 64, 2\)"),
        (np.zeros((2, 64, 64, 3), np.uint8), r"got \(2, 64, 64, 3\)"),
        (np.zeros((0, 64), np.uint8), r"got \(0, 64\)"),
        (np.zeros(64, np.uint8), r"got \(64,\)"),
        (Path("none.png"), "none.png"),
    ],
)
def test_what_is_no_image_is_refused(predictor: Predictor, image: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        predictor.predict(image)


@pytest.mark.parametrize("shape", [(1, 1), (63, 200), (200, 63), (1, 100_000)])
def test_an_image_that_is_too_small(predictor: Predictor, tmp_path: Path, shape: tuple[int, int]) -> None:
    message = rf"is too small: {shape[0]} x {shape[1]} pixels .* for 72 x 64 takes 64 x 64 and more"
    with pytest.raises(ImageError, match=message):
        predictor.predict(np.zeros(shape, np.uint8))
    write_image(tmp_path / "a.png", np.zeros(shape, np.uint8))
    (row,) = predict_files(predictor, [tmp_path / "a.png"])
    assert isinstance(row, Unreadable)
    assert row.reason.startswith(f"{tmp_path / 'a.png'} is too small")
    assert predictor.predict(np.zeros((64, 64), np.uint8)).score_map.shape == (64, 64)


@pytest.mark.parametrize(
    ("wanted", "least"),
    [
        ((512, 512), (64, 64)),
        ((1408, 512), (176, 64)),  # an eighth: a pixel for each cell of the score map
        ((256, 1600), (64, 200)),
        ((48, 64), (48, 64)),  # a model that was made for less
        (None, (64, 64)),  # tiles
    ],
)
def test_the_smallest_image(wanted: ImageSize | None, least: ImageSize) -> None:
    check_size(least, "a.png", wanted)
    for smaller in ((least[0] - 1, 9999), (9999, least[1] - 1)):
        with pytest.raises(
            ImageError, match=rf"a\.png is too small: .* takes {least[0]} x {least[1]} and more"
        ):
            check_size(smaller, "a.png", wanted)


def test_a_tiff_of_floating_point_values_with_nan(predictor: Predictor, tmp_path: Path) -> None:
    values = np.full((80, 80), np.nan, np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(
        ImageError, match=r"a\.tif holds floating-point values; images of unsigned 8 or 16 bit are"
    ):
        predictor.predict(tmp_path / "a.tif")


def test_scores_near_one_stay_apart() -> None:
    logits = torch.tensor([20.0, 21.0, -800.0, 0.0])
    scores = probabilities(logits)
    assert scores[0] < scores[1] < 1
    assert scores[2:].tolist() == [0, 0.5]


# --- models that cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fc.weight": np.zeros((1, 9), np.float32)},
            r"fc\.weight is \(1, 9\), the network .* has \(1, 10\)",
        ),
        ({"fc.extra": np.zeros(1, np.float32)}, r"hold fc\.extra, which the network .* has not"),
        (
            {"card": {"network": NetworkConfig(), "channels": 1}},
            r"the weight segmentation\.0\.0\.weight is \(4, 1, 5, 5\)",
        ),
    ],
)
def test_weights_of_another_network(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make_model(tmp_path / "model", **changes)
    with pytest.raises(ModelError, match=message):
        Predictor(tmp_path / "model", "cpu")


def test_missing_weights(tmp_path: Path, predictor: Predictor) -> None:
    write_model(tmp_path / "model", predictor.card, {"fc.bias": np.zeros(1, np.float32)})
    with pytest.raises(ModelError, match=r"the weights miss segmentation\.0\.0\.weight"):
        Predictor(tmp_path / "model", "cpu")


def test_a_score_that_is_no_number_is_never_a_good_part(tmp_path: Path) -> None:
    huge = np.full((1, 10), 3e38, np.float32)  # finite, but the sum of products overflows
    huge[0, ::2] *= -1
    predictor = Predictor(make_model(tmp_path / "model", **{"fc.weight": huge}), "cpu")
    with torch.inference_mode():
        predictor.backend.network.decision[1][1].scale.fill_(3e38)
    with pytest.raises(ModelError, match="score of part 7 is no number"):
        predictor.predict(make_image(0), "part 7")


@pytest.mark.parametrize("device", ["abacus", "cuda:77"])
def test_a_device_that_is_not_there(model: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f'no device "{device}" on this machine; try "cpu"'):
        Predictor(model, device)


def test_without_torch_the_message_says_what_to_install(model: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from segdec.errors import MissingExtraError\nfrom segdec.predict import Predictor\n"
        "try:\n    Predictor(sys.argv[1])\nexcept MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=False,
    )
    assert "pip install 'segdec[train]'" in done.stdout, done.stderr


# --- files ----------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Seven files, of which the second, the third and the last are no images."""
    paths = [tmp_path / f"{place}.png" for place in range(7)]
    for place, path in enumerate(paths):
        write_image(path, make_image(place, (32 + place, 40)))
    paths[1].write_bytes(b"")
    paths[2].write_text("no image")
    paths[6].unlink()
    return paths


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (2, 1), (3, 3), (16, 2)])
def test_bad_files_become_rows_and_the_rest_goes_on(
    predictor: Predictor, images: list[Path], batch_size: int, workers: int
) -> None:
    results = list(predict_files(predictor, iter(images), batch_size, workers))
    assert [each.name for each in results] == [str(path) for path in images]
    for place, (path, result) in enumerate(zip(images, results, strict=True)):
        if place in (1, 2, 6):
            assert isinstance(result, Unreadable)
            assert path.name in result.reason
        else:
            assert isinstance(result, Prediction)
            same(result, predictor.predict(path))


def test_files_are_read_as_they_are_needed_and_no_thread_stays(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, make_image(0))
    taken = []

    def endless() -> Any:
        while True:
            taken.append(path)
            yield path

    before = threading.active_count()
    stream = predict_files(predictor, endless(), batch_size=2, workers=2)
    for _ in range(6):
        next(stream)
    assert len(taken) <= 6 + 2 + 2 + 2  # the next batch, the one to follow it, one for each worker
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_the_network_goes_on_while_a_result_is_looked_at(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, make_image(0))
    predictor = Predictor(model, "cpu")
    inside, calls, third = predictor.backend, 0, threading.Event()

    class Watched:
        name, precision, prepare = inside.name, inside.precision, inside.prepare

        def __call__(self, images: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                third.set()
            return inside(images)

    predictor.backend = Watched()
    stream = predict_files(predictor, [path] * 5)
    next(stream)
    next(stream)  # and nobody asks for more
    assert third.wait(60)
    assert calls == 3
    assert len(list(stream)) == 3


def test_a_failure_of_the_network_ends_the_stream(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, make_image(0))
    predictor = Predictor(model, "cpu")

    class Broken:
        name, precision, prepare = predictor.backend.name, "fp32", predictor.backend.prepare

        def __call__(self, images: Any) -> Any:
            raise ModelError("out of order")

    predictor.backend = Broken()  # type: ignore[assignment]
    before = threading.active_count()
    with pytest.raises(ModelError, match="out of order"):
        list(predict_files(predictor, [path] * 5))
    assert threading.active_count() == before


def test_no_files_give_no_predictions(predictor: Predictor) -> None:
    assert list(predict_files(predictor, [])) == []


def test_the_same_file_is_read_for_all_uses(tmp_path: Path, predictor: Predictor) -> None:
    path = tmp_path / "colour.png"
    write_image(path, make_image(1, (40, 40, 3)))
    same(predictor.predict(read_image(path)), predictor.predict(read_image(path, 1)))
