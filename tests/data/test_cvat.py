"""CVAT's XML for images, by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.errors import DataError
from segdec.imaging import DEFECT, SCRIBBLED, read_marks
from segdec.types import Dataset

SIZE = (8, 10)


def write(folder: Path, inside: str, about: str = 'name="a.png" width="10" height="8"') -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / name)
    images = (
        f'<image id="0" {about}>{inside}</image><image id="1" name="b.png" width="10" height="8"></image>'
    )
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    return folder


@pytest.mark.parametrize(
    ("shape", "code", "pixels"),
    [
        ('<polygon label="dent" points="1.0,1.0;3.0,1.0;3.0,2.0;1,2"/>', DEFECT, [[1, 1], [1, 2]]),
        ('<box label="dent" xtl="1" ytl="1" xbr="3" ybr="2"/>', DEFECT, [[1, 1], [1, 2]]),
        (
            '<box label="dent" xtl="1" ytl="2" xbr="4" ybr="3" rotation="90"/>',
            DEFECT,
            [[1, 2], [2, 2], [3, 2]],
        ),
        ('<ellipse label="dent" cx="4.5" cy="4.5" rx="1.1" ry="0.6"/>', DEFECT, [[4, 3], [4, 4], [4, 5]]),
        (
            '<mask label="dent" rle="1, 2, 1, 2" left="7" top="5" width="3" height="2"/>',
            DEFECT,
            [[5, 8], [5, 9], [6, 8], [6, 9]],
        ),
        ('<polyline label="dent" points="1.5,1.5;1.5,1.5"/>', SCRIBBLED, None),
        ('<points label="dent" points="1.5,1.5"/>', SCRIBBLED, None),
    ],
)
def test_shapes(tmp_path: Path, shape: str, code: int, pixels: list[list[int]] | None) -> None:
    dataset = open_dataset(write(tmp_path, shape), DataConfig())
    assert [(sample.label, sample.types) for sample in dataset] == [(True, ("dent",)), (False, ())]
    assert [path.name for path in dataset.unlabelled] == ["c.png"]
    assert dataset.samples[0].mask is not None
    marks = read_marks(dataset.samples[0].mask, SIZE)
    if pixels is not None:
        assert np.argwhere(marks == code).tolist() == pixels
    assert marks.max() == code


def test_tags_and_parts(tmp_path: Path) -> None:
    about = 'name="a.png" width="10" height="8" subset="Train"'
    sample = open_dataset(write(tmp_path, '<tag label="crack"/>', about), DataConfig()).samples[0]
    assert (sample.weak, sample.types, sample.part) == (True, ("crack",), "train")
    path = write(tmp_path, '<tag label="crack"/>') / "annotations.xml"
    assert open_dataset(path, DataConfig()).layout == "cvat"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ('<polygon label="d" points="1,1;3,3"/>', r'image "a\.png", polygon 1: .*three points, got 2'),
        ('<polygon label="d" points="1,1;3,3;30,3"/>', r"\(30, 3\) lies outside its image of 10 x 8"),
        ('<polygon label="d" points="1,1;3;30,3"/>', "must be a list of pairs"),
        ('<polygon points="1,1;3,3;3,4"/>', "it has no label"),
        ('<box label="d" xtl="1" ytl="1" xbr="3"/>', '"ybr" must be a number, got None'),
        (
            '<mask label="d" rle="1, 2" left="7" top="5" width="3" height="2"/>',
            "3 x 2 = 6 pixels .* sum of 3",
        ),
        (
            '<mask label="d" rle="10,90" left="1" top="1" width="-10" height="-10"/>',
            r'image "a\.png", mask 1: its box needs a width and a height above 0, got -10 x -10',
        ),
        ('<mask label="d" rle="6" left="8" top="5" width="3" height="2"/>', "its box lies outside its image"),
        ('<mask label="d" rle="" left="8" top="5" width="3" height="2"/>', "a run length must be a number"),
        ('<cuboid label="d"/>', 'the kind of shape "cuboid" is not read'),
        ("<tag", "is no valid XML"),
    ],
)
def test_impossible_shapes_are_named(tmp_path: Path, shape: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, shape), DataConfig())


@pytest.mark.parametrize(
    "shape",
    [
        '<polygon label="d" points="1,1;3,3;30,3"/>',
        '<box label="d" xtl="1" ytl="1" xbr="30" ybr="3"/>',
        '<polyline label="d" points="1,1;30,3"/>',
        '<ellipse label="d" cx="30" cy="3" rx="1" ry="1"/>',
    ],
)
def test_a_size_that_is_not_stated_is_the_images(tmp_path: Path, shape: str) -> None:
    inside = '<box label="d" xtl="1" ytl="1" xbr="3" ybr="2"/>'
    assert open_dataset(write(tmp_path, inside, 'name="a.png"'), DataConfig()).samples[0].label
    with pytest.raises(
        DataError, match=r'"a\.png", \w+ 2: the point \(30, \d\) lies outside its image of 10 x 8'
    ):
        open_dataset(write(tmp_path, inside + shape, 'name="a.png"'), DataConfig())


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ('name="lost.png"', r'names files that do not exist: lost\.png; .*, image "lost\.png" \(number 1\)'),
        (
            'name="b.png"',
            r'image "b\.png" \(number 2\) is for the image b\.png, and so is .*, image "b\.png" \(number 1\)',
        ),
        ("", "the image 0 has no name"),
        ('name="a.png" width="x" height="8"', "width must be a number, got 'x'"),
    ],
)
def test_impossible_images_are_named(tmp_path: Path, about: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, "", about), DataConfig())


LABELS = (
    "<meta>{}<labels><label><name>dent</name><attributes><attribute><name>depth</name></attribute></attributes>"
    "</label><label><name> good </name></label></labels>{}</meta>"
)


@pytest.mark.parametrize("kind", ["task", "job", "project"])
@pytest.mark.parametrize(
    "inside",
    [
        '<tag label="{}"/>',
        '<points label="{}" points="1.5,1.5"/>',
        '<mask label="{}" rle="1, 5" left="7" top="5" width="3" height="2"/>',
    ],
)
def test_labels_that_the_file_does_not_list_are_refused(tmp_path: Path, kind: str, inside: str) -> None:
    def read(meta: str, label: str) -> Dataset:
        path = write(tmp_path, inside.format(label)) / "annotations.xml"
        path.write_text(path.read_text().replace("<version>", f"{meta}<version>"))
        return open_dataset(path, DataConfig(), one_class=True)

    meta = LABELS.format(f"<{kind}>", f"</{kind}>")
    assert [each.label for each in read(meta, "dent")] == [True, False]
    assert [each.label for each in read(meta, "good")] == [False, False]
    assert [each.label for each in read("<meta><task><labels/></task></meta>", "x")] == [True, False]
    for label in ("Dent", "depth", ""):
        words = rf'image "a\.png", \w+ 1: the label "{label}" is not listed; the file lists dent, good, so'
        with pytest.raises(DataError, match=words):
            read(meta, label)
