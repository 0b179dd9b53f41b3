"""Label Studio's export, by hand; the brush against what Label Studio's own converter writes."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.data.labelstudio import decode_brush
from segdec.errors import DataError
from segdec.imaging import DEFECT, SCRIBBLED, read_marks
from segdec.types import Shapes

SIZE = (4, 6)
# rows 1 to 2, columns 2 to 4 of an image of 4 x 6, by mask2rle of label-studio-converter 0.0.59
BRUSH = [0, 0, 0, 96, 57, 27, 254, 31, 0, 183, 255, 108, 2, 223, 254, 27, 0, 0]
PAINTED = [[row, column] for row in (1, 2) for column in (2, 3, 4)]


# 19 masks and 4 coloured brushes by label-studio-converter 0.0.59 (mask2rle, encode_rle), and what
# @thi.ng/rle-pack 3.2.12 writes otherwise; labelstudio_brush.py beside it recorded them
RECORDED = json.loads((Path(__file__).parent / "labelstudio_brush.json").read_text())


def region(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "r1", "value": value, "original_width": 6, "original_height": 4, **more}


def write(folder: Path, results: Any, image: str = "/data/upload/3/a.png", **more: Any) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / name)
    tasks = [
        {"id": 5, "data": {"image": image}, "annotations": [{"result": results}], **more},
        {"id": 6, "data": {"image": "b.png"}, "annotations": [{"result": []}]},
        {"id": 7, "data": {"image": "c.png"}, "annotations": [{"result": [], "was_cancelled": True}]},
    ]
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder / "export.json"


@pytest.mark.parametrize(
    ("value", "code", "pixels"),
    [
        (
            {"points": [[0, 0], [50, 0], [50, 25], [0, 25]], "polygonlabels": ["dent"]},
            DEFECT,
            [[0, 0], [0, 1], [0, 2]],
        ),
        (
            {"x": 50, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["dent"]},
            DEFECT,
            [[2, 3], [2, 4], [2, 5]],
        ),
        (
            {"x": 50, "y": 0, "width": 50, "height": 25, "rotation": 90, "rectanglelabels": ["dent"]},
            DEFECT,
            [[0, 2], [1, 2], [2, 2]],
        ),
        (
            {"x": 25, "y": 37.5, "radiusX": 18, "radiusY": 15, "rotation": 0, "ellipselabels": ["dent"]},
            DEFECT,
            [[1, 1]],
        ),
        ({"format": "rle", "rle": BRUSH, "brushlabels": ["dent"]}, DEFECT, PAINTED),
        ({"x": 25, "y": 37.5, "width": 1, "keypointlabels": ["dent"]}, SCRIBBLED, [[1, 1]]),
        ({"x": 25, "y": 37.5, "width": 1, "labels": ["dent"]}, SCRIBBLED, [[1, 1]]),
    ],
)
def test_regions(tmp_path: Path, value: dict[str, Any], code: int, pixels: list[list[int]]) -> None:
    dataset = open_dataset(write(tmp_path, [region(value)]), DataConfig())
    assert [(each.name, each.label) for each in dataset] == [("a.png", True), ("b.png", False)]
    assert [path.name for path in dataset.unlabelled] == ["c.png"]
    sample = dataset.samples[0]
    assert sample.types == ("dent",)
    assert sample.mask is not None
    marks = read_marks(sample.mask, SIZE)
    found = np.argwhere(marks == code).tolist()
    assert [pixel for pixel in pixels if pixel not in found] == []
    if code == DEFECT and "radiusX" not in value:
        assert found == pixels


def test_choices(tmp_path: Path) -> None:
    weak = open_dataset(write(tmp_path, [region({"choices": ["crack"]})]), DataConfig()).samples[0]
    assert (weak.weak, weak.types) == (True, ("crack",))
    dataset = open_dataset(write(tmp_path, [region({"choices": ["Good"]})]), DataConfig(), one_class=True)
    assert [each.label for each in dataset] == [False, False]


def test_remarks_are_passed_over(tmp_path: Path) -> None:
    area = region({"points": [[0, 0], [50, 0], [50, 25]], "polygonlabels": ["dent"]})
    remarks = [{"rating": 4}, {"number": 4}, {"text": ["note"]}, {"datetime": "2030-01-01"}]
    results = [area, *({"id": str(place), "value": value} for place, value in enumerate(remarks))]
    mask = open_dataset(write(tmp_path, results), DataConfig()).samples[0].mask
    assert isinstance(mask, Shapes)
    assert [item.type for item in mask.items] == ["dent"]


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = write(tmp_path, [])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert open_dataset(path, DataConfig(), one_class=True).layout == "label-studio"


def test_areas_and_names_from_two_controls(tmp_path: Path) -> None:
    area = {"x": 50, "y": 50, "width": 50, "height": 25}
    results = [region(area), region({**area, "labels": ["dent"]}), region(area, id="r2")]
    sample = open_dataset(write(tmp_path, results), DataConfig()).samples[0]
    assert sample.types == ("dent",)
    assert sample.mask is not None
    assert len(sample.mask.items) == 2  # type: ignore[union-attr]


def test_an_area_with_several_types(tmp_path: Path) -> None:
    area = region({"points": [[0, 0], [50, 0], [50, 25]], "polygonlabels": ["dent", "crack"]})
    assert open_dataset(write(tmp_path, [area]), DataConfig()).samples[0].types == ("dent", "crack")


@pytest.mark.parametrize(
    "image", ["/data/upload/3/0a1b2c3d-a.png", "/data/local-files/?d=x/a.png", "https://h.org/p/a.png?t=1"]
)
def test_addresses_of_images(tmp_path: Path, image: str) -> None:
    assert open_dataset(write(tmp_path, [], image), DataConfig(), one_class=True).samples[0].name == "a.png"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            region({"points": [[0, 0], [9, 9]], "polygonlabels": ["d"]}),
            "task 5, result 'r1': .*points, got 2",
        ),
        (region({"points": [[0, 0], [9, 9], [150, 0]]}), r"\(9, 0\) lies outside its image of 6 x 4"),
        (
            {"id": "r1", "value": {"points": [[0, 0], [9, 9], [9, 0]], "polygonlabels": ["d"]}},
            '"original_width" and "original_height" are missing',
        ),
        (
            region({"x": 400, "y": 400, "width": 10, "height": 10, "rotation": 30}),
            r"lies outside its image of 6 x 4",
        ),
        (region({"rle": BRUSH}, original_width=5), "hold 96 values, but an image of 4 x 5 pixels has 80"),
        (region({"rle": BRUSH[:-8]}), "the run lengths end too early"),
        (region({"rle": [300]}), "a list of numbers from 0 to 255"),
        (region({"rle": None}), "end too early|a list of numbers"),
        ({"id": "r1", "value": {"sequence": []}}, r"regions of this kind \(sequence\) are not read"),
        (region({"x": 1, "y": 1, "width": 0, "height": 5}), "a width and a height above 0"),
        (
            region({"points": [[0, 0], [50, 0], [50, 25]], "polygonlabels": ["dent", "good"]}),
            r"task 5, result 'r1': it is called dent and good, .* keep one",
        ),
    ],
)
def test_impossible_regions_are_named(tmp_path: Path, result: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, [result]), DataConfig())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"annotations": None}, "task 1 has no list .annotations.; let Label Studio export JSON"),
        ({"data": {}}, '"data" names no image'),
        ({"data": {"image": "lost.png"}}, r"names files that do not exist: lost\.png"),
        ({"data": {"image": "b.png"}}, r"task 6 is for the image b\.png, and so is .*task 5"),
        ({"annotations": [{"result": 3}]}, '"result" must be a list'),
    ],
)
def test_impossible_tasks_are_named(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, [], **more), DataConfig(), one_class=True)


@pytest.mark.parametrize("brush", RECORDED, ids=lambda each: f"{each['package']}: {each['name']}")
def test_what_their_encoders_write_is_decoded(brush: dict[str, Any]) -> None:
    height, width = brush["size"]
    painted = np.repeat(np.arange(len(brush["mask"])) % 2 == 1, brush["mask"]).reshape(height, width)
    assert (decode_brush(list(base64.b64decode(brush["brush"])), (height, width), "x") == painted).all()


@given(st.lists(st.integers(0, 255), max_size=40))
def test_any_bytes_are_a_brush_or_refused(values: list[int]) -> None:
    with contextlib.suppress(DataError):
        assert decode_brush([0, 0, 0, 96, *values], SIZE, "x").shape == SIZE
