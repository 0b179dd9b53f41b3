"""What every reader promises: valid samples, whatever the layout; built as tiny files in each layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import check_files, describe, load_split, make_split, open_dataset, save_split
from segdec.imaging import encode_run_lengths
from segdec.types import PARTS

SIZE = (16, 24)


def save(path: Path, label: bool | None = None, seed: int = 0) -> Path:
    """Write an image (label None) or a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, SIZE, np.uint8)
    if label is not None:
        pixels = np.zeros(SIZE, np.uint8)
        pixels[2:5, 3:9] = 255 * label
    Image.fromarray(pixels).save(path)
    return path


def kolektor(root: Path) -> Path:
    for item in range(12):
        for part in range(3):
            stem = root / f"kos{item + 1:02}" / f"Part{part}"
            save(stem.with_suffix(".jpg"))
            indices = np.zeros(SIZE, np.uint8)
            indices[4, 4:9] = part == 1 and item % 2 == 0
            mask = Image.fromarray(indices, mode="P")
            mask.putpalette([0, 0, 0, 255, 0, 0])
            mask.save(stem.with_name(f"Part{part}_label.bmp"))
    return root


def kolektor2(root: Path) -> Path:
    for part, first in (("train", 10000), ("test", 20000)):
        for number in range(first, first + 12):
            save(root / part / f"{number}.png", seed=number)
            save(root / part / f"{number}_GT.png", label=number % 2 == 0)
    return root


def dagm(root: Path) -> Path:
    for part in ("Train", "Test"):
        for number in range(1, 13):
            save(root / "Class1" / part / f"{number:04}.PNG", seed=number)
            if number % 2:
                save(root / "Class1" / part / "Label" / f"{number:04}_label.PNG", label=True)
        (root / "Class1" / part / "Label" / "Labels.txt").write_text("1\n")
    return root / "Class1"


def severstal(root: Path) -> Path:
    rows = ["ImageId,ClassId,EncodedPixels"]
    for number in range(12):
        save(root / "train_images" / f"{number:09x}.jpg")
        mask = np.zeros(SIZE, bool)
        mask[1:4, 2:6] = True
        rows += [f"{number:09x}.jpg,{number % 4 + 1},{encode_run_lengths(mask)}"] if number % 2 else []
    (root / "train.csv").write_text("\n".join(rows))
    return root


def good_defect(root: Path) -> Path:
    for number in range(6):
        save(root / "good" / f"{number}.png", seed=number)
        save(root / "defect" / f"fläche {number}.png", seed=number)
        save(root / "masks" / f"fläche {number}.png", label=True)
    return root


def images_masks(root: Path) -> Path:
    for number in range(12):
        save(root / "images" / f"{number}.jpg")
        save(root / "masks" / f"{number}.png", label=number % 2 == 0)
    return root


def table(root: Path) -> Path:
    rows = ["image;mask;label;group"]
    for number in range(12):
        save(root / "a" / f"{number}.png", seed=number)
        mask = save(root / "b" / f"{number}.png", label=True) if number % 2 else None
        rows.append(f"a/{number}.png;{f'b/{mask.name}' if mask else ''};{number % 2};part{number}")
    (root / "parts.csv").write_text("\n".join(rows))
    return root / "parts.csv"


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "kolektor": kolektor,
    "kolektor2": kolektor2,
    "dagm": dagm,
    "severstal": severstal,
    "good-defect": good_defect,
    "images-masks": images_masks,
    "table": table,
}


@pytest.mark.parametrize("layout", BUILDERS)
def test_a_reader_yields_valid_samples(tmp_path: Path, layout: str) -> None:
    dataset = open_dataset(BUILDERS[layout](tmp_path), DataConfig())
    assert dataset.layout == layout
    names = [sample.name for sample in dataset]
    assert names == sorted(set(names))
    assert {sample.label for sample in dataset} == {True, False}
    for sample in dataset:
        assert sample.image.is_file()
        assert sample.group
        assert "\\" not in sample.name
        assert not Path(sample.name).is_absolute()
        assert sample.part is None or sample.part in PARTS
        assert not sample.weak
    check = check_files(dataset.samples)
    assert check.samples == dataset.samples
    assert check.unreadable == {}
    assert set(check.sizes.values()) == {SIZE}
    assert check.grey
    assert str(len(dataset)) in describe(dataset)[1]


@pytest.mark.parametrize("layout", BUILDERS)
def test_the_hash_and_the_names_do_not_know_where_the_data_lies(tmp_path: Path, layout: str) -> None:
    one = open_dataset(BUILDERS[layout](tmp_path / "one"), DataConfig())
    two = open_dataset(BUILDERS[layout](tmp_path / "elsewhere" / "two"), DataConfig())
    assert [sample.name for sample in one] == [sample.name for sample in two]
    assert check_files(one.samples).data_hash == check_files(two.samples).data_hash


@pytest.mark.parametrize("layout", BUILDERS)
def test_a_reader_s_samples_can_be_divided(tmp_path: Path, layout: str) -> None:
    dataset = open_dataset(BUILDERS[layout](tmp_path), DataConfig())
    split = make_split(dataset, DataConfig(), seed=0)
    for part in PARTS:
        assert {sample.label for sample in split.part(part)} == {True, False}
    save_split(split, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", dataset) == split


@pytest.mark.parametrize("layout", BUILDERS)
def test_a_truncated_image_is_named_not_used(tmp_path: Path, layout: str) -> None:
    root = BUILDERS[layout](tmp_path)
    broken = open_dataset(root, DataConfig()).samples[0]
    broken.image.write_bytes(broken.image.read_bytes()[:-60])
    dataset = open_dataset(root, DataConfig())
    check = check_files(dataset.samples)
    reasons = dataset.excluded | check.unreadable
    assert list(reasons) == [broken.name]
    assert broken.image.name in reasons[broken.name]
    assert broken.name not in {sample.name for sample in check.samples}
