"""Pascal VOC's files, by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import check_files, open_dataset
from segdec.errors import DataError
from segdec.imaging import DEFECT, read_marks

SIZE = (8, 10)
EDGES = "<xmin>1</xmin><ymin>2</ymin><xmax>2</xmax><ymax>2</ymax>"
BOX = f"<object><name>dent</name><bndbox>{EDGES}</bndbox></object>"


STATED = "<size><width>10</width><height>8</height><depth>1</depth></size>"


def write(folder: Path, objects: str, filename: str = "a.png", size: str = STATED) -> Path:
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / "JPEGImages" / f"{name}.png")
    for name, inside in ((filename, objects), ("b.png", "")):
        (folder / "Annotations" / f"{Path(name).stem or 'x'}.xml").write_text(
            f"<annotation><filename>{name}</filename>{size}{inside}</annotation>"
        )
    return folder


def test_boxes_count_pixels_from_one(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, BOX), DataConfig())
    assert [(each.name, each.types) for each in dataset] == [
        ("JPEGImages/a.png", ("dent",)),
        ("JPEGImages/b.png", ()),
    ]
    assert [path.name for path in dataset.unlabelled] == ["c.png"]
    assert dataset.samples[0].mask is not None
    marks = read_marks(dataset.samples[0].mask, SIZE)
    assert np.argwhere(marks == DEFECT).tolist() == [[1, 0], [1, 1]]


def test_published_parts(tmp_path: Path) -> None:
    write(tmp_path, BOX)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\n\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("b -1\n")
    assert [each.part for each in open_dataset(tmp_path, DataConfig())] == ["train", "val"]


def test_files_beside_their_images(tmp_path: Path) -> None:
    write(tmp_path, BOX)
    for path in [*tmp_path.glob("JPEGImages/*"), *tmp_path.glob("Annotations/*")]:
        path.rename(tmp_path / path.name)
    assert [each.name for each in open_dataset(tmp_path, DataConfig())] == ["a.png", "b.png"]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height><depth>0</depth></size>"])
def test_a_size_that_is_not_stated_is_the_images(tmp_path: Path, size: str) -> None:
    assert check_files(open_dataset(write(tmp_path, BOX, size=size), DataConfig()).samples).unreadable == {}
    with pytest.raises(
        DataError,
        match=r"a\.xml, object 1: the box from \(1, 2\) to \(20, 2\) lies outside its image of 10 x 8 ",
    ):
        open_dataset(write(tmp_path, BOX.replace("<xmax>2", "<xmax>20"), size=size), DataConfig())


@pytest.mark.parametrize(
    ("objects", "filename", "words"),
    [
        (
            BOX.replace("<xmax>2", "<xmax>20"),
            "a.png",
            r"a\.xml, object 1: the box from \(1, 2\) to \(20, 2\) lies outside its image of 10 x 8 .* corr",
        ),
        (BOX.replace("<xmax>2", "<xmax>0"), "a.png", "a box needs a width and a height above 0"),
        (BOX.replace("<xmin>1", "<xmin>-1"), "a.png", r"the box from \(-1, 2\) to \(2, 2\) lies outside"),
        (BOX.replace("<xmax>2</xmax>", ""), "a.png", '"xmax" must be a number, got None'),
        (BOX.replace("dent", ""), "a.png", "object 1: it has no name"),
        (BOX, "lost.png", r"names files that do not exist: lost\.png; .* \(the first: .*lost\.xml\)"),
        (BOX, "", '"filename" is missing'),
        ("<object>", "a.png", "is no valid XML"),
    ],
)
def test_impossible_files_are_named(tmp_path: Path, objects: str, filename: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, objects, filename), DataConfig())
