"""Writing other layouts: what is kept, what is said to be lost, and nothing half-written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from segdec.cli import app
from segdec.config import DataConfig
from segdec.data import check_files, open_dataset
from segdec.data.convert import _counts, convert
from segdec.errors import PARTIAL, ConfigError, DataError, OutputError
from segdec.imaging import read_marks, read_mask
from segdec.types import Dataset, Shapes

SIZE = (12, 16)


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, SIZE, np.uint8)).save(path)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Label Studio's export with every kind of label, one image each."""
    size = {"original_height": 12, "original_width": 16}
    polygon = {"points": [[25, 25], [75, 25], [75, 75]], "polygonlabels": ["dent"]}
    unknown = {"x": 0, "y": 0, "width": 25, "height": 25, "rectanglelabels": ["unknown"]}
    dot = {"x": 50, "y": 50, "width": 10, "keypointlabels": ["scratch"]}
    fine = {"x": 10, "y": 80, "width": 10, "keypointlabels": ["good"]}
    results = [[polygon, unknown], [dot, fine], [{"choices": ["crack"]}], [], [unknown, {"choices": ["ok"]}]]
    tasks = []
    for number, values in enumerate(results):
        save(tmp_path / "in" / "data" / f"{number}.png", number)
        done = {"result": [{"id": str(place), "value": value, **size} for place, value in enumerate(values)]}
        tasks.append({"id": number, "data": {"image": f"data/{number}.png"}, "annotations": [done]})
    save(tmp_path / "in" / "data" / "later.png", 9)
    (tmp_path / "in" / "export.json").write_text(json.dumps(tasks))
    return tmp_path / "in" / "export.json"


def read(path: Path) -> Dataset:
    return open_dataset(path, DataConfig())


def plain(mask: object) -> object:
    """Return shapes without where they stood."""
    assert isinstance(mask, Shapes | None)
    return mask and [(item.form, item.meaning, item.type) for item in mask.items]


def test_coco_keeps_every_kind_of_label(mixed: Path, tmp_path: Path) -> None:
    done = convert(mixed, tmp_path / "out", "coco")
    before, after = read(mixed), read(tmp_path / "out")
    assert (done.defective, done.good, done.unlabelled, done.lost) == (3, 2, 1, ())
    assert [path.name for path in after.unlabelled] == ["later.png"]
    for old, new in zip(before, after, strict=True):
        assert (old.label, old.types, old.weak) == (new.label, new.types, new.weak)
        assert plain(old.mask) == plain(new.mask)
        assert Path(new.name).name == Path(old.name).name
    assert read(tmp_path / "out" / "annotations.json").samples == after.samples


def test_pycocotools_reads_what_is_written(mixed: Path, tmp_path: Path, capsys: object) -> None:
    convert(mixed, tmp_path / "out", "coco")
    theirs = COCO(tmp_path / "out" / "annotations.json")
    samples = {sample.name: sample for sample in read(tmp_path / "out")}
    for annotation in theirs.loadAnns(theirs.getAnnIds()):
        name = theirs.loadImgs(annotation["image_id"])[0]["file_name"]
        sample = samples[name]
        assert isinstance(sample.mask, Shapes)
        if isinstance(annotation["segmentation"], dict):
            runs = annotation["segmentation"]["counts"]
            assert sum(runs) == SIZE[0] * SIZE[1]
            assert sum(runs[1::2]) == annotation["area"]
    assert {each["name"] for each in theirs.loadCats(theirs.getCatIds())} == {
        "dent", "good", "scratch", "unknown",
    }  # fmt: skip


def test_folders_keep_labels_and_pixels(mixed: Path, tmp_path: Path) -> None:
    done = convert(mixed, tmp_path / "out", "folder")
    assert done.lost == ("types of defects", "which defects are scribbles")
    before, after = read(mixed), read(tmp_path / "out")
    assert [path.name for path in after.unlabelled] == ["later.png"]
    by_name = {Path(sample.name).name: sample for sample in after}
    for old in before:
        new = by_name[Path(old.name).name]
        assert (old.label, old.weak) == (new.label, new.weak)
        if old.mask is None:
            assert new.mask is None
        else:
            assert new.mask is not None
            ours, theirs = read_marks(old.mask, SIZE), read_marks(new.mask, SIZE)
            assert ((ours == 0) == (theirs == 0)).all()
            assert (read_mask(old.mask, SIZE) == read_mask(new.mask, SIZE)).all()
    assert check_files(after.samples).unreadable == {}


def test_what_the_border_cuts_off_is_read_back(mixed: Path, tmp_path: Path) -> None:
    content = json.loads(mixed.read_text())
    value = {"x": 0, "y": 50, "radiusX": 25, "radiusY": 25, "ellipselabels": ["dent"]}
    content[0]["annotations"][0]["result"][0]["value"] = value
    mixed.write_text(json.dumps(content))
    convert(mixed, tmp_path / "out", "coco")
    old, new = read(mixed).samples[0].mask, read(tmp_path / "out").samples[0].mask
    assert old is not None
    assert new is not None
    assert (read_marks(old, SIZE) == read_marks(new, SIZE)).all()


def test_names_do_not_clash(tmp_path: Path) -> None:
    for seed, name in enumerate(
        ("good/1.png", "defect/1.png", "defect/x/1.png", "defect/A.png", "good/a.bmp")
    ):
        save(tmp_path / "in" / name, seed)
    save(tmp_path / "in" / "defect" / "b_label.png", 8)
    for to in ("folder", "coco"):
        convert(tmp_path / "in", tmp_path / to, to)
        after = read(tmp_path / to)
        assert sorted(sample.image.read_bytes() for sample in after) == sorted(
            sample.image.read_bytes() for sample in read(tmp_path / "in")
        )
    assert sorted(path.name for path in (tmp_path / "folder" / "defect").glob("*.png")) == [
        "1.png", "A.png", "b-label.png",
    ]  # fmt: skip
    convert(tmp_path / "folder", tmp_path / "again", "folder")
    assert [s.name for s in read(tmp_path / "again")] == [s.name for s in read(tmp_path / "folder")]


def test_groups_and_parts(tmp_path: Path) -> None:
    rows = ["image,label,split,group"]
    for number in range(4):
        save(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{number % 2},{'test' if number > 1 else 'train'},part {number // 2}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert convert(tmp_path / "t.csv", tmp_path / "c", "coco").lost == ()
    after = read(tmp_path / "c")
    assert [(s.part, s.group) for s in after] == [(s.part, s.group) for s in read(tmp_path / "t.csv")]
    assert convert(tmp_path / "t.csv", tmp_path / "f", "folder").lost == ("groups",)
    assert (tmp_path / "f" / "test" / "defect" / "3.png").is_file()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_counts(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = _counts(mask)
    values = np.repeat(np.arange(len(counts)) % 2, counts)
    assert (mask == values.reshape(width, height).T).all()


def test_what_cannot_be_written(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='--to is folder or coco, got "yolo"'):
        convert(mixed, tmp_path / "out", "yolo")
    with pytest.raises(OutputError, match="it exists already"):
        convert(mixed, mixed.parent, "coco")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        convert(mixed, mixed / "out", "coco")
    (tmp_path / "out").mkdir()
    convert(mixed, tmp_path / "out", "coco")  # an empty folder is as good as none


def test_nothing_is_half_written(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []

    def copy(source: Path, target: Path) -> None:
        copied.append(target)
        if len(copied) == 3:
            raise OSError(28, "No space left on device")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(shutil, "copyfile", copy)
    for to in ("folder", "coco"):
        copied.clear()
        with pytest.raises(OutputError, match="no space left on the disk"):
            convert(mixed, tmp_path / "out", to)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_command(mixed: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["convert", str(mixed), str(tmp_path / "out"), "--to", "folder"])
    assert run.exit_code == 0
    assert "3 defective, 2 good and 1 unlabelled images, read as label-studio." in run.stdout
    assert "Not kept: types of defects, which defects are scribbles; --to coco keeps them." in run.stdout


def test_an_unreadable_image_is_left_out_and_told(mixed: Path, tmp_path: Path) -> None:
    (mixed.parent / "data" / "3.png").write_bytes(b"no image")
    run = CliRunner().invoke(app, ["convert", str(mixed), str(tmp_path / "out"), "--to", "coco"])
    assert run.exit_code == PARTIAL
    assert "1 files could not be used and were left out:" in run.stdout
    assert len(read(tmp_path / "out")) == 4
    with pytest.raises(DataError, match=r"3\.png"):
        convert(mixed, tmp_path / "strict", "coco", strict=True)
    assert not (tmp_path / "strict").exists()
