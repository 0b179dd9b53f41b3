"""What every reader promises: valid samples, whatever the layout; built as tiny files in each layout."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdec.config import DataConfig
from segdec.data import check_files, describe, load_split, make_split, open_dataset, save_split
from segdec.data.convert import convert
from segdec.errors import SegdecError
from segdec.imaging import encode_run_lengths, read_mask
from segdec.types import PARTS, Sample

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


CORNERS = [(3, 2), (9, 2), (9, 5), (3, 5)]
"""Of the defect that `save` draws, as (x, y)."""


def coco(root: Path) -> Path:
    images, annotations = [], []
    for number in range(12):
        save(root / "images" / f"{number}.png", seed=number)
        images.append({"id": number, "file_name": f"{number}.png", "height": 16, "width": 24})
        corners = [value for point in CORNERS for value in point]
        if number % 2:
            about = {"id": number, "image_id": number, "category_id": 7, "segmentation": [corners]}
            annotations.append(about)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "dent"}]}
    (root / "parts.json").write_text(json.dumps(content))
    return root / "parts.json"


def labelme(root: Path) -> Path:
    for number in range(12):
        save(root / f"{number}.png", seed=number)
        shapes = [{"label": "dent", "points": CORNERS, "shape_type": "polygon"}] if number % 2 else []
        content = {"imagePath": f"{number}.png", "imageHeight": 16, "imageWidth": 24, "shapes": shapes}
        (root / f"{number}.json").write_text(json.dumps(content))
    return root


def cvat(root: Path) -> Path:
    images = []
    for number in range(12):
        save(root / "images" / f"{number}.png", seed=number)
        box = '<box label="dent" xtl="3" ytl="2" xbr="9" ybr="5"/>' if number % 2 else ""
        images.append(f'<image id="{number}" name="{number}.png" width="24" height="16">{box}</image>')
    (root / "annotations.xml").write_text(
        f"<annotations><version>1.1</version>{''.join(images)}</annotations>"
    )
    return root


def label_studio(root: Path) -> Path:
    tasks = []
    for number in range(12):
        save(root / f"{number}.png", seed=number)
        value = {"points": [(100 * x / 24, 100 * y / 16) for x, y in CORNERS], "polygonlabels": ["dent"]}
        region = {"id": "r", "value": value, "original_width": 24, "original_height": 16}
        done = {"result": [region] if number % 2 else []}
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/{number}.png"}, "annotations": [done]})
    (root / "export.json").write_text(json.dumps(tasks))
    return root / "export.json"


def yolo(root: Path) -> Path:
    (root / "labels").mkdir(parents=True)
    for number in range(12):
        save(root / "images" / f"{number}.png", seed=number)
        corners = " ".join(f"{x / 24:.6f} {y / 16:.6f}" for x, y in CORNERS)
        (root / "labels" / f"{number}.txt").write_text(f"0 {corners}\n" if number % 2 else "")
    (root / "data.yaml").write_text("names:\n  0: dent\n")
    return root


def voc(root: Path) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for number in range(12):
        save(root / "JPEGImages" / f"{number}.png", seed=number)
        edges = "<xmin>4</xmin><ymin>3</ymin><xmax>9</xmax><ymax>5</ymax>"
        item = f"<object><name>dent</name><bndbox>{edges}</bndbox></object>" if number % 2 else ""
        size = "<size><width>24</width><height>16</height></size>"
        (root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.png</filename>{size}{item}</annotation>"
        )
    return root


ANNOTATED: dict[str, Callable[[Path], Path]] = {
    "coco": coco,
    "labelme": labelme,
    "cvat": cvat,
    "label-studio": label_studio,
    "yolo": yolo,
    "voc": voc,
}

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "kolektor": kolektor,
    "kolektor2": kolektor2,
    "dagm": dagm,
    "severstal": severstal,
    "good-defect": good_defect,
    "images-masks": images_masks,
    "table": table,
    **ANNOTATED,
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


@pytest.mark.parametrize("layout", ANNOTATED)
def test_every_format_says_the_same(tmp_path: Path, layout: str) -> None:
    dataset = open_dataset(ANNOTATED[layout](tmp_path), DataConfig())
    expected = np.zeros(SIZE, bool)
    expected[2:5, 3:9] = True
    assert len(dataset) == 12
    for sample in dataset:
        assert sample.types == (("dent",) if sample.label else ())
        if sample.label:
            assert sample.mask is not None
            assert (read_mask(sample.mask, SIZE) == expected).all()


@pytest.mark.parametrize("to", ["folder", "coco"])
@pytest.mark.parametrize("layout", BUILDERS)
def test_converting_keeps_labels_masks_and_parts(tmp_path: Path, layout: str, to: str) -> None:
    before = open_dataset(BUILDERS[layout](tmp_path / "in"), DataConfig())
    convert(before.root, tmp_path / "out", to)
    after = open_dataset(tmp_path / "out", DataConfig())
    assert after.layout == ("good-defect" if to == "folder" else "coco")
    assert facts(before.samples, with_types=to == "coco") == facts(after.samples, with_types=to == "coco")
    assert len(after.unlabelled) == len(before.unlabelled)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def facts(samples: tuple[Sample, ...], with_types: bool) -> list[object]:
    """Return what must survive, in an order that does not depend on names."""
    found = []
    for sample in samples:
        mask = read_mask(sample.mask, SIZE) if sample.label and sample.mask is not None else np.zeros(SIZE)
        types = sample.types if with_types else ()
        found.append((sample.image.read_bytes(), sample.label, mask.tobytes(), sample.part or "", types))
    return sorted(found)


@pytest.mark.parametrize("layout", ANNOTATED)
def test_a_damaged_annotation_is_read_or_refused_in_one_line(tmp_path: Path, layout: str) -> None:
    path = ANNOTATED[layout](tmp_path)
    files = [each for each in tmp_path.rglob("*") if each.suffix in (".json", ".xml", ".txt", ".yaml")]
    target = max(files, key=lambda each: each.stat().st_size)
    text = target.read_text()
    tokens = re.findall(r'"[^"]*"|[\w.-]+|\s+|.', text)
    values = ["null", "-1", "1e999", '"x"', "[]", "{}", "", "0.5", "true", "99999999999"]
    messages = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        damaged = list(tokens)
        damaged[rng.integers(len(tokens))] = values[rng.integers(len(values))]
        target.write_text("".join(damaged))
        try:
            check = check_files(open_dataset(path, DataConfig(), one_class=True).samples)
            messages += check.unreadable.values()
        except SegdecError as error:
            messages.append(str(error))
    assert messages
    assert [message for message in messages if "\n" in message] == []
