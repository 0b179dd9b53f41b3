"""The chain of the suggest table: each training is given the masks that the one before it asked for."""

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdec.experiments import choose_rows, find_table, plan, write_report
from segdec.experiments.jobs import DONE
from segdec.experiments.work import work

TABLE = find_table("suggest")
TINY = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "network.block_channels=[2, 2, 2]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "train.precision=fp32",
    "train.learning_rate=0.1",
    "train.epochs=1",
)
DEFECTIVE, GOOD = 17, 4
TEST = ("kos01", "kos18")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Items of one image each: the first 17 have a defect; one defective and one good item judge."""
    root = tmp_path_factory.mktemp("KolektorSDD")
    random = np.random.default_rng(0)
    names = [f"kos{number:02}" for number in range(1, DEFECTIVE + GOOD + 1)]
    for number, name in enumerate(names):
        (root / name).mkdir()
        image = random.integers(90, 160, (64, 64), np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        if number < DEFECTIVE:
            x, y = random.integers(4, 40, 2)
            mask[y : y + 12, x : x + 12] = 255
            image[mask > 0] = 20 + 10 * number
        cv2.imwrite(str(root / name / "Part0.jpg"), image)
        cv2.imwrite(str(root / name / "Part0_label.bmp"), mask)
    train = [[name, True] for name in names if name not in TEST]
    (root / "splits.json").write_text(json.dumps({"33_33": [{"train": train, "test": list(TEST)}]}))
    return root


def jobs_in(out: Path, data: Path, rows=("suggest-15",), settings=TINY):
    return plan(TABLE, [str(data)], out, (0,), rows, ("0",), settings)


def masked(folder: Path) -> set[str]:
    split = json.loads((folder / "split.json").read_text())
    defective = {f"kos{number:02}/Part0.jpg" for number in range(1, DEFECTIVE + 1)}
    return (set(split["train"]) & defective) - set(split["weak"])


def chosen(folder: Path) -> list[str]:
    return [row["name"] for row in csv.DictReader((folder / "suggestions.csv").read_text().splitlines())]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data) -> tuple[Path, dict[str, Path]]:
    out = tmp_path_factory.mktemp("results")
    jobs = jobs_in(out, data, ("5", "random-10", "suggest-10", "suggest-15"))
    work(jobs, lambda _: None)
    write_report(TABLE, out)
    return out, {job.row.name: job.folder for job in jobs}


def test_the_rows_of_a_chain_bring_those_that_they_come_after():
    assert [row.name for row in choose_rows(TABLE, ["suggest-15"])] == ["5", "suggest-10", "suggest-15"]
    assert [row.name for row in choose_rows(TABLE, ["random-15"])] == ["random-15"]


def test_each_training_has_the_masks_before_it_and_those_that_it_suggests(finished):
    _, folders = finished
    names = ["5", "suggest-10", "suggest-15"]
    for before, after in pairwise(names):
        one, other = masked(folders[before]), masked(folders[after])
        assert len(chosen(folders[after])) == 5
        assert other == one | set(chosen(folders[after]))
    assert [len(masked(folders[name])) for name in names] == [5, 10, 15]


def test_both_ways_begin_with_the_same_masks(finished):
    _, folders = finished
    assert masked(folders["5"]) < masked(folders["random-10"])
    assert len(masked(folders["random-10"])) == 10


def test_no_test_image_is_ever_chosen_and_all_are_judged(finished):
    _, folders = finished
    for name, folder in folders.items():
        if name.startswith("suggest"):
            assert not set(chosen(folder)) & {f"{item}/Part0.jpg" for item in TEST}
        rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
        assert sorted(row["name"] for row in rows) == [f"{item}/Part0.jpg" for item in TEST]


def test_the_curve_has_a_point_for_each_row_and_both_ways_share_the_first(finished):
    out, _ = finished
    rows = list(csv.DictReader((out / "suggest-curve.csv").read_text().splitlines()))
    points = [(row["curve"].partition("+")[0], row["masks"]) for row in rows]
    assert points == [
        ("random", "5"), ("random", "10"), ("suggest", "5"), ("suggest", "10"), ("suggest", "15"),
    ]  # fmt: skip
    assert rows[0]["ap_mean"] == rows[2]["ap_mean"]
    assert (out / "suggest-curve.png").read_bytes().startswith(b"\x89PNG")
    assert "to random-10 (1)" in (out / "suggest.md").read_text()


def test_a_chain_that_was_cut_off_goes_on_with_the_masks_it_had_chosen(tmp_path, data, finished):
    jobs = jobs_in(tmp_path, data, ("suggest-10",))
    shutil.copytree(finished[1]["5"], jobs[0].folder)

    class StopError(Exception):
        pass

    def stop(job, now):
        if job.row.name == "suggest-10" and now.stage == "training":
            raise StopError

    with pytest.raises(StopError):
        work(jobs, lambda _: None, stop)
    first, second = jobs
    assert first.settled
    assert not second.settled
    before = masked(second.folder)
    (second.folder / "suggestions.csv").unlink()  # not needed any more: the split says which masks there are
    again = jobs_in(tmp_path, data, ("suggest-10",))
    work(again, lambda _: None)
    assert again[1].settled
    assert masked(second.folder) == before
    assert len(before) == 10


def test_a_chain_ends_with_a_training_that_failed(tmp_path, data):
    settings = (*(one for one in TINY if "learning_rate" not in one), "train.learning_rate=1e30")
    jobs = jobs_in(tmp_path, data, ("suggest-10",), settings=settings)
    work(jobs, lambda _: None)
    write_report(TABLE, tmp_path)
    assert all((job.folder / "failed.json").exists() for job in jobs)
    error = json.loads((jobs[1].folder / "failed.json").read_text())["error"]
    assert error.startswith("the run that was to choose its masks failed")
    text = (tmp_path / "suggest.md").read_text()
    assert "1 trainings failed, as their loss, or that of the run before, was" in text


def test_a_training_waits_for_the_one_that_chooses_its_masks(tmp_path, data, monkeypatch):
    def do(job, *_):
        (job.folder / DONE).touch()

    monkeypatch.setattr("segdec.experiments.work._do", do)
    order = []
    work(jobs_in(tmp_path, data)[::-1], lambda job: order.append(job.row.name), poll_s=0.01)
    assert order == ["5", "suggest-10", "suggest-15"]
