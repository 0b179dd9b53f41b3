"""A run folder: what is chosen from the data, what is stored, what opens again and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.config import load_config
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, DataError, ModelError, OutputError
from segdec.imaging import write_image
from segdec.new_run import fitting_size, start_run
from segdec.runs import check_unchanged, move_data, open_run, open_run_on, write_run

SETTINGS = ("data.val_fraction=0.3", "train.seed=4")
WEAK = ("loss.balance=decision", "train.gradient_adjustment=false")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Class1"
    write_dagm_like(folder, 0, (64, 96), train=(8, 6), test=(2, 1))
    return folder


@pytest.fixture
def run(data, tmp_path):
    started = start_run(data, load_config(None, SETTINGS), tmp_path / "run")
    write_run(started)
    return started


def test_what_was_open_is_chosen_from_the_images(run):
    assert run.config.data.image_size == (64, 96)
    assert run.config.data.channels == run.config.network.in_channels == 1
    assert run.config.train.seed == 4


def test_a_run_opens_as_it_was_started(run):
    opened = open_run(run.folder)
    assert opened.config == run.config
    assert opened.split == run.split
    assert opened.meta == json.loads(json.dumps(run.meta))
    check_unchanged(opened)
    assert opened.checkpoints.is_dir()
    assert opened.model == run.folder / "model"


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> Path:
    """Items of two images each: the first one of ten items is defective, half of these have a mask for it."""
    folder = tmp_path_factory.mktemp("items")
    rows = ["image,label,mask,group"]
    mask = np.zeros((64, 96), np.uint8)
    mask[20:40, 30:60] = 255
    write_image(folder / "mask.png", mask)
    for item in range(14):
        for number in range(2):
            write_image(folder / f"{item}-{number}.png", np.full((64, 96), 10 * item + number, np.uint8))
            defective = number == 0 and item < 10
            masked = "mask.png" if defective and item % 2 == 0 else ""
            rows.append(f"{item}-{number}.png,{int(defective)},{masked},item{item}")
    (folder / "data.csv").write_text("\n".join(rows))
    return folder / "data.csv"


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("data.masks=boxes",),
        ("data.positives=6",),
        ("data.positives=6", "data.masked_positives=2"),
        ("data.folds=3", "data.fold=1", "data.test_fraction=0"),
        ("data.test_images=[2, 2]", "data.test_fraction=0"),
        ('data.together=[["item1", "item2"], ["item5", "item7", "item8"]]',),
        ("data.tile=72", "network.context_kernel=3", "network.block_depths=[1, 1, 1]"),
        ("data.dilation=5", "data.channels=3", "data.image_size=[64, 64]"),
    ],
    ids=lambda settings: settings[0].partition("=")[0] if settings else "plain",
)
def test_a_run_opens_as_it_was_started_whatever_divides_its_data(items, tmp_path, settings):
    started = start_run(items, load_config(None, settings), tmp_path / "run")
    write_run(started)
    opened = open_run(tmp_path / "run")
    assert opened.split == started.split
    check_unchanged(opened)


def test_a_run_knows_its_data_wherever_they_lie(run, data, tmp_path):
    copied = Path(shutil.copytree(data, tmp_path / "copied"))
    again = open_run_on(run.folder, copied)
    assert [sample.name for sample in again.split.test] == [sample.name for sample in run.split.test]
    assert all(copied in sample.image.parents for sample in again.split.test)
    assert open_run_on(run.folder, data).split == run.split


def test_other_images_of_the_same_names_are_other_data(run, data, tmp_path):
    other = tmp_path / "other"
    write_dagm_like(other, 1, (64, 96), train=(8, 6), test=(2, 1))
    assert {path.name for path in (other / "Train").glob("*.PNG")} == {
        path.name for path in (data / "Train").glob("*.PNG")
    }
    assert open_run_on(run.folder, other) is None
    (other / run.split.train[0].name).unlink()
    assert open_run_on(run.folder, other) is None


def test_data_that_moved_are_named_once(data, tmp_path):
    here = Path(shutil.copytree(data, tmp_path / "here"))
    run = start_run(here, load_config(None, SETTINGS), tmp_path / "run")
    write_run(run)
    here.rename(tmp_path / "there")
    with pytest.raises(DataError) as error:
        open_run(run.folder)
    assert str(error.value) == (
        f"the data of the run {run.folder} are no longer in {here}; say once where they lie now:"
        f" segdec train DATA --resume --out {run.folder}"
    )
    moved = move_data(open_run(run.folder, data=tmp_path / "there"), tmp_path / "there")
    opened = open_run(run.folder)
    assert opened.meta == moved.meta == json.loads(json.dumps(run.meta)) | {"data": str(tmp_path / "there")}
    check_unchanged(opened)


def test_meta_says_what_it_ran_on(run, data):
    meta = json.loads((run.folder / "meta.json").read_text(encoding="utf-8"))
    assert meta["data"] == str(data)
    assert meta["layout"] == "dagm"
    assert meta["counts"]["test"] == {"images": 3, "defective": 1}
    assert meta["counts"]["train"]["images"] + meta["counts"]["val"]["images"] == 14
    assert len(meta["data_hash"]) == 64
    assert {"commit", "versions", "machine", "date", "excluded", "unreadable", "split", "seed"} <= meta.keys()


def test_colour_images_get_three_channels(tmp_path):
    for kind, count in (("good", 6), ("defect", 6)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(count):
            image = np.random.default_rng(number).integers(0, 256, (70, 90, 3), dtype=np.uint8)
            name = tmp_path / "data" / kind / f"{kind}ä{number}.png"
            name.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    run = start_run(tmp_path / "data", load_config(None, WEAK), tmp_path / "run")
    assert run.config.data.channels == run.config.network.in_channels == 3
    assert run.config.data.image_size == (72, 88)
    assert all(sample.weak for sample in run.split.train if sample.label)


def test_how_it_is_computed_may_change_and_nothing_else(run):
    changed = open_run(run.folder, ("train.precision=bf16", "data.workers=0", "train.accumulate=1")).config
    assert (changed.train.precision, changed.data.workers) == ("bf16", 0)
    open_run(run.folder, ("train.seed=4",))  # the same value is no change
    for setting in (
        "train.seed=5",
        "train.epochs=9",
        "data.fold=1",
        "augment.flip=true",
        "network.in_channels=3",
    ):
        with pytest.raises(ConfigError):
            open_run(run.folder, (setting,))
    with pytest.raises(
        ConfigError, match=r"train\.epochs was 50 when the run began and cannot become 9; start a new"
    ):
        open_run(run.folder, ("train.epochs=9",))


def test_no_run_there(tmp_path):
    with pytest.raises(
        ModelError, match=r"holds no run \(no config\.toml\); start one with: segdec train DATA --out"
    ):
        open_run(tmp_path)


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]", '{"data": 5}'])
def test_a_damaged_meta_file_is_named(run, content):
    path = run.folder / "meta.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(ModelError, match=r"meta\.json is missing or damaged"):
        open_run(run.folder)


def test_changed_data_is_noticed(run, data, tmp_path):
    moved = tmp_path / "moved" / "Class1"
    shutil.copytree(data, moved)
    mask = next((moved / "Train" / "Label").glob("*_label.PNG"))
    mask.write_bytes(cv2.imencode(".png", np.full((64, 96), 255, np.uint8))[1].tobytes())
    with pytest.raises(DataError, match=r"changed since .* began \(hash"):
        check_unchanged(open_run(run.folder, data=moved))


def test_a_run_is_not_started_over_another(run, data):
    with pytest.raises(OutputError, match="holds a run already; go on with it by --resume"):
        start_run(data, load_config(), run.folder)


def test_a_run_is_not_put_into_a_model(data, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model; choose another folder"):
        start_run(data, load_config(None, SETTINGS), tmp_path)


def test_a_file_in_the_way(data, tmp_path):
    (tmp_path / "file").write_text("here")
    run = start_run(data, load_config(None, SETTINGS), tmp_path / "file" / "run")
    with pytest.raises(OutputError, match="cannot make the run folder"):
        write_run(run)


@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 9000)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_the_chosen_size_fits_the_network_and_the_memory(sizes):
    height, width = fitting_size(sizes)
    assert height % 8 == width % 8 == 0
    assert min(height, width) >= 64
    # one step of rounding beyond 0.8 megapixels at most, except for strips thinner than the smallest side
    if min(min(size) for size in sizes) >= 640:
        assert height * width <= 768 * 1024 * 1.1


def test_sizes_that_fit_are_taken_as_they_are():
    assert fitting_size([(512, 512)]) == (512, 512)
    assert fitting_size([(256, 1600)]) == (256, 1600)
    assert fitting_size([(30, 40)]) == (64, 64)


def test_without_any_mask_the_decision_loss_must_reach_both_stages(data, tmp_path):
    labels = tmp_path / "parts.csv"
    rows = [
        f"{path},{int((data / 'Train' / 'Label' / f'{path.stem}_label.PNG').exists())}"
        for path in sorted((data / "Train").glob("*.PNG"))
    ]
    labels.write_text("image,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"none of the \d defective training images has a mask.*loss.balance=decision"
    ):
        start_run(labels, load_config(None, SETTINGS), tmp_path / "run")
    assert start_run(labels, load_config(None, (*SETTINGS, *WEAK)), tmp_path / "run").split.train
