"""The made-up data set has DAGM's layout, is the same for a seed, and is not solved by mean brightness."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.data.synthetic import DEFECTS, TEXTURES, add_defect, make_surface, write_dagm_like
from segdec.errors import ConfigError, OutputError


def read(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_layout_is_the_published_one(tmp_path):
    write_dagm_like(tmp_path / "Class1", 0, (64, 96), train=(3, 2), test=(2, 1))

    found = files(tmp_path / "Class1")
    images = sorted(name for name in found if name.endswith(".PNG") and "Label" not in name)
    assert images == [f"Test/{k:04d}.PNG" for k in (1, 2, 3)] + [f"Train/{k:04d}.PNG" for k in range(4, 9)]
    masks = sorted(name for name in found if name.endswith("_label.PNG"))
    assert [name.split("/")[0] for name in masks] == ["Test", "Train", "Train"]
    assert len(found) == len(images) + len(masks) + 2  # and one Labels.txt each
    for name in images + masks:
        image = read(tmp_path / "Class1" / name)
        assert image.shape == (64, 96)
        assert image.dtype == np.uint8
    for name in masks:
        assert set(np.unique(read(tmp_path / "Class1" / name))) == {0, 255}


def test_table_names_every_image_and_mask(tmp_path):
    write_dagm_like(tmp_path / "Class1", 1, (64, 64), train=(3, 2), test=(0, 0))

    labels = tmp_path / "Class1" / "Train" / "Label"
    lines = (labels / "Labels.txt").read_bytes().decode("ascii").split("\r\n")
    assert lines[0] == "1"
    assert lines[-1] == ""
    rows = [line.split("\t") for line in lines[1:-1]]
    assert [row[2] for row in rows] == [f"{k:04d}.PNG" for k in range(1, 6)]
    for number, label, name, zero, mask, end in rows:
        assert name == f"{number}.PNG"
        assert (zero, end) == ("0", "")
        assert mask == (f"{number}_label.PNG" if label == "1" else "0")
        assert (labels / f"{number}_label.PNG").exists() == (label == "1")
    assert sum(row[1] == "1" for row in rows) == 2


def test_same_seed_same_bytes_other_seed_others(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_dagm_like(tmp_path / name, seed, (64, 64), train=(2, 2), test=(1, 1))

    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values()) - {b""}


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path):
    write_dagm_like(tmp_path / "few", 3, (64, 64), train=(2, 1), test=(0, 0))
    write_dagm_like(tmp_path / "many", 3, (64, 64), train=(5, 4), test=(0, 0))

    few = {data for name, data in files(tmp_path / "few").items() if name.endswith(".PNG")}
    many = {data for name, data in files(tmp_path / "many").items() if name.endswith(".PNG")}
    assert few < many


def test_one_texture_can_be_asked_for(tmp_path):
    write_dagm_like(tmp_path / "woven", 0, (64, 64), train=(1, 0), test=(0, 0), texture="woven")

    # the first draw of an image that mixes is the texture; here the surface comes first
    rng = np.random.default_rng((0, 1, 0, 0))
    assert (read(tmp_path / "woven" / "Train" / "0001.PNG") == make_surface("woven", (64, 64), rng)).all()


@pytest.mark.parametrize("defect", DEFECTS)
@given(texture=st.sampled_from(sorted(TEXTURES)), seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_defect_is_visible_and_lies_inside_its_mask(defect, texture, seed):
    rng = np.random.default_rng(seed)
    surface = make_surface(texture, (128, 160), rng)
    image, mask = add_defect(surface, defect, rng)

    changed = image != surface
    assert not changed[mask == 0].any()
    assert np.abs(image.astype(int) - surface)[changed].max() >= 15
    assert 0 < (mask > 0).mean() < 0.35
    # generous, as a hurried person draws it: more mask than defect
    assert (mask > 0).sum() > changed.sum()


@pytest.mark.parametrize("texture", TEXTURES)
def test_surfaces_have_contrast_and_do_not_saturate(texture):
    surface = make_surface(texture, (128, 128), np.random.default_rng(0))

    assert 12 < surface.std() < 35
    assert np.isin(surface, (0, 255)).mean() < 0.01


def test_mean_brightness_and_contrast_do_not_tell_defects():
    def statistics(defective: bool) -> np.ndarray:
        rows = []
        for k in range(60):
            rng = np.random.default_rng((0, k))  # the same surfaces for both
            image = make_surface(list(TEXTURES)[k % 5], (128, 128), rng)
            if defective:
                image, _ = add_defect(image, list(DEFECTS)[k // 5 % 5], rng)
            rows.append((image.mean(), image.std()))
        return np.array(rows)

    good, bad = statistics(False), statistics(True)
    for column in range(2):
        auroc = (bad[:, None, column] > good[None, :, column]).mean()
        assert 0.4 < auroc < 0.6


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(OutputError, match="is not empty"):
        write_dagm_like(tmp_path, 0, (64, 64), (1, 0), (0, 0))
    assert files(tmp_path) == {"mine.txt": b"mine"}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="cannot write"):
        write_dagm_like(tmp_path / "file" / "Class1", 0, (64, 64), (1, 0), (0, 0))


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    written = []

    def write_bytes(path, data):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OutputError, match="No space left"):
        write_dagm_like(tmp_path / "Class1", 0, (64, 64), (4, 0), (0, 0))
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (32, 64)}, r"at least 64 each, got \(32, 64\)"),
        ({"train": (-1, 0)}, "0 or more"),
        ({"seed": -1}, "seed -1"),
        ({"texture": "wood"}, 'no texture "wood"; there are cast'),
    ],
)
def test_bad_arguments_name_what_is_allowed(tmp_path, changes, message):
    arguments = {"seed": 0, "image_size": (64, 64), "train": (1, 0), "test": (0, 0)} | changes

    with pytest.raises(ConfigError, match=message):
        write_dagm_like(tmp_path / "Class1", **arguments)
    assert not (tmp_path / "Class1").exists()


def test_an_unknown_defect_names_the_known_ones():
    with pytest.raises(ConfigError, match='no defect "hole"; there are scratch'):
        add_defect(np.zeros((64, 64), np.uint8), "hole", np.random.default_rng(0))
