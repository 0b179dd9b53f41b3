"""What holds for every annotation format."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.data.annotations import Entry, ellipse, scribble, shape, to_dataset, turned
from segdec.data.open import describe
from segdec.errors import DataError
from segdec.imaging import read_marks
from segdec.imaging.marks import fill_polygon
from segdec.types import Dataset, Polygon, Sample, Scribble, Shape, Shapes

BOX = Polygon(((1, 1), (4, 1), (4, 4), (1, 4)))
STROKE = Scribble(((1, 1), (4, 1)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(tmp_path / name)
    return tmp_path


def read(folder: Path, *shapes: Shape, tags: tuple[str, ...] = ()) -> Dataset:
    return to_dataset(folder, folder, "coco", [Entry("a.png", "x.json, image 1", shapes, (8, 10), tags)])


def sample(folder: Path, *shapes: Shape, tags: tuple[str, ...] = ()) -> Sample | None:
    samples = read(folder, *shapes, tags=tags).samples
    return samples[0] if samples else None


def test_types_are_kept_and_general_words_are_none(folder: Path) -> None:
    names = ["scratch", "dent", "scratch", "defect", "NOK"]
    found = sample(folder, *(shape(BOX, name, "x") for name in names))
    assert found is not None
    assert found.types == ("scratch", "dent")


def test_no_marks_are_good_and_no_entry_is_unlabelled(folder: Path) -> None:
    dataset = read(folder)
    assert [each.label for each in dataset] == [False]
    assert [path.name for path in dataset.unlabelled] == ["b.png", "c.png"]
    assert "unlabelled: 2, not used for training or judging" in describe(dataset)


@pytest.mark.parametrize("name", ["unknown", "Ignore", "__ignore__"])
def test_nothing_but_unknown_marks_is_unlabelled(folder: Path, name: str) -> None:
    assert sample(folder, shape(BOX, name, "x")) is None
    assert sample(folder, tags=(name,)) is None
    good = sample(folder, shape(BOX, name, "x"), tags=("good",))
    assert good is not None
    assert not good.label
    assert good.mask is not None
    assert (read_marks(good.mask, (8, 10)) == 0).sum() == 9


def test_a_good_image_is_good_beside_its_scribbles(folder: Path) -> None:
    found = sample(folder, shape(STROKE, "good", "x"))
    assert found is not None
    assert (found.label, found.mask) == (False, None)


def test_a_defect_that_is_not_marked(folder: Path) -> None:
    for shapes in ((), (shape(BOX, "good", "x"),), (shape(BOX, "ignore", "x"),)):
        found = sample(folder, *shapes, tags=("bad",))
        assert found is not None
        assert found.weak
    found = sample(folder, shape(STROKE, "good", "x"), tags=("crack",))
    assert found is not None
    assert isinstance(found.mask, Shapes)
    assert found.types == ("crack",)


def test_good_and_defective_at_once(folder: Path) -> None:
    for shapes, tags in (((shape(BOX, "dent", "x"),), ("good",)), ((), ("good", "dent"))):
        with pytest.raises(
            DataError, match=r"x\.json, image 1: a\.png is called good, but marked with a def"
        ):
            read(folder, *shapes, tags=tags)


@pytest.mark.parametrize("name", ["/somewhere/else/a.png", r"C:\data\a.png", "../a.png", "./a.png"])
def test_an_image_is_found_by_the_end_of_its_name(folder: Path, name: str) -> None:
    dataset = to_dataset(folder, folder, "coco", [Entry(name, "x")])
    assert [each.name for each in dataset] == ["a.png"]


def test_turning_is_clockwise_on_the_image() -> None:
    assert turned([(2, 0)], (0, 0), 90) == (pytest.approx((0, 2)),)


def test_an_ellipse_has_its_area() -> None:
    form = ellipse((50, 40), (30, 10), 30, (80, 100), "x")
    assert fill_polygon(form.points, (80, 100)).sum() == pytest.approx(np.pi * 300, rel=0.02)


def test_impossible_forms() -> None:
    with pytest.raises(DataError, match="at least one point"):
        scribble([], None, "x")
    with pytest.raises(DataError, match="radii above 0"):
        ellipse((1, 1), (0, 1), 0, None, "x")
    with pytest.raises(DataError, match="lies outside its image of 10 x 8"):
        ellipse((30, 1), (1, 1), 0, (8, 10), "x")
