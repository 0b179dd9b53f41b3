"""KolektorSDD, KolektorSDD2 and DAGM 2007 in the layout that they were published in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.errors import ImageError


def save(path: Path, *marked: int) -> None:
    """Write an 8 x 8 image, or a mask with the given value in one corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8), 0 if marked else 99, np.uint8)
    pixels[0, : len(marked)] = marked
    Image.fromarray(pixels).save(path)


@pytest.fixture
def kolektor(tmp_path: Path) -> Path:
    for item, part, value in (("kos01", 0, 0), ("kos01", 1, 1), ("kos20", 4, 2), ("kos21", 7, 1)):
        save(tmp_path / item / f"Part{part}.jpg")
        save(tmp_path / item / f"Part{part}_label.bmp", value)
    return tmp_path


def test_kolektor_label_by_mask_and_group_by_item(kolektor: Path) -> None:
    dataset = open_dataset(kolektor, DataConfig())
    assert [(sample.name, sample.label, sample.group) for sample in dataset] == [
        ("kos01/Part0.jpg", False, "kos01"),
        ("kos01/Part1.jpg", True, "kos01"),
        ("kos20/Part4.jpg", True, "kos20"),
    ]


def test_kolektor_names_what_it_leaves_out(kolektor: Path) -> None:
    (kolektor / "kos01" / "Part0_label.bmp").unlink()
    save(kolektor / "kos02" / "Part0.jpg")
    save(kolektor / "kos02" / "Part0_label.bmp", 0)
    excluded = open_dataset(kolektor, DataConfig()).excluded
    assert list(excluded) == ["kos01/Part0.jpg", "kos21/Part7.jpg"]
    assert "there is no Part0_label.bmp" in excluded["kos01/Part0.jpg"]
    assert "authors" in excluded["kos21/Part7.jpg"]


def test_an_unusable_mask_is_left_out_or_fatal_when_strict(kolektor: Path) -> None:
    Image.new("L", (9, 8)).save(kolektor / "kos20" / "Part4_label.bmp")
    assert "8 x 9 pixels" in open_dataset(kolektor, DataConfig()).excluded["kos20/Part4.jpg"]
    with pytest.raises(ImageError, match="8 x 9 pixels"):
        open_dataset(kolektor, DataConfig(strict=True))


def test_kolektor2_part_by_folder(tmp_path: Path) -> None:
    for part, number, value in (("train", 10000, 0), ("train", 10001, 255), ("test", 20000, 255)):
        save(tmp_path / part / f"{number}.png")
        save(tmp_path / part / f"{number}_GT.png", value)
    save(tmp_path / "test" / "20001.png")
    dataset = open_dataset(tmp_path, DataConfig())
    assert [(sample.name, sample.label, sample.part) for sample in dataset] == [
        ("test/20000.png", True, "test"),
        ("train/10000.png", False, "train"),
        ("train/10001.png", True, "train"),
    ]
    assert list(dataset.excluded) == ["test/20001.png"]


@pytest.mark.parametrize("ending", [".PNG", ".png"])
def test_dagm_defects_have_a_label_file(tmp_path: Path, ending: str) -> None:
    for folder in ("Train", "Test"):
        for number in (1, 2, 3):
            save(tmp_path / folder / f"{number:04}{ending}")
        save(tmp_path / folder / "Label" / f"0002_label{ending}", 255)
    save(tmp_path / "Test" / "Label" / f"0003_label{ending}", 0)  # in some copies only
    dataset = open_dataset(tmp_path, DataConfig())
    assert dataset.layout == "dagm"
    assert [sample.name for sample in dataset if sample.label] == [
        f"Test/0002{ending}",
        f"Train/0002{ending}",
    ]
    assert [sample.part for sample in dataset] == ["test"] * 3 + ["train"] * 3
    assert all((sample.mask is not None) == sample.label for sample in dataset)


def test_dagm_classes_side_by_side(tmp_path: Path) -> None:
    for kind in ("Class1", "Class10"):
        save(tmp_path / kind / "Train" / "0001.PNG")
        save(tmp_path / kind / "Train" / "0002.PNG")
        save(tmp_path / kind / "Train" / "Label" / "0001_label.PNG", 255)
    names = [sample.name for sample in open_dataset(tmp_path, DataConfig())]
    assert names == [
        "Class1/Train/0001.PNG",
        "Class1/Train/0002.PNG",
        "Class10/Train/0001.PNG",
        "Class10/Train/0002.PNG",
    ]
    assert len(open_dataset(tmp_path / "Class10", DataConfig())) == 2
