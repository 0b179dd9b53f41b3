"""Who does a run when several could: stopped, silent, frozen and taken over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segdec import runtime
from segdec.data.synthetic import write_dagm_like
from segdec.experiments import find_table, plan
from segdec.experiments.claims import claim
from segdec.experiments.work import CLAIMS, work

TINY = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "network.block_channels=[2, 2, 2]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "train.precision=fp32",
    "train.batch_size=2",
    "train.epochs=3",
)
STALE_S = 2.0

FREEZER = f"""
import os, signal, sys
from pathlib import Path
from segdec.experiments import find_table, plan
from segdec.experiments.work import work

def freeze(job, now):
    if (now.stage, now.done) == ("evaluating", 1):
        os.kill(os.getpid(), signal.SIGSTOP)

jobs = plan(find_table("dagm"), [sys.argv[1]], Path(sys.argv[2]), rows=("class1",), settings={TINY!r})
work(jobs, lambda job: print("settled", job.fold), freeze, stale_s={STALE_S}, poll_s=0.1)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("DAGM")
    for number in (1, 2):
        write_dagm_like(folder / f"Class{number}", number, (64, 64), (6, 4), (4, 3))
    return folder


def jobs_in(out, data, *rows):
    return plan(find_table("dagm"), [str(data)], out, rows=rows, settings=TINY)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def claimed_elsewhere(job) -> None:
    """Claim a job as another machine does that took it over."""
    folder = job.folder / CLAIMS
    last = max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    (folder / str(last + 1)).write_text(json.dumps({"host": "elsewhere", "pid": 1}))


def test_who_was_taken_over_lets_go_and_goes_on_once_the_other_falls_silent(tmp_path, data):
    one, other = jobs_in(tmp_path, data, "class1", "class2")
    done, began = [], []

    def lose(job, now):
        if job is one and now.stage == "training" and not began:
            began.append(time.monotonic())
            claimed_elsewhere(job)

    work(
        [one, other], lambda job: done.append((job.fold, time.monotonic())), lose, stale_s=STALE_S, poll_s=0.1
    )
    assert [fold for fold, _ in done] == ["class2", "class1"], "the other run came first, as this was lost"
    assert done[1][1] - began[0] >= STALE_S
    assert len(lines_of(one.folder / "sessions.jsonl")) == 2
    assert [line["epoch"] for line in lines_of(one.folder / "log.jsonl")] == [0, 1, 2]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="freezes a process")
def test_a_frozen_process_loses_its_run_and_writes_nothing_when_it_wakes(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, "class1")
    frozen = subprocess.Popen(
        [sys.executable, "-c", FREEZER, str(data), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        _, status = os.waitpid(frozen.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not job.settled
        done = []
        work([job], done.append, stale_s=STALE_S, poll_s=0.1)
        assert done == [job]
        kept = {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()}
    finally:
        frozen.send_signal(signal.SIGCONT)
    said, _ = frozen.communicate(timeout=60)
    assert (frozen.returncode, said) == (0, ""), "it settled nothing, and ended in peace"
    assert {path: path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == kept
    assert len(lines_of(job.folder / "sessions.jsonl")) == 2


def test_nothing_is_begun_when_it_is_to_stop(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, "class1")
    with pytest.raises(KeyboardInterrupt):
        work([job], lambda _: None, keep_going=lambda: False)
    assert not job.folder.exists()


def test_a_training_that_is_told_to_stop_leaves_its_run_to_others(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, "class1")
    seen = []

    def going() -> bool:
        return not any(now.stage == "training" and now.epoch == 1 for now in seen)

    with pytest.raises(KeyboardInterrupt):
        work([job], lambda _: None, lambda _, now: seen.append(now), keep_going=going)
    assert not job.settled
    assert [line["epoch"] for line in lines_of(job.folder / "log.jsonl")] == [0]
    held = claim(job.folder / CLAIMS)
    assert held is not None, "its claim was given up"
    with held:
        pass
    work([job], lambda _: None)
    assert [line["epoch"] for line in lines_of(job.folder / "log.jsonl")] == [0, 1, 2]
    assert len(lines_of(job.folder / "sessions.jsonl")) == 2


def test_a_run_keeps_the_form_of_its_context_convolution_until_it_goes_on_elsewhere(
    tmp_path, data, monkeypatch
):
    (job,) = jobs_in(tmp_path, data, "class1")
    given = []

    def stop(*_, settings, **__):
        given.append(settings)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work([job], lambda _: None, lambda _, now: now.epoch == 1 and stop(settings=()))
    monkeypatch.setattr("segdec.experiments.work.train", stop)
    for machine in (runtime.machine(), {"cpu": "another"}):
        monkeypatch.setattr("segdec.experiments.work.machine", lambda machine=machine: machine)
        with pytest.raises(KeyboardInterrupt):
            work([job], lambda _: None)
    _, here, elsewhere = given
    assert set(elsewhere) - set(here) == {'train.context="auto"'}


def test_who_waits_for_another_can_be_stopped(tmp_path, data):
    (job,) = jobs_in(tmp_path, data, "class1")
    with claim(job.folder / CLAIMS):
        asked = []

        def going() -> bool:
            asked.append(True)
            return len(asked) < 5

        with pytest.raises(KeyboardInterrupt):
            work([job], lambda _: None, keep_going=going, poll_s=0.01)
    assert not (job.folder / "config.toml").exists()
