"""Claims: one owner at a time, whoever races, and a dead owner's claim is free."""

import json
import os
import subprocess
import sys
import time

import pytest

from segdec.experiments import claims
from segdec.experiments.claims import claim, host

RACER = """
import sys, time
from pathlib import Path
from segdec.experiments.claims import claim
folder = Path(sys.argv[1])
while time.time() < float(sys.argv[2]):  # all start at once
    pass
for number in range(40):
    held = claim(folder / str(number))
    if held is not None:
        with held, open(folder / f"won-{number}", "a") as stream:
            stream.write("x")
            stream.flush()
            time.sleep(0.002)
"""


def owned(path, *, pid=None, where=None, age_s=0.0):
    """Write a claim as its owner would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": where or host(), "pid": pid or os.getpid()}))
    then = time.time() - age_s
    os.utime(path, (then, then))


def gone_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_held_claim_is_held_and_a_given_up_one_free(tmp_path):
    with claim(tmp_path) as held:
        assert held.held
        assert claim(tmp_path) is None
    with claim(tmp_path) as again:
        assert again is not None


def test_an_error_gives_the_claim_up(tmp_path):
    with pytest.raises(ZeroDivisionError), claim(tmp_path):
        1 / 0  # noqa: B018
    assert claim(tmp_path) is not None


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path):
    owned(tmp_path / "1", pid=gone_pid())
    assert claim(tmp_path) is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_zombie_holds_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        for _ in range(200):
            owned(tmp_path / "1", pid=process.pid)  # ended, but not waited for
            if claims._is_gone(process.pid):
                break
            time.sleep(0.05)
        assert claim(tmp_path) is not None
    finally:
        process.wait()


@pytest.mark.parametrize(("age_s", "free"), [(10, False), (250, False), (350, True)])
def test_another_machine_holds_as_long_as_its_heart_beats(tmp_path, age_s, free):
    owned(tmp_path / "1", pid=gone_pid(), where="elsewhere", age_s=age_s)
    assert (claim(tmp_path, stale_s=300) is not None) == free


def test_a_claim_that_is_being_written_holds(tmp_path):
    (tmp_path / "1").write_text("")
    assert claim(tmp_path) is None


def test_who_was_silent_learns_that_the_run_was_taken_over(tmp_path):
    with claim(tmp_path) as slow:
        os.utime(slow.path, (1, 1))
        slow.path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
        os.utime(slow.path, (1, 1))
        with claim(tmp_path) as quick:
            assert quick.held
            assert not slow.held


def test_the_heart_beats(tmp_path):
    with claim(tmp_path, stale_s=0.5) as held:
        before = held.path.stat().st_mtime_ns
        time.sleep(0.3)
        assert held.path.stat().st_mtime_ns > before


def test_racing_processes_never_hold_the_same_claim_at_once(tmp_path):
    start = str(time.time() + 3)
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(tmp_path), start], env=os.environ)
        for _ in range(3)
    ]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    for number in range(40):
        won = (tmp_path / f"won-{number}").read_text()
        # one after the other they may each have held it, and each holding made a claim of its own
        assert len(won) == len(list((tmp_path / str(number)).iterdir())) >= 1
