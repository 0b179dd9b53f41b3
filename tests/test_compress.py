"""Compact networks: a student that learns what its teacher says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from segdec.arithmetic import multiply_adds
from segdec.cli import app
from segdec.compress import CANDIDATES, compress, fastest, student_config, weigh
from segdec.config import NetworkConfig, load_config
from segdec.data.pixels import load_pixels
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, DataError, ModelError, OutputError
from segdec.freezing import freeze_norm
from segdec.imaging import to_unit
from segdec.model_io import read_hashes, read_model
from segdec.network import build_network
from segdec.predict import Predictor
from segdec.runs import Run, open_run
from segdec.teaching import choose_temperature
from segdec.train import train

SMALL = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "data.val_fraction=0.0",
    "network.block_channels=[4, 4, 8]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=16",
    "network.context_kernel=5",
    "train.epochs=2",
    "train.learning_rate=0.1",
    "train.precision=fp32",
)
TINY = (
    "network.block_channels=[2, 2, 4]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=8",
    "network.context_kernel=5",
)
"""Laid over a candidate's sizes: a student of a teacher as small as `SMALL`."""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many threads as the processes of `ENVIRONMENT` have: the sums of other numbers differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compress") / "data"
    write_dagm_like(folder, 0, (64, 64), train=(6, 4), test=(2, 2))
    return folder


@pytest.fixture(scope="module")
def teacher(data: Path) -> Run:
    return train(data, load_config(settings=SMALL), data.parent / "teacher")


def squeeze(teacher: Run, out: Path, *settings: str, **options: object) -> Run:
    return compress(teacher.folder, out, "narrow", epochs=2, settings=(*TINY, *settings), **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- multiply-adds


def looks_as_far(network: NetworkConfig) -> int:
    """Return how many pixels a cell sees, on each side."""
    stride, seen = 1, 1
    for depth in network.block_depths:
        seen += (4 * depth + 1) * stride
        stride *= 2
    return seen + (network.context_kernel - 1) * stride


def test_candidates_need_an_eighth_of_the_paper_and_see_as_much() -> None:
    paper = NetworkConfig()
    for candidate in CANDIDATES:
        network = NetworkConfig(**candidate.network)
        assert 8 * multiply_adds(network, (512, 512)) <= multiply_adds(paper, (512, 512)), candidate
        assert looks_as_far(network) >= looks_as_far(paper) == 212, candidate


def test_the_teacher_and_its_students_are_timed(teacher: Run) -> None:
    told = []
    costs = weigh(teacher.folder, tell=lambda done, of: told.append((done, of)))
    assert [cost.name for cost in costs] == ["teacher", *(each.name for each in CANDIDATES)]
    assert told[-1] == (len(costs), len(costs))
    assert costs[0].ratio == 1
    assert all(cost.seconds is not None and cost.seconds > 0 for cost in costs)
    assert fastest(costs).seconds == min(cost.seconds for cost in costs[1:] if cost.seconds is not None)
    assert [cost.seconds for cost in weigh(teacher.folder, timed=False)] == [None] * len(costs)


# ------------------------------------------------------------------------------------------------ a student


def test_a_student_is_an_ordinary_run(teacher: Run, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in teacher.folder.rglob("*") if path.is_file()}
    stages = []
    run = squeeze(teacher, tmp_path / "student", watch=lambda now: stages.append(now.stage))

    card, weights = read_model(run.model)
    assert card.network.context_form == "separable"
    assert weights["segmentation.6.0.0.weight"].shape == (4, 1, 5, 5)
    assert weights["segmentation.6.0.1.weight"].shape == (8, 4, 1, 1)
    assert "asking the teacher" in stages
    assert run.meta["teacher"]["run"] == "teacher"
    assert run.meta["teacher"]["unlabelled"] == {"images": 0, "defective": 0}
    assert [each.name for each in run.split.train] == [each.name for each in teacher.split.train]
    assert 0 <= Predictor(run.model).predict(run.split.test[0].image).score <= 1
    assert before == {path: path.read_bytes() for path in teacher.folder.rglob("*") if path.is_file()}
    assert open_run(run.folder).config == run.config


def test_a_student_takes_its_teachers_settings(teacher: Run) -> None:
    config = student_config(teacher, CANDIDATES[0])
    assert config.train.epochs == 4 * teacher.config.train.epochs
    assert config.loss == teacher.config.loss
    assert config.data == teacher.config.data
    assert config.train.learning_rate == teacher.config.train.learning_rate
    assert (teacher.config.train.context, config.train.context) == ("direct", "auto"), "measured anew"


def test_the_answers_are_the_teachers_logits_softened(teacher: Run, tmp_path: Path) -> None:
    run = squeeze(teacher, tmp_path / "student")
    assert run.answers is not None
    predictor, told = Predictor(teacher.model), run.meta["teacher"]
    assert told["threshold"] == predictor.threshold
    centre = np.log(predictor.threshold / (1 - predictor.threshold))
    for sample, score, score_map in zip(run.teaching, run.answers.scores, run.answers.maps, strict=True):
        image, _ = load_pixels(sample, run.config)
        with torch.inference_mode():
            unit = torch.from_numpy(to_unit(image).transpose(2, 0, 1)[None])
            seg_logits, dec_logits = predictor.backend.network(unit)
        logit = torch.tensor((float(dec_logits) - centre) / told["score_temperature"])
        assert score == pytest.approx(float(logit.sigmoid()), abs=1e-5)
        assert (score >= 0.5) == predictor.predict(sample.image).decision
        expected = (seg_logits[0, 0] / told["map_temperature"]).sigmoid()
        np.testing.assert_allclose(score_map, expected, atol=1e-5)


def test_sure_answers_are_softened_and_mild_ones_are_not() -> None:
    """The logits of a teacher on KolektorSDD; float32 has one sigmoid for all but the first."""
    sure = np.array([-5.0, 19.3, 22.2, 34.0]) - 10.1
    soft = torch.from_numpy(sure / choose_temperature(sure)).float().sigmoid().numpy()
    assert (np.diff(soft) > 0.01).all()
    assert soft[0] < 0.5 < soft[1]
    for mild in (np.array([-9.0, 1.0, 3.0]), np.array([-9.0, -1.0])):
        assert choose_temperature(mild) == 1
    few = np.append(np.full(11000, -0.2), [20.0, 20.0, 100.0])  # one cell alone does not decide
    assert choose_temperature(few, threshold=17.0) == 5


def test_a_student_follows_its_teacher(tmp_path: Path) -> None:
    """From weights that say nothing, the student comes to answer new images like its teacher."""
    data = tmp_path / "data"
    write_dagm_like(data, 0, (64, 64), train=(12, 12), test=(4, 4))
    earnest = (*SMALL, "train.epochs=8", "train.learning_rate=0.5", "loss.balance=none")
    teacher = train(data, load_config(settings=earnest), tmp_path / "teacher")
    run = compress(
        teacher.folder, tmp_path / "student", "narrow", epochs=10, learning_rate=2.0, settings=TINY
    )
    assert agreement(build_network(run.config.network, 0).eval(), teacher, run) < 0.2
    assert agreement(Predictor(run.model).backend.network, teacher, run) > 0.3


def agreement(network: torch.nn.Module, teacher: Run, run: Run) -> float:
    """Return the correlation of two networks' cells over the test part."""
    judge, cells = Predictor(teacher.model).backend.network, []
    for sample in teacher.split.test:
        image, _ = load_pixels(sample, run.config)
        unit = torch.from_numpy(to_unit(image).transpose(2, 0, 1)[None])
        with torch.inference_mode():
            cells.append([each(unit)[0].sigmoid().flatten().numpy() for each in (network, judge)])
    mine, theirs = (np.concatenate(column) for column in zip(*cells, strict=True))
    return float(np.corrcoef(mine, theirs)[0, 1])


def test_a_students_normalisation_can_be_frozen(teacher: Run, tmp_path: Path) -> None:
    student = squeeze(teacher, tmp_path / "student")
    frozen = freeze_norm(student.folder, tmp_path / "frozen", epochs=1)
    assert read_model(frozen.model)[0].network.norm == "frozen"
    assert frozen.answers is not None
    judge = Predictor(student.model, "cpu")
    image = judge._prepare(student.split.train[0].image).pixels
    # what the student says itself, not what its teacher told it
    np.testing.assert_allclose(frozen.answers.maps[0], judge.backend([image])[1][0], atol=1e-5)


def test_the_command_lists_the_students_and_trains_one(teacher: Run, tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["compress", str(teacher.folder), "--list"])
    assert listed.exit_code == 0
    for name in ("teacher", *(each.name for each in CANDIDATES)):
        assert re.search(rf"^{name} .* G .*x +\d+ ms$", listed.output, re.MULTILINE)
    assert "chosen" not in listed.output

    out = tmp_path / "student"
    sets = [part for setting in TINY for part in ("--set", setting)]
    command = ["compress", str(teacher.folder), "--out", str(out), "--candidate", "dilated", "--epochs", "1"]
    done = CliRunner().invoke(app, [*command, *sets])
    assert done.exit_code == 0, done.output
    assert re.search(r"^dilated .* chosen$", done.output, re.MULTILINE)
    assert f"Model in {out / 'model'}" in done.output
    assert read_model(out)[0].network.context_form == "dilated"


# ---------------------------------------------------------------------------------------- unlabelled images


@pytest.fixture(scope="module")
def unlabelled(teacher: Run) -> Path:
    """Nine new images, one that teaches already, one that judges, one that is there twice and one damaged."""
    source, folder = teacher.folder.parent / "more", teacher.folder.parent / "unlabelled"
    write_dagm_like(source, 1, (64, 64), train=(6, 3), test=(0, 0))
    folder.mkdir()
    for path in (source / "Train").glob("*.PNG"):
        shutil.copy(path, folder / path.name)
    shutil.copy(next(iter((source / "Train").glob("*.PNG"))), folder / "twice.PNG")
    shutil.copy(teacher.split.train[0].image, folder / "teaches.PNG")
    shutil.copy(teacher.split.test[0].image, folder / "judges.PNG")
    (folder / "damaged.PNG").write_bytes(b"no image")
    return folder


def test_unlabelled_images_teach_the_teachers_decision(
    teacher: Run, unlabelled: Path, tmp_path: Path
) -> None:
    run = squeeze(teacher, tmp_path / "student", images=unlabelled)
    assert run.answers is not None
    assert len(run.answers.unlabelled) == 9
    assert len(run.teaching) == len(run.split.train) + 9
    predictor = Predictor(teacher.model)
    for sample in run.answers.unlabelled:
        assert sample.label == predictor.predict(sample.image).decision
    left_out = {Path(name).name: reason for name, reason in run.meta["unreadable"].items()}
    assert set(left_out) >= {"teaches.PNG", "judges.PNG", "damaged.PNG"}
    assert "test part" in left_out["judges.PNG"]
    assert "already" in left_out["teaches.PNG"]
    assert len(left_out) == 4  # and one of the two that are the same
    hashes = read_hashes(run.model)
    assert hashes is not None
    assert hashes >= set(run.answers.hashes)
    resumed = train(None, run.config, run.folder, resume=True)
    assert resumed.teaching == run.teaching
    assert resumed.image_hashes == run.image_hashes


def test_a_changed_unlabelled_image_stops_a_resume(teacher: Run, unlabelled: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(unlabelled, images)
    run = squeeze(teacher, tmp_path / "student", images=images)
    assert run.answers is not None
    changed = run.answers.unlabelled[0].image
    cv2.imwrite(str(changed), np.zeros((64, 64), np.uint8))
    with pytest.raises(DataError, match=rf"{changed.name} changed or is gone since"):
        train(None, run.config, run.folder, resume=True)


# ------------------------------------------------------------------------------------------- interruptions

CHILD = """
import json, os, signal, sys
from pathlib import Path
from segdec.compress import compress
import accelerate, segdec.scoring, segdec.teaching, torch._dynamo  # imported once, not in each process
teacher, images, settings, jobs = json.loads(sys.argv[1])
for at, out in jobs:
    def watch(now):
        if [now.stage, now.epoch, now.done] == at:
            os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if not child:
        given = {"epochs": 2, "settings": tuple(settings), "watch": watch}
        compress(Path(teacher), Path(out), "narrow", Path(images), **given)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_killed_compression_goes_on_to_the_same_weights(
    teacher: Run, unlabelled: Path, tmp_path: Path
) -> None:
    """Also where the teacher is gone by then."""
    mine = tmp_path / "teacher"
    shutil.copytree(teacher.folder, mine)
    settings = (*TINY, "augment.flip=true", "augment.turn=true")
    whole = compress(mine, tmp_path / "whole", "narrow", unlabelled, epochs=2, settings=settings)
    moments = {
        "asking": ["asking the teacher", 0, 3],
        "first": ["training", 0, 2],
        "last": ["training", 1, 2],
    }
    jobs = [[at, str(tmp_path / name)] for name, at in moments.items()]
    command = [sys.executable, "-c", CHILD, json.dumps([str(mine), str(unlabelled), settings, jobs])]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(moments), done.stderr
    assert not (tmp_path / "asking").exists()

    shutil.rmtree(mine)
    for name in ("first", "last"):
        assert not (tmp_path / name / "model").exists()
        resumed = train(None, load_config(), tmp_path / name, resume=True)
        assert weights(resumed) == weights(whole)


def weights(run: Run) -> bytes:
    return (run.model / "weights.safetensors").read_bytes()


# ------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_compressed_is_refused(teacher: Run, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'no student "tiny"; there are narrow, dilated, shallow, wide'):
        compress(teacher.folder, tmp_path / "out", "tiny")
    with pytest.raises(
        ConfigError, match=r"data.image_size is \(72, 72\), but the teacher .* takes \(64, 64\)"
    ):
        squeeze(teacher, tmp_path / "out", "data.image_size=[72, 72]")
    with pytest.raises(ConfigError, match=r"train.teacher names no model to judge"):
        load_config(settings=(f'data.unlabelled="{data}"',))
    with pytest.raises(ConfigError, match="a teacher answers for whole images"):
        squeeze(teacher, tmp_path / "out", "data.tile=64")
    with pytest.raises(ModelError, match="no model"):
        train(data, load_config(settings=(*SMALL, f'train.teacher="{data}"')), tmp_path / "out")
    with pytest.raises(DataError, match="holds no image"):
        squeeze(teacher, tmp_path / "out", images=teacher.model)
    assert not (tmp_path / "out").exists()
    student = squeeze(teacher, tmp_path / "student")
    with pytest.raises(OutputError, match="holds a run already"):
        squeeze(teacher, student.folder)
    shutil.rmtree(student.model)
    with pytest.raises(ModelError, match="has not ended"):
        compress(student.folder, tmp_path / "out", "narrow")


def test_a_run_on_tiles_cannot_teach(teacher: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(teacher.folder, tmp_path / "tiles"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("[data]\n", "[data]\ntile = 64\n"))
    with pytest.raises(ConfigError, match=r"tiles was trained on tiles \(data\.tile is 64\)"):
        compress(run, tmp_path / "out", "narrow")
    assert not (tmp_path / "out").exists()


def test_what_taught_the_teacher_cannot_judge_the_student(teacher: Run, data: Path, tmp_path: Path) -> None:
    """A split other than the teacher's: one of its training images stands in the test part."""
    other = tmp_path / "other"
    write_dagm_like(other, 3, (64, 64), train=(6, 4), test=(2, 2))
    taught = next(sample for sample in teacher.split.train if not sample.label)
    judge = min((other / "Test").glob("*.PNG"))
    shutil.copy(taught.image, judge)
    config = load_config(settings=(*SMALL, f'train.teacher="{teacher.folder}"'))
    with pytest.raises(
        DataError, match=rf"1 images that the teacher .* trained on \(Test/{judge.name} first"
    ):
        train(other, config, tmp_path / "out")


def test_lost_answers_are_named(teacher: Run, tmp_path: Path) -> None:
    run = squeeze(teacher, tmp_path / "student")
    (run.folder / "answers.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"answers.safetensors holds no answers of a teacher .*compress anew"
    ):
        train(None, run.config, run.folder, resume=True)
