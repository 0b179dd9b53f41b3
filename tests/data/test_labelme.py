"""LabelMe's files, by hand."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.errors import DataError
from segdec.imaging import DEFECT, GOOD, SCRIBBLED, UNKNOWN, read_marks
from segdec.types import Sample

SIZE = (8, 10)


def write(folder: Path, shapes: list[Any], **more: Any) -> Path:
    for name in ("a", "b", "c"):
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / f"{name}.png")
    content = {"version": "5.4.1", "flags": {}, "imagePath": "a.png", "imageHeight": 8, "imageWidth": 10}
    (folder / "a.json").write_text(json.dumps({**content, "shapes": shapes, **more}))
    (folder / "b.json").write_text(json.dumps({**content, "imagePath": "b.png", "shapes": []}))
    return folder


def mark(kind: str | None, *points: Any, label: str = "dent", **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, **more}


def first(folder: Path, *shapes: Any, **more: Any) -> Sample:
    return open_dataset(write(folder, list(shapes), **more), DataConfig(), one_class=True).samples[0]


@pytest.mark.parametrize(
    ("shape", "code", "pixels"),
    [
        (mark("polygon", [1, 1], [3, 1], [3, 2], [1, 2]), DEFECT, [[1, 1], [1, 2]]),
        (mark(None, [1, 1], [3, 1], [3, 2], [1, 2]), DEFECT, [[1, 1], [1, 2]]),
        (mark("rectangle", [3, 2], [1, 1]), DEFECT, [[1, 1], [1, 2]]),
        (mark("rectangle", [1, 1], [3, 1], [3, 2], [1, 2]), DEFECT, [[1, 1], [1, 2]]),
        (mark("circle", [4.5, 4.5], [5.1, 4.5]), DEFECT, [[4, 4]]),
        (mark("line", [1.5, 3.5], [1.5, 3.5]), SCRIBBLED, None),
        (mark("linestrip", [1.5, 3.5], [4.5, 3.5], [4.5, 5.5]), SCRIBBLED, None),
        (mark("point", [1.5, 3.5]), SCRIBBLED, None),
    ],
)
def test_shapes(tmp_path: Path, shape: Any, code: int, pixels: Any) -> None:
    sample = first(tmp_path, shape)
    assert sample.types == ("dent",)
    assert sample.mask is not None
    marks = read_marks(sample.mask, SIZE)
    if pixels is not None:
        assert np.argwhere(marks == code).tolist() == pixels
    assert marks[3, 1] == (code if code == SCRIBBLED else GOOD)
    assert marks[0, 9] == (UNKNOWN if code == SCRIBBLED else GOOD)


def test_a_mask_in_base64(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], bool)).save(stream, "PNG")
    text = base64.b64encode(stream.getvalue()).decode()
    sample = first(tmp_path, mark("mask", [7, 5], [8, 6], mask=text))
    assert sample.mask is not None
    assert np.argwhere(read_marks(sample.mask, SIZE) == DEFECT).tolist() == [[5, 7], [6, 7], [6, 8]]


def test_files_without_shapes_flags_and_images_without_files(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, [], flags={"crack": True, "good": False}), DataConfig())
    assert [(each.name, each.label, each.weak, each.types) for each in dataset] == [
        ("a.png", True, True, ("crack",)),
        ("b.png", False, False, ()),
    ]
    assert [path.name for path in dataset.unlabelled] == ["c.png"]


def test_images_in_a_folder_beside(tmp_path: Path) -> None:
    for folder in ("images", "json"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "images", [mark("point", [1, 1])])
    for name in ("a", "b"):
        path = (tmp_path / "images" / f"{name}.json").rename(tmp_path / "json" / f"{name}.json")
        path.write_text(path.read_text().replace(f"{name}.png", f"..\\\\images\\\\{name}.png"))
    assert [s.name for s in open_dataset(tmp_path, DataConfig())] == ["images/a.png", "images/b.png"]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (mark("polygon", [1, 1], [3, 3]), r"a\.json, shape 1: a polygon has at least three points, got 2"),
        (mark("rectangle", [1, 1]), "a rectangle has two points, got 1"),
        (mark("rectangle", [1, 1], [1, 5]), "a box needs a width and a height above 0"),
        (mark("line"), "a line has at least one point"),
        (mark("point", [100, 1]), r"\(100, 1\) lies outside its image of 10 x 8"),
        (mark("cuboid", [1, 1]), 'shapes of the kind "cuboid" are not read'),
        (mark("polygon", 1, 2), r"points must be a list of pairs \[x, y\]"),
        (mark("polygon", [1, "x"], [1, 2], [2, 2]), "a coordinate must be a number, got 'x'"),
        (mark("mask", [1, 1], [3, 3], mask="?"), "its mask is no base64"),
        (mark("mask", [1, 1], [3, 3], mask="AAAA"), "its mask is no PNG"),
        ({"points": []}, '"label" is missing'),
        (3, '"label" is missing'),
    ],
)
def test_impossible_shapes_are_named(tmp_path: Path, shape: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        first(tmp_path, shape)


@pytest.mark.parametrize("folders", [False, True])
@pytest.mark.parametrize("more", [{"imageHeight": None}, {"imageHeight": None, "imageWidth": None}])
@pytest.mark.parametrize(
    "shape",
    [
        mark("polygon", [1, 1], [3, 1], [30, 3]),
        mark("rectangle", [1, 1], [30, 3]),
        mark("circle", [30, 3], [31, 3]),
        mark("line", [1, 1], [30, 3]),
    ],
)
def test_a_size_that_is_not_stated_is_the_images(
    tmp_path: Path, shape: Any, more: dict[str, Any], folders: bool
) -> None:
    folder = tmp_path / "defect" if folders else tmp_path
    folder.mkdir(exist_ok=True)
    write(folder, [mark("rectangle", [1, 1], [3, 3])], **more)
    if folders:
        (folder / "b.json").unlink()
    assert open_dataset(tmp_path, DataConfig(), one_class=True).samples[0].label
    write(folder, [shape], **more)
    with pytest.raises(
        DataError, match=r"a\.json, shape 1: the point \(30, \d\) lies outside its image of 10 x 8"
    ):
        open_dataset(tmp_path, DataConfig(), one_class=True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"imagePath": "lost.png"}, r"names files that do not exist: lost\.png; .* \(the first: .*a\.json\)"),
        ({"imagePath": None}, '"imagePath" is missing'),
        ({"imagePath": "b.png"}, r"b\.json is for the image b\.png, and so is .*a\.json"),
        ({"imageHeight": 2.5}, "height and width must be whole numbers above 0, got 2.5 x 10; correct them"),
    ],
)
def test_impossible_files_are_named(tmp_path: Path, more: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        first(tmp_path, **more)
