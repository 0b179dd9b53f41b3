"""Targets of what is known, and nothing of what is not."""

from pathlib import Path

import numpy as np
import pytest

from segdec.config import Config
from segdec.data.check import check_files
from segdec.data.loader import TrainingSet, load_pixels, make_targets
from segdec.imaging import DEFECT, GOOD, SCRIBBLED, UNKNOWN, write_image
from segdec.sampling import Draw
from segdec.types import Polygon, Sample, Scribble, Shape, Shapes
from segdec.weighting import reduce_to_cells, weight_map

SIZE = (64, 96)
BOX = Polygon(((20, 20), (60, 20), (60, 44), (20, 44)))
STROKE = Scribble(((30, 30), (50, 30)), width=3)


@pytest.fixture
def config() -> Config:
    return Config.model_validate({"data": {"image_size": SIZE, "channels": 1, "dilation": 1}})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.full(SIZE, 90, np.uint8))
    return tmp_path / "a.png"


def marked(image: Path, *items: Shape, label: bool = True) -> Sample:
    return Sample("a.png", image, label, Shapes(items, SIZE) if items else None)


def targets(sample: Sample, config: Config) -> tuple[np.ndarray, np.ndarray, float]:
    return make_targets(load_pixels(sample, config)[1], sample, config)


def test_weights_of_an_outline_fall_towards_its_border(image: Path, config: Config) -> None:
    target, weights, decision = targets(marked(image, Shape(BOX)), config)
    mask = np.zeros(SIZE, bool)
    mask[20:44, 20:60] = True
    assert np.array_equal(target, reduce_to_cells(mask.astype(np.float32)))
    assert np.array_equal(weights, reduce_to_cells(weight_map(mask, 3, 2)))
    assert decision == 1


def test_only_the_scribble_teaches(image: Path, config: Config) -> None:
    target, weights, _ = targets(marked(image, Shape(STROKE)), config)
    assert weights[4, 5] > 0
    assert target[4, 5] == pytest.approx(1)  # of the known pixels there, all are defect
    far = np.ones_like(weights, bool)
    far[2:6, 2:8] = False
    assert (weights[far] == 0).all()
    assert (target[far] == 0).all()


def test_a_scribble_weighs_in_full_beside_a_large_outline(config: Config) -> None:
    marks = np.full(SIZE, GOOD, np.uint8)
    marks[16:56, 40:90] = DEFECT
    marks[8, 8] = SCRIBBLED
    _, weights, _ = make_targets(marks, Sample("a", Path(), True), config)
    assert weights[1, 1] == pytest.approx((288 + 3) / 289, rel=1e-5)


def test_good_scribbles_are_good(image: Path, config: Config) -> None:
    sample = marked(image, Shape(STROKE, "good"), Shape(Scribble(((80.5, 10.5),)), "defect"))
    target, weights, _ = targets(sample, config)
    assert weights[4, 5] > 0
    assert target[4, 5] == 0
    assert target[1, 10] == pytest.approx(1)


def test_unknown_pixels_weigh_nothing_in_a_good_image(image: Path, config: Config) -> None:
    target, weights, decision = targets(marked(image, Shape(BOX, "unknown"), label=False), config)
    assert decision == 0
    assert weights[4, 5] == 0
    assert weights[0, 0] == 1
    assert (target == 0).all()


def test_an_image_label_alone_teaches_the_decision_only(image: Path, config: Config) -> None:
    target, weights, decision = targets(marked(image), config)
    assert decision == 1
    assert (weights == 0).all()
    assert (target == 0).all()


def test_dilation_grows_over_good_pixels_only(image: Path, config: Config) -> None:
    config = config.model_copy(update={"data": config.data.model_copy(update={"dilation": 5})})
    strip = Polygon(((60, 20), (62, 20), (62, 44), (60, 44)))
    marks = load_pixels(marked(image, Shape(BOX), Shape(strip, "unknown")), config)[1]
    assert marks[30, 18] == DEFECT
    assert marks[30, 60] == UNKNOWN
    marks = load_pixels(marked(image, Shape(STROKE)), config)[1]
    assert (marks == SCRIBBLED).sum() == (marks != UNKNOWN).sum()


def test_unknown_pixels_turn_with_the_image(image: Path, config: Config) -> None:
    config = config.model_copy(update={"augment": config.augment.model_copy(update={"flip": True})})
    corner = Polygon(((0, 0), (40, 0), (40, 24), (0, 24)))
    samples = [marked(image, Shape(corner, "unknown"), label=False)]
    corners = set()
    for number in range(24):
        weights = TrainingSet(samples, config, 0)[Draw(0, number)].weight_map[0]
        corners.add(tuple((weights[place] == 0).item() for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))))
    assert len(corners) == 4
    assert all(sum(each) == 1 for each in corners)


def test_a_defect_may_lie_where_nobody_looked(image: Path) -> None:
    good = marked(image, Shape(BOX, "good"))
    assert "labelled defect, but its mask marks none" in next(iter(check_files([good]).unreadable.values()))
    for item in (Shape(STROKE, "good"), Shape(BOX, "unknown")):
        assert check_files([marked(image, item)]).unreadable == {}
    wrong = check_files([marked(image, Shape(BOX), label=False)])
    assert "labelled good, but its mask marks a defect" in wrong.unreadable["a.png"]


def test_the_hash_knows_the_shapes(image: Path) -> None:
    items = [Shape(BOX), Shape(STROKE), Shape(BOX, "good"), Shape(BOX, type="dent")]
    hashes = {check_files([marked(image, Shape(BOX), item)]).data_hash for item in items}
    assert len(hashes) == 4
