"""A table from beginning to end: planned, run by racing processes, killed, gone on with, tabulated."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from segdec.checkpoint import load_checkpoint
from segdec.cli import app
from segdec.config import dump_toml
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, DataError, ModelError, OutputError
from segdec.evaluate import evaluate_run, join_folds
from segdec.experiments import find_table, plan, reproduce, steps, write_report
from segdec.experiments.jobs import variant_name
from segdec.experiments.lines import Line, race, shared_changes, summarise
from segdec.experiments.outcomes import find_outcomes
from segdec.experiments.report import to_markdown
from segdec.experiments.work import check_same, work
from segdec.imaging import encode_run_lengths, write_image

TINY = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "network.block_channels=[2, 2, 2]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "train.precision=fp32",
    "train.batch_size=2",
)
SHORT = (*TINY, "train.epochs=2")
TABLE = find_table("dagm")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("DAGM")
    for number in (1, 2):
        write_dagm_like(folder / f"Class{number}", number, (64, 64), (6, 4), (4, 3))
    return folder


def jobs_in(out: Path, data: Path, *, seeds=(0,), folds=("1", "2"), settings=SHORT, rows=("all-classes",)):
    return plan(TABLE, [str(data)], out, seeds, rows, folds, settings)


def command(out: Path, data: Path, *more: str, settings=SHORT) -> list[str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    words = ["reproduce", "dagm", "--data", str(data), "--out", str(out), "--rows", "all-classes"]
    return [sys.executable, "-m", "segdec", *words, *sets, *more]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data) -> Path:
    """A table of two classes and two seeds, made by two commands at the same time."""
    out = tmp_path_factory.mktemp("results")
    arguments = command(out, data, "--folds", "1", "2", "--seeds", "0", "1")
    both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, problem = process.communicate(timeout=200)
        assert process.returncode == 0, problem
    return out


# --- planning -------------------------------------------------------------------------------------------


def test_every_row_fold_and_seed_is_one_readable_folder(tmp_path, data):
    jobs = jobs_in(tmp_path, data, seeds=(3, 5), settings=("train.epochs=5",))
    assert [job.folder.relative_to(tmp_path).as_posix() for job in jobs] == [
        "dagm/full+epochs=5/class1-seed3",
        "dagm/full+epochs=5/class2-seed3",
        "dagm/full+epochs=5/class1-seed5",
        "dagm/full+epochs=5/class2-seed5",
    ]
    assert [job.config.train.seed for job in jobs] == [3, 3, 5, 5]
    assert [job.data.name for job in jobs] == ["Class1", "Class2"] * 2
    assert jobs[0].command == (
        "segdec reproduce dagm --data DIR --rows all-classes --folds class1 --seeds 3 --set train.epochs=5"
    )


def test_rows_of_the_same_experiment_are_planned_once(tmp_path, data):
    jobs = jobs_in(tmp_path, data, rows=("class1", "class2", "all-classes"))
    assert len(jobs) == 2


def test_how_a_run_is_computed_makes_no_row_of_its_own(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, folds=("1",), settings=("data.workers=0", "train.compile=true"))
    assert job.folder == tmp_path / "dagm" / "full" / "class1-seed0"


def test_of_a_setting_given_twice_the_last_names_the_folder(tmp_path, data):
    both = ("train.epochs=5", "train.epochs=6")
    found = {}
    for settings in (both, both[::-1]):
        (job,) = jobs_in(tmp_path, data, folds=("1",), settings=settings)
        found[job.folder.parent.name] = job.config.train.epochs
    assert found == {"full+epochs=6": 6, "full+epochs=5": 5}


def test_other_settings_have_another_name():
    values = [
        '[["a b","c"]]',
        '[["ab","c"]]',
        '[["ab"],["c"]]',
        '["ab", "c"]',
        "1e+30",
        "1e-30",
        "a/b",
        "a-b",
    ]
    names = [variant_name([f"data.together={value}"]) for value in values]
    assert len(set(names)) == len(values)
    assert all(re.fullmatch(r"\+together=[\w.-]+", name) for name in names)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("data.image_size=[704, 256]", "+image_size=704x256"),
        ("data.image_size=[704,256]", "+image_size=704x256"),
        ("train.learning_rate=0.1", "+learning_rate=0.1"),
        ("train.learning_rate=1e-4", "+learning_rate=1e-4"),
        ("loss.balance=two-stage", "+balance=two-stage"),
        ('loss.balance="none"', "+balance=none"),
        ("data.setting=33_5", "+setting=33_5"),
        ("train.batch_size=2", "+batch_size=2"),
    ],
)
def test_a_value_that_a_file_name_can_hold_names_the_folder_as_ever(setting, name):
    assert variant_name([setting]) == name


def test_many_settings_still_make_a_file_name():
    settings = [f"train.epochs={number:030}" for number in range(20)]
    assert len(variant_name(settings)) < 200
    assert variant_name(settings) != variant_name(settings[1:])


def test_what_cannot_be_planned_is_said(tmp_path, data):
    with pytest.raises(ConfigError, match='no row "clas1"'):
        jobs_in(tmp_path, data, rows=("clas1",))
    with pytest.raises(ConfigError, match="no fold 17"):
        jobs_in(tmp_path, data, folds=("17",))
    with pytest.raises(DataError, match="holds no Class3; choose those it holds by --folds"):
        jobs_in(tmp_path, data, folds=("3",))
    with pytest.raises(DataError, match="was taken for no data set; the table dagm needs: dagm"):
        jobs_in(tmp_path, tmp_path)
    with pytest.raises(DataError, match="no data given"):
        plan(TABLE, [], tmp_path)


@pytest.mark.parametrize(
    ("setting", "option"),
    [("train.seed=4", "--seeds"), ("data.fold=1", "--folds"), ("data.splits=mine.json", "--splits")],
)
def test_what_an_option_says_is_not_set(tmp_path, data, setting, option):
    with pytest.raises(ConfigError, match=f"use {option} instead"):
        jobs_in(tmp_path, data, settings=(setting,))


def test_rows_without_data_are_left_out_of_a_table_over_several_sets(tmp_path, data):
    jobs = plan(find_table("ablation"), [f"dagm={data}"], tmp_path, folds=("1",))
    assert {job.row.data for job in jobs} == {"dagm"}
    assert len(jobs) == 8, "the runs of the cumulative ablation's last row are those of no-sampling"


@pytest.fixture
def kolektor(tmp_path) -> Path:
    """A folder that is taken for KolektorSDD."""
    folder = tmp_path / "KolektorSDD"
    (folder / "kos01").mkdir(parents=True)
    (folder / "kos01" / "Part0.jpg").touch()
    return folder


def test_the_recorded_command_plans_the_same_run_again(tmp_path, kolektor):
    table, splits = find_table("kolektor"), tmp_path / "my splits.json"
    splits.write_text("{}")
    settings = ("data.together=[['kos01','kos26']]", "data.image_size=[704, 256]")
    (job,) = plan(table, [str(kolektor)], tmp_path, (3,), ("33",), ("1",), settings, splits)
    words = shlex.split(job.command)
    assert words[:5] == ["segdec", "reproduce", "kolektor", "--data", "DIR"]
    pairs = list(zip(words[5::2], words[6::2], strict=True))
    assert pairs == [
        ("--rows", "33"),
        ("--folds", "fold1"),
        ("--seeds", "3"),
        ("--splits", "my splits.json"),
        ("--set", settings[0]),
        ("--set", settings[1]),
    ]


def test_kolektors_folds_are_looked_for_beside_the_data(tmp_path, kolektor):
    folder, table = kolektor, find_table("kolektor")
    with pytest.raises(DataError, match="by --splits"):
        plan(table, [str(folder)], tmp_path / "out")
    (tmp_path / "splits.json").write_text("{}")
    jobs = plan(table, [str(folder)], tmp_path / "out", rows=("33", "33-twins-together"))
    assert [job.config.data.fold for job in jobs] == [0, 1, 2] * 2
    assert jobs[0].config.data.splits == str(tmp_path / "splits.json")
    assert jobs[-1].config.data.together == (("kos01", "kos26"), ("kos27", "kos34"), ("kos38", "kos39"))


# --- running --------------------------------------------------------------------------------------------


def test_two_processes_share_the_work_and_do_nothing_twice(finished, data):
    jobs = jobs_in(finished, data, seeds=(0, 1))
    assert len(jobs) == 4
    for job in jobs:
        assert job.settled
        assert len(lines_of(job.folder / "sessions.jsonl")) == 1
        assert [line["epoch"] for line in lines_of(job.folder / "log.jsonl")] == [0, 1]


def test_what_is_finished_is_not_done_again(finished, data, monkeypatch):
    monkeypatch.setattr("segdec.experiments.work.train", None)
    paths, problems = reproduce(TABLE, jobs_in(finished, data, seeds=(0, 1)), finished)
    assert not problems
    assert sorted(path.name for path in paths) == ["dagm-runs.csv", "dagm.csv", "dagm.md", "dagm.png"]


def test_a_killed_worker_is_taken_over_and_the_run_is_the_same_bit_for_bit(tmp_path, data):
    settings = (*TINY, "train.epochs=40")
    (job,) = jobs_in(tmp_path / "killed", data, folds=("1",), settings=settings)
    process = subprocess.Popen(
        command(tmp_path / "killed", data, "--folds", "1", settings=settings), stderr=subprocess.DEVNULL
    )
    log = job.folder / "log.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (log.exists() and len(log.read_bytes().splitlines()) >= 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not job.settled

    reproduce(TABLE, [job], tmp_path / "killed")
    (whole,) = jobs_in(tmp_path / "whole", data, folds=("1",), settings=settings)
    work([whole], lambda _: None)

    assert job.settled
    assert len(lines_of(job.folder / "sessions.jsonl")) == 2
    assert [line["epoch"] for line in lines_of(log)] == list(range(40))
    one, other = (
        load_checkpoint(each.folder / "checkpoints" / "last.safetensors")[0] for each in (job, whole)
    )
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert (job.folder / "scores.csv").read_bytes() == (whole.folder / "scores.csv").read_bytes()


def test_several_workers_survive_the_death_of_one(tmp_path, data):
    jobs = jobs_in(tmp_path, data, seeds=(0, 1))
    killed = []

    def kill_the_first(_done: int, _all: int) -> None:
        for job in jobs:
            owner = job.folder / "claims" / "1"
            if not killed and owner.exists() and owner.read_text() and not job.settled:
                killed.append(json.loads(owner.read_text())["pid"])
                os.kill(killed[0], signal.SIGKILL)

    reproduce(TABLE, jobs, tmp_path, processes=2, settled=kill_the_first)
    assert killed
    assert all(job.settled for job in jobs)
    assert (tmp_path / "dagm.md").exists()


def test_the_data_may_lie_elsewhere_on_the_machine_that_goes_on(tmp_path, data):
    (job,) = jobs_in(tmp_path / "out", data, folds=("1",))

    class StopError(Exception):
        pass

    def stop(_job, now):
        if now.stage == "training" and now.epoch == 1:
            raise StopError

    with pytest.raises(StopError):
        work([job], lambda _: None, stop)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "Class1").symlink_to(data / "Class1")
    (again,) = jobs_in(tmp_path / "out", moved, folds=("1",))
    work([again], lambda _: None)
    assert job.settled


def settle(job, **changes) -> None:
    """Make a job's folder look settled, but by a run of another configuration."""
    write_run_config(job, **changes)
    (job.folder / "done.json").write_text(json.dumps({"settings": job.settings, "command": ""}))


def write_run_config(job, **changes) -> None:
    job.folder.mkdir(parents=True)
    text = dump_toml(job.config)
    for key, value in changes.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    (job.folder / "config.toml").write_text(text)


def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, folds=("1",))
    write_run_config(job, epochs=7)
    with pytest.raises(OutputError, match=r"holds a run with train.epochs 7, where 2 is asked for"):
        work([job], lambda _: None)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_finished_run_of_other_settings_is_not_taken_for_the_rows(tmp_path, data, processes):
    jobs = jobs_in(tmp_path, data)
    settle(jobs[1], epochs=7)
    with pytest.raises(OutputError, match=r"class2-seed0 holds a run with train.epochs 7, where 2 is asked"):
        reproduce(TABLE, jobs, tmp_path, processes)
    assert not jobs[0].folder.exists(), "it is said before anything is trained"


def test_a_setting_that_a_newer_version_added_is_no_difference(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, folds=("1",))
    write_run_config(job)
    path = job.folder / "config.toml"
    path.write_text(
        re.sub("^(context_form|unlabelled|norm) = .*\n", "", path.read_text(), flags=re.MULTILINE)
    )
    check_same(job.folder, job.config)


def test_a_setting_that_only_the_stored_run_has_is_a_difference(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, folds=("1",))
    write_run_config(job)
    path = job.folder / "config.toml"
    path.write_text(path.read_text().replace("[data]", "[data]\npositives = 5"))
    with pytest.raises(OutputError, match=r"holds a run with data.positives 5, where None"):
        check_same(job.folder, job.config)


def test_a_run_of_other_published_folds_is_not_gone_on_with(tmp_path, kolektor):
    def splits(name, *test):
        path = tmp_path / name
        path.write_text(json.dumps({"33_33": [{"train": [["kos01", True]], "test": test}]}))
        return path

    def planned(path):
        return plan(
            find_table("kolektor"), [str(kolektor)], tmp_path, rows=("33",), folds=("0",), splits=path
        )

    first, second = splits("first.json", "kos02", "kos03"), splits("second.json", "kos02", "kos04")
    (job,) = planned(first)
    write_run_config(job)
    (job.folder / "split.json").write_text(
        '{"test": ["kos02/Part0.jpg", "kos02/Part1.jpg", "kos03/Part0.jpg"]}'
    )
    check_same(job.folder, planned(splits("moved.json", "kos03", "kos02"))[0].config)
    for path in (second, splits("fewer.json", "kos02"), splits("more.json", "kos02", "kos03", "kos04")):
        with pytest.raises(OutputError, match=f"judges other items than .*{path.name} says"):
            reproduce(find_table("kolektor"), planned(path), tmp_path)


def test_what_stops_a_worker_stops_the_command(tmp_path, data):
    jobs = jobs_in(tmp_path, data, settings=("train.epochs=3", *TINY))
    jobs[0].folder.parent.mkdir(parents=True)
    jobs[0].folder.write_text("a file where a folder is needed")
    with pytest.raises(OutputError, match="class1-seed0"):
        reproduce(TABLE, jobs, tmp_path, processes=2)


def test_a_training_that_diverges_is_a_result(tmp_path, data):
    settings = (*SHORT, "train.learning_rate=1e30")
    (job,) = jobs_in(tmp_path, data, folds=("1",), settings=settings)
    reproduce(TABLE, [job], tmp_path)
    assert "not finite" not in (tmp_path / "dagm.md").read_text().split("Not in the table")[0]
    assert "1 trainings failed" in (tmp_path / "dagm.md").read_text()
    assert json.loads((job.folder / "failed.json").read_text())["error"].startswith("the loss is")


def test_severstal_is_trained_from_run_lengths_and_judged(tmp_path):
    steel = tmp_path / "Severstal"
    (steel / "train_images").mkdir(parents=True)
    rows = ["ImageId,ClassId,EncodedPixels"]
    for number in range(20):
        image = np.full((64, 128), 100 + number, np.uint8)
        mask = np.zeros(image.shape, np.bool_)
        mask[20:40, 30 + number : 60 + number] = number % 2 == 0
        image[mask] += 80
        write_image(steel / "train_images" / f"{number:09x}.jpg", image)
        if mask.any():
            rows.append(f"{number:09x}.jpg,{number % 4 + 1},{encode_run_lengths(mask)}")
    (steel / "train.csv").write_text("\n".join(rows))
    table = find_table("severstal")
    settings = (*SHORT, "data.image_size=[64,128]", "data.test_images=[3,4]", "data.positives=4")
    jobs = plan(table, [str(steel)], tmp_path / "out", rows=("300",), settings=settings)

    _, problems = reproduce(table, jobs, tmp_path / "out")

    outcomes, _ = find_outcomes(table, tmp_path / "out")
    assert not problems
    assert [(each.row, each.defective, each.good, each.failed) for each in outcomes] == [("300", 3, 4, "")]
    split = json.loads((jobs[0].folder / "split.json").read_text())
    assert sum(int(name[-5], 16) % 2 == 0 for name in split["train"]) == 4


# --- tabulating -----------------------------------------------------------------------------------------


def test_seeds_are_joined_as_evaluate_joins_folds(finished, data):
    outcomes, _ = find_outcomes(TABLE, finished)
    line = next(
        line for line in summarise(TABLE, outcomes, finished) if line.row.name == "all-classes" and line.runs
    )
    assert (line.seeds, line.folds) == ((0, 1), ("class1", "class2"))

    def judged(job):
        evaluation = evaluate_run(job.folder, part=job.fold)
        # the classes of DAGM are data sets of their own, which use the same file names
        rows = tuple(row._replace(name=f"{job.fold}/{row.name}") for row in evaluation.rows)
        return replace(evaluation, rows=rows)

    joined = [join_folds([judged(job) for job in jobs_in(finished, data, seeds=(seed,))]) for seed in (0, 1)]
    means, pooled = ([each.ap_mean.value for each in joined], [e.image.ap.value for e in joined])
    assert line.ap.mean == pytest.approx(100 * np.mean(means))
    assert line.ap.deviation == pytest.approx(100 * np.std(means, ddof=1))
    assert line.ap_pooled.mean == pytest.approx(100 * np.mean(pooled))
    assert line.fp.mean == np.mean([each.image.at_threshold.fp for each in joined])
    best = [[fold.best_f1_on_test.fn for fold in each.folds.values()] for each in joined]
    assert line.best_f1_on_test_fn.mean == np.mean([sum(each) for each in best])


def test_the_raw_table_names_everything_a_figure_needs(finished):
    with (finished / "dagm-runs.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["row"] == "all-classes"]
    assert len(rows) == 4
    for row in rows:
        assert (row["epochs"], row["height"], row["width"], row["precision"]) == ("2", "64", "64", "fp32")
        assert row["threshold_from"] == "train"
        assert row["variant"].startswith("+")
        assert row["command"].startswith("segdec reproduce dagm --data DIR --rows all-classes")
        assert row["machine"]
        assert row["commit"]
        assert int(row["steps"]) == 2 * 4


def test_a_shorter_run_is_named_apart(finished):
    text = (finished / "dagm.md").read_text()
    above, _, below = text.partition("\n## With ")
    assert "| all-classes |" not in above
    assert "epochs=2" in below.partition("\n")[0]
    assert "| all-classes |" in below
    assert "| (100) |" in below
    assert "class1, class2 only" in below
    assert "| FP / FN, best on test | paper | FP / FN |" in below  # the paper's is known
    assert "| difference |" not in below  # but nothing stands against another row
    assert "| class1, class2 | all | 0, 1 |" in below  # rows that were run alike share a line
    assert "- as the recipe says, not run: `segdec reproduce dagm --data DIR`\n" in below


def test_what_was_changed_is_named_in_full(finished):
    text = (finished / "dagm.md").read_text()
    heading = next(line for line in text.splitlines() if line.startswith("## With"))
    assert all(setting in heading for setting in SHORT if not setting.startswith("data.workers"))


def test_a_run_that_did_not_write_down_its_settings_has_a_heading_as_ever(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("*/*/*/done.json"):
        record = json.loads(path.read_text())
        assert record.pop("settings")
        path.write_text(json.dumps(record))
    write_report(TABLE, tmp_path)
    assert "\n## With 8-settings-" in (tmp_path / "dagm.md").read_text()


def test_pictures_name_what_was_changed(finished):
    row = TABLE.rows[0]
    short, long = Line(row, "+epochs=5"), Line(row, "+9-settings-abc", "train.epochs=5, data.dilation=7")
    assert short.named("class1", shared_changes([short, long])) == "class1: epochs=5"
    assert long.named("class1", shared_changes([short, long])) == "class1: train.epochs=5, data.dilation=7"
    assert long.named("class1", shared_changes([long, long])) == "class1"
    assert Line(row, "").named("class1", shared_changes([Line(row, "")])) == "class1"


def test_what_is_missing_is_listed_with_the_command_that_runs_it():
    lines = [Line(row, "", failed=int(row.name != "class3")) for row in TABLE.rows]
    text = to_markdown(TABLE, lines)
    assert "- class4: 1 trainings failed" in text
    assert "- as the recipe says, not run: `segdec reproduce dagm --data DIR --rows class3`\n" in text


def test_runs_of_several_machines_are_merged_by_copying_folders(finished, data, tmp_path):
    for seed in (0, 1):
        for job in jobs_in(finished, data, seeds=(seed,)):
            shutil.copytree(job.folder, tmp_path / job.folder.relative_to(finished))
    write_report(TABLE, tmp_path)
    assert (tmp_path / "dagm.csv").read_text() == (finished / "dagm.csv").read_text()


def test_a_damaged_run_stops_no_other_and_is_judged_anew_as_the_error_says(tmp_path, data):
    one, other = jobs_in(tmp_path, data)
    work([one], lambda _: None)
    scores = (one.folder / "scores.csv").read_bytes()
    (one.folder / "scores.csv").unlink()

    words = command(tmp_path, data, "--folds", "1", "--folds", "2")[3:]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ModelError)
    assert str(result.exception).count("delete") == 1
    assert "delete done.json beside it to judge anew" in str(result.exception)
    assert other.settled
    text = (tmp_path / "dagm.md").read_text()
    assert "| all-classes | 1 |" in text
    listed = text.partition("## Not in the table")[2]
    assert f"- {one.folder.relative_to(tmp_path).as_posix()}/scores.csv is missing or damaged" in listed

    (one.folder / "done.json").unlink()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (one.folder / "scores.csv").read_bytes() == scores


def test_a_run_in_a_folder_of_another_name_is_not_tabulated(finished, tmp_path):
    (home,) = (finished / "dagm").glob("full+*")
    shutil.copytree(home, tmp_path / "dagm" / "full")
    problem = write_report(TABLE, tmp_path)[1][0]
    assert "class1-seed0 holds a run with data.image_size [64, 64], where" in str(problem)
    (tmp_path / "dagm" / "full").rename(tmp_path / "dagm" / "full+epochs=2")
    problem = write_report(TABLE, tmp_path)[1][0]
    assert "which its folder's name does not say" in str(problem)


def test_a_seed_without_all_folds_is_counted_but_not_averaged(finished, data, tmp_path):
    for job in [*jobs_in(finished, data), *jobs_in(finished, data, seeds=(1,), folds=("1",))]:
        shutil.copytree(job.folder, tmp_path / job.folder.relative_to(finished))
    lines = summarise(TABLE, find_outcomes(TABLE, tmp_path)[0], tmp_path)
    line = next(line for line in lines if line.row.name == "all-classes" and line.runs)
    assert (line.seeds, line.unused) == ((0,), 1)


def test_rows_are_compared_by_pairs_and_by_the_way_to_the_same_ap(tmp_path, data):
    table = find_table("two-stage")
    settings = (*SHORT, "data.val_fraction=0.4")
    jobs = plan(table, [str(data)], tmp_path, (0,), ("dagm-end-to-end", "dagm-two-stage"), ("1",), settings)
    reproduce(table, jobs, tmp_path)
    outcomes, _ = find_outcomes(table, tmp_path)
    lines = {line.row.name: line for line in summarise(table, outcomes, tmp_path) if line.runs}
    line = lines["dagm-two-stage"]
    assert (line.pairs, line.p) == (1, None)
    assert line.difference == pytest.approx(line.ap.mean - lines["dagm-end-to-end"].ap.mean)
    (one,) = race(table, outcomes, tmp_path)
    assert one.line.startswith("dagm-two-stage")
    assert one.epochs == (2, 2), "in the first of two epochs neither decision stage learns"
    assert "too few" in (tmp_path / "two-stage.md").read_text()


def test_the_command_lists_every_table_and_counts_from_the_data(data):
    shown = listed()
    for name in ("dagm", "kolektor", "severstal", "ablation", "two-stage", "mixed", "departures"):
        assert f"{name}: " in shown
    assert "33                                               3 trainings, 6930 steps" in shown
    assert "class8                                           1 trainings, 3600 steps" in shown
    assert "Steps are counted by positive items, which may have several images; --data counts" in shown
    assert "Add --measure for an estimate of time here." in shown
    counted = listed("dagm", "--data", str(data), "--folds", "1", "--rows", "class1")
    # 4 defective and 4 good images make one batch of 5
    assert "1 trainings, 60 steps" in counted
    assert "Steps are counted in the data" in counted


def test_a_step_is_timed_once_for_all_tables(monkeypatch):
    timed = []
    monkeypatch.setattr(steps, "_time_step", lambda config: timed.append(what(config)) or 2.0)

    def what(config):
        train = config.train
        return config.data.image_size, train.batch_size, train.gradient_adjustment, train.precision

    shown = listed("--measure")
    assert len(timed) == len(set(timed)) == 12
    for table in shown.split("\n\n")[:-1]:
        assert re.search(r" trainings, \d+ steps, [\d.]+ (s|min|h)$", table, re.MULTILINE), table
    assert "33                                               3 trainings, 6930 steps, 3.9 h\n" in shown
    assert "class8                                           1 trainings, 3600 steps, 2.0 h\n" in shown
    assert not re.search(r" steps$", shown, re.MULTILINE)


def listed(*words: str) -> str:
    return CliRunner().invoke(app, ["reproduce", *words, "--list"]).output


def test_the_list_counts_the_chosen_folds_and_seeds_also_without_data():
    shown = listed("kolektor", "--rows", "33", "--folds", "0", "--seeds", "0", "--seeds", "1")
    assert "33                                               2 trainings, 4620 steps" in shown
    shown = listed("ablation", "--folds", "8")
    assert "dagm-all" in shown
    assert "kolektor-all" not in shown


def test_a_folder_that_does_not_exist_is_said_and_not_made(tmp_path):
    with pytest.raises(DataError, match=r"nope does not exist; --data names"):
        plan(TABLE, [str(tmp_path / "nope")], tmp_path)
    result = CliRunner().invoke(app, ["reproduce", "dagm", "--tabulate", "--out", str(tmp_path / "mistyped")])
    assert isinstance(result.exception, DataError)
    assert "mistyped does not exist" in str(result.exception)
    assert not (tmp_path / "mistyped").exists()
