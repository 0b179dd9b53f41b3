"""good/ and defect/ folders, images/ and masks/ folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.errors import DataError
from segdec.imaging import DEFECT, read_marks
from segdec.types import Sample, Shapes


def save(path: Path, value: int = 99) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def read(root: Path) -> dict[str, Sample]:
    return {sample.name: sample for sample in open_dataset(root, DataConfig())}


@pytest.mark.parametrize(
    "mask",
    [
        "defect/1_mask.png",
        "defect/1_label.bmp",
        "defect/1_GT.png",
        "defect/masks/1.png",
        "masks/1.png",
        "masks/1_mask.png",
        "masks/defect/1.png",
        "ground_truth/1.PNG",
        "Masks/defect/1_mask.tif",
    ],
)
def test_a_mask_is_found_beside_or_in_a_folder(tmp_path: Path, mask: str) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "defect" / "1.png")
    save(tmp_path / "defect" / "2.png")
    save(tmp_path / mask, 255)
    samples = read(tmp_path)
    assert list(samples) == ["defect/1.png", "defect/2.png", "good/1.png"]
    assert samples["defect/1.png"].mask == tmp_path / mask
    assert samples["defect/2.png"].weak
    assert samples["good/1.png"].mask is None


def test_common_words_sub_folders_and_parts(tmp_path: Path) -> None:
    save(tmp_path / "train" / "OK" / "a.JPG")
    save(tmp_path / "train" / "NOK" / "line 1" / "a.jpeg")
    save(tmp_path / "train" / "masks" / "line 1" / "a.png", 255)
    save(tmp_path / "valid" / "ok" / "b.bmp")
    save(tmp_path / "test" / "nok" / "c.tiff")
    samples = read(tmp_path)
    assert {name: (sample.label, sample.part) for name, sample in samples.items()} == {
        "train/OK/a.JPG": (False, "train"),
        "train/NOK/line 1/a.jpeg": (True, "train"),
        "valid/ok/b.bmp": (False, "val"),
        "test/nok/c.tiff": (True, "test"),
    }
    assert not samples["train/NOK/line 1/a.jpeg"].weak


def test_an_image_may_end_like_a_mask(tmp_path: Path) -> None:
    save(tmp_path / "good" / "shipping_label.png")
    save(tmp_path / "defect" / "a.png")
    assert list(read(tmp_path)) == ["defect/a.png", "good/shipping_label.png"]


def test_a_mask_without_an_image_is_named(tmp_path: Path) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "defect" / "1.png")
    save(tmp_path / "masks" / "l.png", 255)
    excluded = open_dataset(tmp_path, DataConfig()).excluded
    assert excluded == {"masks/l.png": "it is a mask, but there is no image of its name"}


def test_two_masks_of_one_image_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "defect" / "1.png")
    save(tmp_path / "masks" / "1.png", 255)
    save(tmp_path / "masks" / "1.bmp", 255)
    with pytest.raises(DataError, match=r"1\.bmp and .*1\.png are masks of the same image"):
        open_dataset(tmp_path, DataConfig())


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "defect" / "1.png")
    (tmp_path / "good" / "._1.png").write_bytes(b"resource fork")
    (tmp_path / "good" / "Thumbs.db").write_bytes(b"x")
    assert len(read(tmp_path)) == 2


def test_images_and_masks_by_stem(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", "day 2/a.jpg"):
        save(tmp_path / "images" / name)
    save(tmp_path / "masks" / "a.png", 0)
    save(tmp_path / "masks" / "b_mask.png", 255)
    save(tmp_path / "masks" / "day 2" / "a.png", 1)
    dataset = open_dataset(tmp_path, DataConfig())
    assert {sample.name: sample.label for sample in dataset} == {
        "images/a.jpg": False,
        "images/b.jpg": True,
        "images/day 2/a.jpg": True,
    }
    assert "no mask of the same name" in dataset.excluded["images/c.jpg"]


def test_images_and_masks_below_parts(tmp_path: Path) -> None:
    for part, value in (("train", 0), ("test", 255)):
        save(tmp_path / part / "images" / "a.png")
        save(tmp_path / part / "masks" / "a.png", value)
    samples = read(tmp_path)
    assert {name: (sample.part, sample.label) for name, sample in samples.items()} == {
        "train/images/a.png": ("train", False),
        "test/images/a.png": ("test", True),
    }


def test_unknown_pixels_and_unlabelled_images(tmp_path: Path) -> None:
    for name in ("good/a.png", "good/b.png", "defect/c.png", "defect/d.png", "unlabelled/x/e.png"):
        save(tmp_path / name)
    for name in ("masks/c.png", "unknown/a.png", "unknown/lost.png"):
        save(tmp_path / name, 1)
    dataset = open_dataset(tmp_path, DataConfig())
    masks = {sample.name: sample.mask for sample in dataset}
    assert isinstance(masks["good/a.png"], Shapes)
    assert [item.meaning for item in masks["good/a.png"].items] == ["unknown"]
    assert masks["good/b.png"] is None
    assert masks["defect/c.png"] == tmp_path / "masks" / "c.png"
    assert dataset.unlabelled == (tmp_path / "unlabelled" / "x" / "e.png",)
    assert list(dataset.excluded) == ["unknown/lost.png"]


def draw(path: Path, *labels: str, **more: Any) -> None:
    """Write what LabelMe does: the same box for each label."""
    shapes = [{"label": label, "shape_type": "rectangle", "points": [[1, 2], [4, 6]]} for label in labels]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imagePath": "old name.png", "shapes": shapes, **more}))


@pytest.mark.parametrize("place", ["defect/1.json", "masks/1.json", "defect/masks/1.json"])
def test_a_labelme_file_is_a_mask(tmp_path: Path, place: str) -> None:
    for name in ("good/1", "defect/1", "defect/2"):
        save(tmp_path / f"{name}.png")
    draw(tmp_path / place, "scratch")
    (tmp_path / "defect" / "2.json").write_text('{"camera": 3}')  # none of LabelMe's
    samples = read(tmp_path)
    marked = samples["defect/1.png"]
    assert (marked.label, marked.types, samples["defect/2.png"].weak) == (True, ("scratch",), True)
    assert isinstance(marked.mask, Shapes)
    assert np.argwhere(read_marks(marked.mask, (8, 8)) == DEFECT).tolist() == [
        [row, column] for row in range(2, 6) for column in range(1, 4)
    ]


def test_the_folder_says_what_a_labelme_file_leaves_open(tmp_path: Path) -> None:
    for name in ("good/1", "good/2", "defect/1", "defect/2"):
        save(tmp_path / f"{name}.png")
    draw(tmp_path / "good" / "1.json")
    draw(tmp_path / "good" / "2.json", "unknown")
    draw(tmp_path / "defect" / "1.json")
    draw(tmp_path / "defect" / "2.json", "dent", flags={"unknown": True})
    dataset = open_dataset(tmp_path, DataConfig())
    assert {sample.name: sample.label for sample in dataset} == {
        "defect/1.png": True,
        "good/1.png": False,
        "good/2.png": False,
    }
    assert dataset.samples[0].weak
    assert dataset.samples[2].mask is not None
    assert dataset.unlabelled == (tmp_path / "defect" / "2.png",)


def test_labelme_files_that_cannot_be_right(tmp_path: Path) -> None:
    save(tmp_path / "good" / "1.png")
    save(tmp_path / "defect" / "1.png")
    draw(tmp_path / "good" / "1.json", "dent")
    with pytest.raises(DataError, match=r"good/1\.png is called good, but marked with a defect"):
        read(tmp_path)
    (tmp_path / "good" / "1.json").unlink()
    draw(tmp_path / "defect" / "1.json", "dent")
    save(tmp_path / "defect" / "1_mask.png", 255)
    with pytest.raises(DataError, match=r"1\.json and .*1_mask\.png are masks of the same image"):
        read(tmp_path)
    (tmp_path / "defect" / "1_mask.png").unlink()
    draw(tmp_path / "defect" / "3.json", "dent")
    assert list(open_dataset(tmp_path, DataConfig()).excluded) == ["defect/3.json"]
