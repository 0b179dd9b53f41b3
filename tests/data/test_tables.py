"""Severstal's train.csv, and tables of one's own."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import check_files, open_dataset
from segdec.errors import ConfigError, DataError
from segdec.imaging import read_mask
from segdec.types import RunLengths


def save(path: Path, value: int = 99) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


@pytest.fixture
def steel(tmp_path: Path) -> Path:
    for name in "abcd":
        save(tmp_path / "train_images" / f"{name}.jpg")
    write_steel(tmp_path, "a.jpg,1,1 2", "a.jpg,3,9 1", "b.jpg,3,64 1")
    return tmp_path


def write_steel(root: Path, *rows: str) -> None:
    (root / "train.csv").write_text("\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n")


def labels(root: Path, config: DataConfig | None = None) -> dict[str, bool]:
    return {sample.image.name: sample.label for sample in open_dataset(root, config or DataConfig())}


def test_severstal_joins_rows_and_takes_the_rest_as_good(steel: Path) -> None:
    assert labels(steel) == {"a.jpg": True, "b.jpg": True, "c.jpg": False, "d.jpg": False}
    mask = open_dataset(steel, DataConfig()).samples[0].mask
    assert isinstance(mask, RunLengths)
    assert mask.rows == ("1 2", "9 1")
    assert np.argwhere(read_mask(mask, (8, 8))).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_severstal_with_a_chosen_class(steel: Path) -> None:
    config = DataConfig(defect_class=1)
    assert labels(steel, config) == {"a.jpg": True, "b.jpg": False, "c.jpg": False, "d.jpg": False}
    assert open_dataset(steel, config).samples[0].mask == RunLengths(("1 2",), "train.csv, a.jpg")
    with pytest.raises(ConfigError, match=r"defect_class is 4, but .*train\.csv holds the classes \[1, 3\]"):
        open_dataset(steel, DataConfig(defect_class=4))


def test_severstal_s_older_table(steel: Path) -> None:
    (steel / "train.csv").write_text("ImageId_ClassId,EncodedPixels\na.jpg_1,1 2\na.jpg_2,\nc.jpg_1,\n")
    assert labels(steel) == {"a.jpg": True, "b.jpg": False, "c.jpg": False, "d.jpg": False}


def test_severstal_run_beyond_the_image_is_listed(steel: Path) -> None:
    write_steel(steel, "a.jpg,1,60 9", "b.jpg,1,1 1")
    reasons = check_files(open_dataset(steel, DataConfig()).samples).unreadable
    assert "train.csv, a.jpg: the run 60 9 leaves" in reasons["train_images/a.jpg"]


def test_severstal_s_faults_are_named(steel: Path) -> None:
    write_steel(steel, "zz.jpg,1,1 1")
    with pytest.raises(DataError, match=r"names files that do not exist: zz\.jpg"):
        open_dataset(steel, DataConfig())
    write_steel(steel, "a.jpg,one,1 1")
    with pytest.raises(DataError, match=r'train\.csv, line 2: the class must be a number, got "one"'):
        open_dataset(steel, DataConfig())
    (steel / "train.csv").write_text("ImageId,ClassId,Pixels\na.jpg,1,1 1\n")
    with pytest.raises(
        DataError, match=r'no column "EncodedPixels".*did you mean "EncodedPixels" by "Pixels"'
    ):
        open_dataset(steel, DataConfig())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("good.png", "bad.png", "ünter/also good.png"):
        save(tmp_path / name)
    save(tmp_path / "bad_mask.png", 255)
    save(tmp_path / "empty_mask.png", 0)
    return tmp_path


def write(folder: Path, *lines: str, name: str = "parts.csv") -> Path:
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder / name


def test_a_table_with_all_columns(folder: Path) -> None:
    table = write(
        folder,
        "\ufeffimage,mask,label,split,group,remark",
        "bad.png,bad_mask.png,1,train,A,x",
        '"good.png",,good,Validation,A,"with, comma"',
        "ünter/also good.png,empty_mask.png,,test,,",
    )
    bad, good, also = open_dataset(table, DataConfig()).samples
    assert (bad.name, bad.label, bad.mask, bad.part, bad.group) == (
        "bad.png",
        True,
        folder / "bad_mask.png",
        "train",
        "A",
    )
    assert (good.label, good.mask, good.part) == (False, None, "val")
    assert (also.name, also.label, also.group) == ("ünter/also good.png", False, "ünter/also good.png")


def test_a_table_as_json_lines(folder: Path) -> None:
    rows = [
        {"image": "bad.png", "label": True, "mask": None},
        {"image": str(folder / "good.png"), "label": 0, "extra": [1]},
    ]
    table = write(folder, *(json.dumps(row) for row in rows), "", name="parts.jsonl")
    bad, good = open_dataset(table, DataConfig()).samples
    assert bad.weak
    assert (good.name, good.label) == ("good.png", False)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,label", "a.png,1"], 'no column "image".*it has file, label'),
        (["imag,label", "a.png,1"], 'did you mean "image" by "imag"'),
        (
            ["image,lable", "a.png,1"],
            'no column "label" .or a column "mask"..*did you mean "label" by "lable"',
        ),
        (
            ["image,label", "gone.png,1"],
            r"names files that do not exist: .*gone\.png; .* \(the first: .*line 2\)",
        ),
        (["image,mask", "bad.png,gone.png"], r"names files that do not exist: .*gone\.png"),
        (["image,label", "bad.png,maybe"], 'line 2: label must be 0 .good. or 1 .defect., got "maybe"'),
        (
            ["image,label,split", "bad.png,1,dev"],
            'line 2: split must be train, val, test or empty, got "dev"',
        ),
        (["image,label", "bad.png,"], "neither label nor mask"),
        (["image,label", ",1"], '"image" is empty'),
        (["image,label", "bad.png,1,2"], "line 2 has more values than the header"),
        (["image,label", "bad.png,1", "./bad.png,0"], r"lists the image bad\.png twice"),
        (["image,label"], "has no rows"),
        ([""], "has no rows"),
        (["image,label", "bad.png,1"], "holds 1 images, all with a defect"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, lines: list[str], words: str) -> None:
    with pytest.raises(DataError, match=rf"parts\.csv.*{words}"):
        open_dataset(write(folder, *lines), DataConfig())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"image": ', "line 1 is no valid JSON"),
        ("[1]", "line 1 is no JSON object"),
        ('{"image": ["a"]}', '"image" must be a string'),
    ],
)
def test_wrong_json_lines_are_refused(folder: Path, line: str, words: str) -> None:
    with pytest.raises(DataError, match=rf"parts\.jsonl.*{words}"):
        open_dataset(write(folder, line, name="parts.jsonl"), DataConfig())


def test_a_table_that_is_no_utf8_is_refused(folder: Path) -> None:
    (folder / "parts.csv").write_bytes("image,label\nprüf.png,1".encode("latin-1"))
    with pytest.raises(DataError, match="no UTF-8 text"):
        open_dataset(folder / "parts.csv", DataConfig())
