"""Training on tiles: labels from masks, targets from cut masks, and a run that predicts as it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segdec.cli.training import _plan
from segdec.config import Config, load_config
from segdec.data import open_dataset
from segdec.data.loader import TrainingSet
from segdec.data.pixels import load_pixels
from segdec.data.tiles import cut_samples
from segdec.errors import ConfigError
from segdec.evaluate import evaluate_run
from segdec.imaging import DEFECT, GOOD, write_image
from segdec.model_io import read_model
from segdec.predict import Predictor
from segdec.sampling import Draw
from segdec.tiles import Tiling, choose_tiling
from segdec.train import train
from segdec.types import Point, Polygon, Sample, Scribble, Shape, Shapes

SIZE = (150, 210)
TILING = Tiling(tile=64, overlap=32, margin=16)
NETWORK = (
    "network.block_channels=[2, 3, 3]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "network.decision_channels=[2, 2, 2]",
)


def config(*sets: str) -> Config:
    size = ("data.image_size=[64, 64]", "data.tile=64", "data.channels=1")
    return load_config(None, (*size, *NETWORK, *sets))


def make_sample(folder: Path, name: str, spot: tuple[int, int, int, int] | None = None) -> Sample:
    """Write a noisy image, with a bright spot (y, x, height, width) where it is defective, and its mask."""
    pixels = np.random.default_rng(len(name)).integers(0, 100, SIZE, dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    mask = np.zeros(SIZE, np.uint8)
    if spot is not None:
        y, x, height, width = spot
        mask[y : y + height, x : x + width] = 255
        pixels[mask > 0] = 250
        write_image(folder / f"{name}_mask.png", mask)
    write_image(folder / f"{name}.png", pixels)
    has_mask = spot is not None
    return Sample(
        name, folder / f"{name}.png", has_mask, folder / f"{name}_mask.png" if has_mask else None, "g"
    )


def test_every_defect_makes_a_tile_defective_and_its_neighbours_teach_nothing(tmp_path: Path) -> None:
    spot = (70, 90, 9, 9)
    tiles = cut_samples([make_sample(tmp_path, "a", spot)], TILING, config().data)
    assert {tile.group for tile in tiles} == {"g"}
    assert len({tile.name for tile in tiles}) == len(tiles)
    labels = {tile.origin: tile.label for tile in tiles}
    for y in TILING.starts(SIZE[0]):
        for x in TILING.starts(SIZE[1]):
            touched = y < spot[0] + 9 and y + 64 > spot[0] and x < spot[1] + 9 and x + 64 > spot[1]
            if not touched:
                assert labels[y, x] is False
            elif (y, x) in labels:
                assert labels[y, x] is True
    defective = [tile for tile in tiles if tile.label]
    assert defective
    for tile in defective:
        image, marks = load_pixels(tile, config())
        assert image.shape == (64, 64, 1)
        assert ((marks == DEFECT) == (image[..., 0] == 250)).all()


def test_tiles_of_good_images_are_good_and_those_of_unmasked_defects_unknown(tmp_path: Path) -> None:
    good, defect = make_sample(tmp_path, "good"), make_sample(tmp_path, "defect", (3, 3, 5, 5))
    tiles = cut_samples([good, defect.without_mask()], TILING, config().data)
    assert {tile.name.partition("[")[0] for tile in tiles} == {"good"}
    assert len(tiles) == len(TILING.starts(SIZE[0])) * len(TILING.starts(SIZE[1]))
    _, marks = load_pixels(tiles[-1], config())
    assert (marks == GOOD).all()


def test_where_only_scribbles_are_known_no_tile_is_good(tmp_path: Path) -> None:
    stroke: tuple[Point, ...] = ((10, 10), (20, 10))
    area = Polygon(((150.0, 100.0), (170.0, 100.0), (170.0, 120.0), (150.0, 120.0)))
    for items, kept in ((Shape(Scribble(stroke)), {True}), (Shape(area), {True, False})):
        sample = make_sample(tmp_path, "a", (1, 1, 2, 2))
        marked = Sample("a", sample.image, True, Shapes((items,)))
        assert {tile.label for tile in cut_samples([marked], TILING, config().data)} == kept


def test_small_images_are_mirrored_with_their_masks(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.arange(40 * 50, dtype=np.uint16).reshape(40, 50))
    mask = np.zeros((40, 50), np.uint8)
    mask[30:40, 45:50] = 1
    write_image(tmp_path / "m.png", mask)
    (tile,) = cut_samples([Sample("a", tmp_path / "a.png", True, tmp_path / "m.png")], TILING, config().data)
    image, marks = load_pixels(tile, config())
    assert image.shape == (64, 64, 1)
    assert image.dtype == np.uint16
    assert image[40, 0] == image[39, 0]
    assert (marks == DEFECT)[30:50, 45:55].all()
    assert (marks == DEFECT).sum() == 200


def test_a_cache_of_tiles_keeps_no_whole_images(tmp_path: Path) -> None:
    tiles = cut_samples([make_sample(tmp_path, "a", (70, 90, 9, 9))], TILING, config().data)
    training_set = TrainingSet(tiles, config("augment.flip=true"), cache_bytes=1 << 20)
    batch = training_set[Draw(image=0, number=0)]
    assert batch.image.shape == (1, 64, 64)
    assert all(array.base is None for array in training_set._cache[0])
    training_set = TrainingSet(tiles, config(), cache_bytes=1 << 20)
    training_set[Draw(image=0, number=0)]
    image, targets = training_set._cache[0]
    assert all(array.base is None for array in (image, targets.seg_target, targets.weight_map))


def make_folders(data: Path) -> None:
    """Write eight good images, and eight with a defect and its mask."""
    for folder in ("good", "defect", "masks"):
        (data / folder).mkdir(parents=True)
    for number in range(8):
        make_sample(data / "good", f"good{number}")
        sample = make_sample(data / "defect", f"defect{number}", (20 * number % 120, 25 * number, 12, 12))
        assert isinstance(sample.mask, Path)
        sample.mask.rename(data / "masks" / f"defect{number}.png")


def test_a_run_on_tiles_predicts_and_evaluates_in_tiles(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_folders(data)
    settings = ("data.tile=96", "data.val_fraction=0.25", "data.test_fraction=0.25", "data.workers=0")
    run = train(data, load_config(None, (*NETWORK, *settings, "train.epochs=2")), tmp_path / "run")
    card, _ = read_model(run.model)
    assert (card.tile, card.image_size) == (96, (96, 96))
    assert run.config.data.image_size == (96, 96)
    predictor = Predictor(tmp_path / "run", "cpu")
    assert predictor.tiling == choose_tiling(run.config.network, 96)
    assert predictor.predict(run.split.test[0].image).size == SIZE
    evaluation = evaluate_run(tmp_path / "run")
    assert len(evaluation.rows) == len(run.split.test)
    assert evaluation.pixel.ap.value is not None
    resumed = train(None, run.config, tmp_path / "run", resume=True)
    assert read_model(resumed.model)[1].keys() == read_model(run.model)[1].keys()


def test_a_run_on_tiles_that_leaves_images_out_goes_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_folders(data)
    for number in range(3):
        (data / "masks" / f"defect{number}.png").unlink()  # nobody knows which of their tiles are defective
    settings = ("data.tile=96", "data.val_fraction=0", "data.test_fraction=0.25", "data.workers=0")
    run = train(data, load_config(None, (*NETWORK, *settings, "train.epochs=1")), tmp_path / "run")
    assert run.meta["unreadable"]
    assert set(run.meta["unreadable"]) <= {f"defect/defect{number}.png" for number in range(3)}
    resumed = train(None, run.config, tmp_path / "run", resume=True)
    assert resumed.split.train == run.split.train


def test_settings_that_contradict_tiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiles are not resized"):
        load_config(None, ("data.tile=96", "data.image_size=[96, 104]"))
    with pytest.raises(ConfigError, match=r"data\.tile"):
        load_config(None, ("data.tile=100",))
    data = tmp_path / "data"
    for folder in ("good", "defect"):
        (data / folder).mkdir(parents=True)
        for number in range(5):
            write_image(data / folder / f"{number}.png", np.zeros((80, 80), np.uint8))
    sets = (*NETWORK, "data.tile=96", "loss.balance=decision", "train.gradient_adjustment=false")
    with pytest.raises(ConfigError, match="nobody knows which"):
        train(data, load_config(None, sets), tmp_path / "run")
    with pytest.raises(ConfigError, match="receptive field is 212"):
        train(data, load_config(None, ("data.tile=96",)), tmp_path / "run")


def test_a_training_on_tiles_is_planned_at_the_scale_of_the_images(tmp_path: Path) -> None:
    for number in range(4):
        make_sample(tmp_path / "good", f"good{number}")
        make_sample(tmp_path / "defect", f"defect{number}", (20, 30, 20, 20))
    given = ["data.tile=96"]
    config_of_tiles = load_config(None, tuple(given))
    plan = _plan(open_dataset(tmp_path, config_of_tiles.data), config_of_tiles, given)
    planned = plan.settings()
    assert "image_size" not in planned["data"]
    assert planned["data"]["dilation"] == 1
    assert load_config(None, tuple(given), planned).data.tile == 96
