"""YOLO's text files, by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.errors import DataError
from segdec.imaging import DEFECT, read_marks

SIZE = (8, 10)


def write(folder: Path, text: str, names: str = "names: [dent, scratch]\n") -> Path:
    for name in ("a.png", "b.png", "c.png"):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full(SIZE, 50, np.uint8)).save(folder / "images" / name)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(text)
    (folder / "labels" / "b.txt").write_text("")
    (folder / "data.yaml").write_text(names)
    return folder


@pytest.mark.parametrize("line", ["1 0.1 0.25 0.3 0.25 0.3 0.5 0.1 0.5", "1 0.2 0.375 0.2 0.25"])
def test_polygons_and_boxes(tmp_path: Path, line: str) -> None:
    dataset = open_dataset(write(tmp_path, f"{line}\n\n"), DataConfig())
    assert [(each.name, each.label) for each in dataset] == [("images/a.png", True), ("images/b.png", False)]
    assert [path.name for path in dataset.unlabelled] == ["c.png"]
    sample = dataset.samples[0]
    assert sample.types == ("scratch",)
    assert sample.mask is not None
    marks = read_marks(sample.mask, SIZE)
    assert np.argwhere(marks == DEFECT).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("path: .\nnames:\n  0: dent\n  1: scratch\n", "scratch"),
        ("names:\n  '0': dent\n  '1': scratch\n", "scratch"),
        ("names:\n- dent\n- scratch\n", "scratch"),
        ("nc: 2\n", "class 1"),
    ],
)
def test_names_of_classes(tmp_path: Path, names: str, kind: str) -> None:
    assert open_dataset(write(tmp_path, "1 0.5 0.5 0.5 0.5", names), DataConfig()).samples[0].types == (kind,)


def test_names_in_a_text_file(tmp_path: Path) -> None:
    write(tmp_path, "1 0.5 0.5 0.5 0.5", "")
    (tmp_path / "labels" / "classes.txt").write_text("dent\nscratch\n")
    assert open_dataset(tmp_path, DataConfig()).samples[0].types == ("scratch",)


def test_parts_as_folders(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        write(tmp_path / "outside" / part, "0 0.5 0.5 0.5 0.5")
    dataset = open_dataset(tmp_path / "outside", DataConfig())
    assert [(each.name, each.part) for each in dataset][1:3] == [
        ("train/images/b.png", "train"),
        ("valid/images/a.png", "val"),
    ]
    write(tmp_path / "inside", "0 0.5 0.5 0.5 0.5")
    for kind in ("images", "labels"):
        (tmp_path / "inside" / kind).rename(tmp_path / "inside" / "x")
        (tmp_path / "inside" / kind).mkdir()
        (tmp_path / "inside" / "x").rename(tmp_path / "inside" / kind / "test")
    assert {each.part for each in open_dataset(tmp_path / "inside", DataConfig())} == {"test"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("names:\n  0: dent\n  1: scratch\n  0: good\n", "lines 2 and 4 both name class 0"),
        ("names: {0: dent, 0: good}\n", "lines 1 and 1 both name class 0"),
        ("names: [dent]\nnc: 1\nnames: [good]\n", 'lines 1 and 3 both give "names"'),
    ],
)
def test_names_that_are_given_twice_are_refused(tmp_path: Path, names: str, words: str) -> None:
    with pytest.raises(DataError, match=rf"data\.yaml: {words}; keep one of them"):
        open_dataset(write(tmp_path, "0 0.5 0.5 0.5 0.5", names), DataConfig())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.1 0.1 0.2 0.2 0.3", r"a\.txt, line 1: a polygon needs x and y of each corner, got 5 numbers"),
        ("0 0.1 0.1", "a polygon has at least three points, got 1"),
        ("0 0.1 0.1 3 0.2 0.3 0.3", "shares from 0 to 1 of the image, got 3"),
        ("0 0.1 0.1 x 0.2 0.3 0.3", "a coordinate must be a number, got 'x'"),
        (
            "2 0.5 0.5 0.5 0.5",
            r"class 2 is not listed; the names go from 0 to 1, so correct the line or add .* to .*data\.yaml",
        ),
        ("dent 0.5 0.5 0.5 0.5", 'begins with the number of its class, got "dent"'),
        ("0 0.5 0.5 0 0.5", "a box needs a width and a height above 0"),
    ],
)
def test_impossible_lines_are_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(write(tmp_path, line), DataConfig())


def test_impossible_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, "0 0.5 0.5 0.5 0.5", "names: [")
    with pytest.raises(DataError, match=r"data\.yaml is no valid YAML"):
        open_dataset(tmp_path, DataConfig())
    write(tmp_path, "0 0.5 0.5 0.5 0.5")
    (tmp_path / "labels" / "lost.txt").write_text("")
    with pytest.raises(DataError, match=r"lost\.txt has no image of its name"):
        open_dataset(tmp_path, DataConfig())
    (tmp_path / "labels" / "lost.txt").unlink()
    (tmp_path / "images" / "a.bmp").write_bytes(b"")
    with pytest.raises(DataError, match=r"share .*a\.txt; give the images different names"):
        open_dataset(tmp_path, DataConfig())
