"""A model has seen what taught the models that it began with or learnt from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segdec.calibrate import calibrate
from segdec.compress import compress
from segdec.config import load_config
from segdec.data.synthetic import write_dagm_like
from segdec.errors import DataError
from segdec.evaluate import evaluate_run
from segdec.freezing import freeze_norm
from segdec.model_io import OTHERS, read_hashes, read_model, write_model
from segdec.operating_point import Wish
from segdec.runs import Run, open_run_on
from segdec.train import train

SMALL = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "data.val_fraction=0.0",
    "network.block_channels=[2, 2, 4]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=8",
    "network.context_kernel=5",
    "train.epochs=1",
    "train.precision=fp32",
)
WISH = Wish(max_escape=0.9, confidence=0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three data sets of the same names: what taught the parent, what teaches its children, what is fresh."""
    folder = tmp_path_factory.mktemp("inherited")
    for seed, name in enumerate(("old", "new", "fresh")):
        write_dagm_like(folder / name, seed, (64, 64), train=(3, 3), test=(2, 2))
    return folder


@pytest.fixture(scope="module")
def parent(place: Path) -> Run:
    return train(place / "old", load_config(settings=SMALL), place / "parent")


@pytest.fixture(scope="module")
def child(place: Path, parent: Run) -> Run:
    return begin_with(parent.folder, place, place / "child")


def begin_with(model: Path, place: Path, out: Path) -> Run:
    return train(place / "new", load_config(settings=(*SMALL, f'train.start_from="{model}"')), out)


def learn_from(model: Path, place: Path, out: Path) -> Run:
    return train(place / "new", load_config(settings=(*SMALL, f'train.teacher="{model}"')), out)


def table(path: Path, run: Run, one: Path) -> Path:
    """Write a table of what judges a run, and one image more."""
    rows = [(sample.image, int(sample.label)) for sample in run.split.test]
    path.write_text("\n".join(["image,label", *(f"{image},{label}" for image, label in [*rows, (one, 0)])]))
    return path


def good_image(run: Run) -> Path:
    return next(sample.image for sample in run.split.train if not sample.label)


@pytest.mark.parametrize("descend", [begin_with, learn_from])
def test_what_taught_a_parent_is_refused(
    place: Path, parent: Run, tmp_path: Path, descend: Callable[[Path, Path, Path], Run]
) -> None:
    run = descend(parent.folder, place, tmp_path / "run")
    assert calibrate(run.folder, None, WISH).disjoint
    for taught in (good_image(parent), good_image(run)):
        seen = evaluate_run(run.folder, table(tmp_path / "seen.csv", run, taught)).judged.trained_on
        assert seen is not None
        assert [Path(name).name for name in seen] == [taught.name]
        with pytest.raises(DataError, match=r"1 of 5 calibration images took part in the model's training"):
            calibrate(run.folder, table(tmp_path / "seen.csv", run, taught), WISH)


def test_what_taught_a_grandparent_is_refused(parent: Run, child: Run, tmp_path: Path) -> None:
    """Freezing and compressing go on with the data of the run that they take, and know whence it came."""
    for run in (
        freeze_norm(child.folder, tmp_path / "frozen", epochs=1),
        compress(child.folder, tmp_path / "student", "narrow", epochs=1, settings=SMALL[3:7]),
    ):
        assert calibrate(run.folder, None, WISH).disjoint
        with pytest.raises(DataError, match=r"1 of 5 calibration images took part in the model's training"):
            calibrate(run.folder, table(tmp_path / "seen.csv", run, good_image(parent)), WISH)


def test_what_taught_a_parent_is_no_data_of_the_run(place: Path, parent: Run, child: Run) -> None:
    """Its images bear the same names, and all of them are known to have taught."""
    assert open_run_on(child.folder, place / "new") is not None
    assert open_run_on(child.folder, place / "old") is None
    assert child.image_hashes.isdisjoint(parent.image_hashes)
    judged = evaluate_run(child.folder, place / "old").judged
    assert judged.trained_on == ()  # the part that judged the parent


@pytest.mark.parametrize("descend", [begin_with, learn_from])
def test_a_parent_that_does_not_say_leaves_it_open(
    place: Path, parent: Run, tmp_path: Path, descend: Callable[[Path, Path, Path], Run]
) -> None:
    """The images that are known are refused as ever; of the rest nobody can be sure."""
    card, weights = read_model(parent.model)
    write_model(tmp_path / "imported", card, weights)
    assert read_hashes(tmp_path / "imported") is None
    run = descend(tmp_path / "imported", place, tmp_path / "run")
    again = freeze_norm(run.folder, tmp_path / "frozen", epochs=1)
    for each in (run, again):
        assert read_hashes(each.folder) == {*each.image_hashes, OTHERS}
        assert not calibrate(each.folder, None, WISH).disjoint
        assert evaluate_run(each.folder).judged.trained_on is None
        with pytest.raises(DataError, match="1 of 5 calibration images took part"):
            calibrate(each.folder, table(tmp_path / "seen.csv", each, good_image(each)), WISH)


def test_what_was_inherited_is_kept_for_a_resume(place: Path, parent: Run, tmp_path: Path) -> None:
    """The parent may be gone by then; a run begun before such a list was kept does not say."""
    mine = Path(shutil.copytree(parent.folder, tmp_path / "parent"))
    run = begin_with(mine, place, tmp_path / "run")
    hashes = read_hashes(run.folder)
    shutil.rmtree(mine)
    shutil.rmtree(run.model)
    train(None, run.config, run.folder, resume=True)
    assert read_hashes(run.folder) == hashes == run.image_hashes | parent.image_hashes
    shutil.rmtree(run.model)
    (run.folder / "inherited.sha256").unlink()
    train(None, run.config, run.folder, resume=True)
    assert read_hashes(run.folder) == {*run.image_hashes, OTHERS}
