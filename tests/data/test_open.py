"""Recognising a layout, and what is said of what is none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import describe, open_dataset
from segdec.errors import ConfigError, DataError


def save(path: Path, value: int = 99) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("files", "opened", "words"),
    [
        ([], "", "is empty; a data set is one of: "),
        ([], "gone", "gone does not exist; "),
        ([], "gone.csv", r"gone\.csv does not exist; "),
        (["a.png", "b/c.png"], "", r"it holds a\.png, b/; .*good/ and defect/ folders"),
        (["a.png"], "a.png", r"is a file, but no \.csv, \.jsonl, \.json or \.xml"),
        (["in/good/a.png", "in/defect/a.png"], "", "but in inside it is: open that"),
        (["good/a.png", "good/b.png"], "", "holds 2 images, all without a defect"),
        (["good/a.png", "defect/notes/x.gif"], "", "holds 1 images, all without a defect"),
        (["images/a.png", "masks/b.png"], "", r"holds no images, and 2 left out \(images/a\.png: "),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, files: list[str], opened: str, words: str) -> None:
    for name in files:
        save(tmp_path / name)
    with pytest.raises(DataError, match=words):
        open_dataset(tmp_path / opened, DataConfig())


def test_a_class_is_for_severstal_only(tmp_path: Path) -> None:
    save(tmp_path / "good" / "a.png")
    save(tmp_path / "defect" / "a.png")
    with pytest.raises(ConfigError, match="good/ and defect/ folders, which has no defect classes"):
        open_dataset(tmp_path, DataConfig(defect_class=1))


def test_describe_counts(tmp_path: Path) -> None:
    for name in ("train/good/a.png", "train/good/b.png", "train/defect/a.png", "test/defect/c.png"):
        save(tmp_path / name)
    save(tmp_path / "test" / "masks" / "c.png", 255)
    for number in range(6):
        save(tmp_path / "test" / "masks" / f"lost{number}.png")
    assert describe(open_dataset(tmp_path, DataConfig())) == [
        f"{tmp_path} was taken for good/ and defect/ folders",
        "4 images: 2 with a defect (1 of them with a mask), 2 good",
        "published parts: train 3 (1 with a defect), test 1 (1 with a defect)",
        "left out: 6",
        *(
            f"  test/masks/lost{number}.png: it is a mask, but there is no image of its name"
            for number in range(5)
        ),
        "  and 1 more",
    ]


def test_describe_counts_groups(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png")
    rows = ["image,label,group", *(f"{number}.png,{number % 2},{number // 2}" for number in range(4))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert describe(open_dataset(tmp_path / "t.csv", DataConfig()))[1:] == [
        "4 images: 2 with a defect (0 of them with a mask), 2 good; 2 groups"
    ]
