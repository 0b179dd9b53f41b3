"""Training: what a run writes, and that an interruption changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from segdec.checkpoint import load_checkpoint
from segdec.cli.screen import trained_lines
from segdec.config import dump_toml, load_config
from segdec.data.synthetic import write_dagm_like
from segdec.errors import ConfigError, DataError, ImageError, MissingExtraError, OutputError, TrainingError
from segdec.imaging import write_image
from segdec.losses import balance
from segdec.model_io import IMAGES, read_model, write_model
from segdec.new_run import start_run
from segdec.predict import Predictor
from segdec.progress import Progress
from segdec.train import train

EPOCHS, STEPS = 3, 4
TINY = (
    "data.image_size=[64, 64]",
    "data.channels=1",
    "data.workers=0",
    "data.val_fraction=0.3",
    "network.block_channels=[4, 4, 4]",
    "network.context_channels=8",
    "network.context_kernel=3",
    "loss.delta=0.1",
    f"train.epochs={EPOCHS}",
    "train.batch_size=2",
    "train.learning_rate=0.05",
    "train.validate_every=2",
    "train.precision=fp32",
    "augment.flip=true",
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

# Trains once for each job, in processes of its own that share one start of the interpreter; a watch that
# kills its process makes the moment exact.
CHILD = """
import json, os, sys
from pathlib import Path
from segdec.config import dump_toml, load_config
from segdec.train import train
import accelerate, segdec.scoring, torch._dynamo  # imported once, not in each process

def work(job):
    def watch(now):
        if job["at"] == [now.stage, now.epoch, now.done]:
            os.kill(os.getpid(), job["signal"])
    data, config = job["data"] and Path(job["data"]), load_config(None, tuple(job["settings"]))
    train(data, config, Path(job["out"]), resume=job["resume"], watch=watch)

def start(job, rank):
    child = os.fork()
    if child:
        return child
    if job["ranks"] > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(job["ranks"]))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(job["port"]))
    try:
        work(job)
        os._exit(0)
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        sys.excepthook(*sys.exc_info())
        os._exit(1)

for job in json.loads(sys.argv[1]):
    children = [start(job, rank) for rank in range(job["ranks"])]
    print(max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), key=abs))
"""


def run_jobs(*jobs: dict[str, object]) -> list[int]:
    """Train in processes of their own, one after the other; return their exit codes."""
    plain = {"data": None, "settings": [], "at": None, "signal": signal.SIGKILL, "resume": False, "ranks": 1}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps([plain | job for job in jobs])],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout, done.stderr
    return [int(line) for line in done.stdout.split()]


def recipe(folder: Path, *settings: str) -> list[str]:
    """Write settings as a recipe: what a command is given in full, it does not plan."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(dump_toml(load_config(None, settings)))
    return ["--recipe", str(folder / "recipe.toml")]


def sets(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "model" / "weights.safetensors")


def same(run: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    name = "model/weights.safetensors"
    return (run / name).read_bytes() == (other / name).read_bytes()


def rows(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(run: Path) -> list[tuple[object, ...]]:
    return [
        tuple(row.get(key) for key in ("epoch", "loss", "seg_loss", "images", "val_ap")) for row in rows(run)
    ]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As many threads as the processes of `ENVIRONMENT` have: the sums of other numbers differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "Class1"
    write_dagm_like(folder, 0, (64, 64), train=(14, 6), test=(1, 1))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """A run that was never interrupted."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(data, load_config(None, TINY), out)
    return out


def quick(data: Path, out: Path, *settings: str, **options: object):
    return train(data, load_config(None, (*TINY, "train.epochs=1", *settings)), out, **options)


# -------------------------------------------------------------------------------------------- a whole run


def test_a_run_writes_its_folder(whole, data):
    assert {path.name for path in whole.iterdir()} == {
        "config.toml",
        "meta.json",
        "split.json",
        "images.sha256",
        "log.jsonl",
        "checkpoints",
        "model",
    }
    meta = json.loads((whole / "meta.json").read_text())
    assert meta["data"] == str(data)
    assert meta["seed"] == 0
    assert meta["counts"]["train"] == {"images": 14, "defective": 4}
    assert meta["unreadable"] == {}
    card, arrays = read_model(whole)
    assert card.trained is not None
    assert (card.trained.epoch, card.trained.data_hash) == (EPOCHS, meta["data_hash"])
    assert card.threshold_from == "validation"
    stored, state = load_checkpoint(whole / "checkpoints" / "last.safetensors")
    assert (state.epoch, state.step) == (EPOCHS, 0)
    assert all((stored[name].numpy() == array).all() for name, array in arrays.items())


def test_the_log_has_a_line_for_each_epoch(whole):
    log = rows(whole)
    assert [row["epoch"] for row in log] == list(range(EPOCHS))
    assert [row["seg_factor"] for row in log] == [balance("dynamic", n, EPOCHS)[0] for n in range(EPOCHS)]
    assert all(row["steps"] == STEPS and row["images"] == 2 * STEPS for row in log)
    assert all(0 < row["data_wait"] < row["seconds"] for row in log)
    # validate_every is 2, and the last epoch is always looked at
    assert ["val_ap" in row for row in log] == [False, True, True]


def test_training_learns(data, tmp_path):
    settings = (
        *TINY,
        "train.epochs=20",
        "train.learning_rate=0.5",
        "loss.balance=none",
        "augment.flip=false",
    )
    train(data, load_config(None, settings), tmp_path / "run")
    log = rows(tmp_path / "run")
    assert log[-1]["seg_loss"] < 0.97 * log[0]["seg_loss"]


def test_the_watch_sees_every_stage_in_order(data, tmp_path):
    seen: list[Progress] = []
    quick(data, tmp_path / "run", watch=seen.append)
    stages = list(dict.fromkeys(now.stage for now in seen))
    assert stages == ["reading", "training", "validating", "choosing the threshold"]
    steps = [now for now in seen if now.stage == "training"]
    assert [(now.done, now.total, now.epochs) for now in steps] == [
        (n, STEPS, 1) for n in range(1, STEPS + 1)
    ]
    assert all(set(now.losses or ()) == {"loss", "seg_loss", "dec_loss"} for now in steps)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_give_the_same_weights(whole, data, tmp_path):
    settings = (*TINY, "data.workers=2", "data.cache_mib=0")
    train(data, load_config(None, settings), tmp_path / "run")
    assert losses(tmp_path / "run") == losses(whole)
    assert same(tmp_path / "run", whole)


def test_another_seed_gives_other_weights(whole, data, tmp_path):
    train(data, load_config(None, (*TINY, "train.seed=1")), tmp_path / "run")
    assert not same(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "setting",
    [
        "train.gradient_adjustment=false",
        "train.frequency_of_use=false",
        "loss.distance_weights=false",
        "loss.balance=none",
        "loss.decision_target=soft",
    ],
)
def test_every_part_of_the_method_can_be_switched(whole, data, tmp_path, setting):
    train(data, load_config(None, (*TINY, setting)), tmp_path / "run")
    assert not same(tmp_path / "run", whole)


# ------------------------------------------------------------------------------------------- interruptions

KILLS = {
    "in the first epoch": ["training", 0, 2],
    "right after the first checkpoint": ["training", 1, 1],
    "in the first validation": ["validating", 0, 2],
    "at the last step": ["training", EPOCHS - 1, STEPS],
    "while choosing the threshold": ["choosing the threshold", 0, 1],
}
LOGGED = ("in the first epoch", "right after the first checkpoint")
"""Here a line is added to the log, as if the run had been killed between the log and the checkpoint."""
STOPS = {
    "Ctrl-C in the first step": (["training", 0, 1], (0, 1)),
    "Ctrl-C in the second epoch": (["training", 1, 3], (1, 3)),
    # the epoch is ended first, and stopped after the first step of the next one
    "Ctrl-C while validating": (["validating", 0, 1], (2, 1)),
}


def test_an_interrupted_run_resumes_to_the_same_weights(whole, data, tmp_path):
    outs = {moment: tmp_path / moment for moment in (*KILLS, *STOPS)}
    plan = {"data": str(data), "settings": TINY}
    kills = [plan | {"out": str(outs[moment]), "at": at} for moment, at in KILLS.items()]
    stops = [
        plan | {"out": str(outs[moment]), "at": at, "signal": signal.SIGINT}
        for moment, (at, _) in STOPS.items()
    ]
    assert run_jobs(*kills, *stops) == [-signal.SIGKILL] * len(KILLS) + [130] * len(STOPS)
    assert not any((out / "model").exists() for out in outs.values())
    for moment, (_, where) in STOPS.items():
        _, state = load_checkpoint(outs[moment] / "checkpoints" / "last.safetensors")
        assert (state.epoch, state.step) == where, moment
    for epoch, moment in enumerate(LOGGED):
        with (outs[moment] / "log.jsonl").open("a") as log:
            log.write(json.dumps({"epoch": epoch, "loss": 1.0}) + '\n{"epoch": 1, "lo')

    assert run_jobs(*({"out": str(out), "resume": True} for out in outs.values())) == [0] * len(outs)
    for moment, out in outs.items():
        assert same(out, whole), moment
        assert losses(out) == losses(whole), moment
        assert not [path for path in out.rglob("*") if path.name.endswith(".part")], moment


def test_a_finished_run_resumes_to_itself(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "model")
    train(None, load_config(), out, resume=True)
    assert same(out, whole)
    assert losses(out) == losses(whole)


def test_a_run_that_has_ended_keeps_its_calibration_and_learns_where_its_data_are(whole, data, tmp_path):
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    card, weights = read_model(out)
    calibrated = card.model_copy(update={"threshold": 0.123, "threshold_from": "calibration"})
    write_model(out / "model", calibrated, weights, {IMAGES: (out / "model" / IMAGES).read_bytes()})
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    before = {path.name: path.read_bytes() for path in (out / "model").iterdir()}
    train(moved, load_config(), out, resume=True)
    assert {path.name: path.read_bytes() for path in (out / "model").iterdir()} == before
    assert losses(out) == losses(whole)
    assert json.loads((out / "meta.json").read_text())["data"] == str(moved)


def test_the_command_killed_and_resumed(whole, data, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "segdec", "train", str(data), "--out", str(out)]
    command += recipe(tmp_path, *TINY)
    first = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "checkpoints" / "last.safetensors").exists(), first)
    first.kill()
    first.wait()

    command = [sys.executable, "-m", "segdec", "train", "--resume", "--out", str(out)]
    second = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert same(out, whole)


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None or condition()
        time.sleep(0.005)


def test_ctrl_c_says_how_to_go_on(data, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "segdec", "train", str(data), "--out", str(out)]
    command += sets(*TINY, "train.epochs=100000")
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (out / "log.jsonl").exists(), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"segdec train --resume --out {out}" in said
    assert "Traceback" not in said
    _, state = load_checkpoint(out / "checkpoints" / "last.safetensors")
    assert state.epoch >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_service_that_is_stopped_keeps_all(data, tmp_path):
    """A service manager sends SIGTERM to every process, the loader's workers among them."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "segdec", "train", str(data), "--out", str(out)]
    command += sets(*TINY, "train.epochs=100000", "data.workers=1")
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: (out / "log.jsonl").exists(), process)
    workers = [
        int(each) for each in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    assert workers
    for number in (*workers, process.pid):
        os.kill(number, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"segdec train --resume --out {out}" in said
    until = time.monotonic() + 20
    while any(Path(f"/proc/{number}").exists() for number in workers):
        assert time.monotonic() < until
        time.sleep(0.1)


# --------------------------------------------------------------------------------------- several processes


SHARED = (*TINY, "train.batch_size=4", "train.epochs=2", "train.learning_rate=0.001")
"""float32's rounding grows with every step: a low rate keeps it small."""


def agree(run: Path, other: Path) -> None:
    """Check that two runs are the same but for the order of their sums."""
    expected = weights(other)
    for name, array in weights(run).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6, err_msg=name)
    for mine, theirs in zip(rows(run), rows(other), strict=True):
        for key in ("epoch", "images", "steps", "loss", "seg_loss", "dec_loss"):
            assert mine[key] == pytest.approx(theirs[key], abs=1e-6), key


def test_parts_of_a_batch_give_the_step_of_the_batch(data, tmp_path):
    train(data, load_config(None, SHARED), tmp_path / "one")
    train(data, load_config(None, (*SHARED, "train.accumulate=3")), tmp_path / "parts")
    agree(tmp_path / "parts", tmp_path / "one")


def test_two_processes_give_the_weights_of_one(data, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "localhost:0",
        "-m",
        "segdec",
        "train",
        str(data),
    ]
    command += ["--out", str(tmp_path / "two"), *recipe(tmp_path, *SHARED)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model in ") == 1
    train(data, load_config(None, SHARED), tmp_path / "one")
    agree(tmp_path / "two", tmp_path / "one")


def test_two_processes_with_parts_and_a_resume(data, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = {"data": str(data), "settings": (*SHARED, "train.accumulate=2"), "ranks": 2, "port": port}
    job["out"] = str(tmp_path / "two")
    # the process that watches is killed; the other one ends with an error
    killed = job | {"at": ["training", 1, 1]}
    assert run_jobs(killed, job | {"resume": True, "settings": []}) == [-signal.SIGKILL, 0]
    train(data, load_config(None, SHARED), tmp_path / "one")
    agree(tmp_path / "two", tmp_path / "one")


# ------------------------------------------------------------------------------------------------ refusals


def test_a_loss_that_is_not_finite_names_epoch_and_images(data, tmp_path):
    with pytest.raises(
        TrainingError, match=r"nan.* in epoch \d on Train/\d+\.PNG, .*learning_rate"
    ) as caught:
        quick(data, tmp_path / "run", "train.learning_rate=1e30", "train.epochs=4")
    assert caught.value.exit_code == 6
    assert not (tmp_path / "run" / "model").exists()


def test_weights_that_are_not_finite_at_the_end_are_no_model(data, tmp_path, monkeypatch):
    """The last step of all ruins the weights: no later loss tells."""
    taken = []
    real = torch.optim.SGD.step

    def step(self, *args, **kwargs):
        real(self, *args, **kwargs)
        taken.append(1)
        if len(taken) == STEPS:
            for group in self.param_groups:
                group["params"][0].data.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    with pytest.raises(TrainingError, match=r"not finite after epoch 1.*learning_rate"):
        quick(data, tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()


@pytest.fixture
def damaged(data, tmp_path) -> Path:
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    (folder / "Train" / "0003.PNG").write_bytes(b"")
    return folder


def test_an_unreadable_image_is_left_out_counted_and_listed(damaged, tmp_path):
    run = quick(damaged, tmp_path / "run")
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    assert list(meta["unreadable"]) == ["Train/0003.PNG"]
    assert "0003.PNG is empty" in meta["unreadable"]["Train/0003.PNG"]
    assert meta["counts"]["train"]["images"] + meta["counts"]["val"]["images"] == 19
    assert "Train/0003.PNG" not in (tmp_path / "run" / "split.json").read_text()
    assert run.meta["unreadable"] == meta["unreadable"]


def test_strict_makes_an_unreadable_image_fatal(damaged, tmp_path):
    with pytest.raises(ImageError, match=r"0003\.PNG is empty"):
        quick(damaged, tmp_path / "run", "data.strict=true")
    assert not (tmp_path / "run").exists()


def test_an_image_that_predictions_would_refuse_does_not_teach(data, tmp_path):
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    write_image(folder / "Train" / "0003.PNG", np.full((40, 64), 90, np.uint8))
    run = quick(folder, tmp_path / "run")
    assert list(run.meta["unreadable"]) == ["Train/0003.PNG"]
    assert "too small: 40 x 64 pixels" in run.meta["unreadable"]["Train/0003.PNG"]
    again = train(None, run.config, tmp_path / "run", resume=True)  # the data are still the same
    assert again.split.train == run.split.train
    with pytest.raises(ImageError, match="too small: 40 x 64 pixels"):
        quick(folder, tmp_path / "strict", "data.strict=true")


def test_nothing_left_to_teach_says_why(data, tmp_path):
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    for path in (folder / "Train").glob("*.PNG"):
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=r"got 0 with and 14 without; .* \(6 images were left out .*is empty.*"
    ):
        quick(folder, tmp_path / "run", "data.val_fraction=0")
    assert not (tmp_path / "run").exists()


def test_one_kind_that_cannot_be_used_says_why(data, tmp_path):
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    for path in (folder / "Train").glob("*.PNG"):
        if not (path.parent / "Label" / f"{path.stem}_label.PNG").exists():
            path.write_bytes(b"")
    with pytest.raises(DataError, match=r"what cannot be used one kind is missing: .*\.PNG is empty"):
        quick(folder, tmp_path / "run", "data.val_fraction=0")
    assert not (tmp_path / "run").exists()


def test_too_few_images_left_after_the_unreadable_ones(data, tmp_path):
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    for mask in (folder / "Train" / "Label").glob("*_label.PNG"):
        mask.write_bytes(b"")
    with pytest.raises(DataError, match="without"):
        quick(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("train.precision=fp16", ConfigError, "fp16 needs a GPU"),
        ("train.batch_size=9", DataError, "does not fill one batch of 9"),
        ("train.accumulate=3", ConfigError, "batch_size must be at least 3"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU trains in fp16")
def test_what_cannot_be_trained_leaves_no_run_behind(data, tmp_path, setting, error, message):
    with pytest.raises(error, match=message):
        quick(data, tmp_path / "run", setting)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(whole, data):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    with pytest.raises(OutputError, match="holds a run already; go on with it by --resume"):
        quick(data, whole)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_resume_refuses_another_computation(whole, tmp_path):
    with pytest.raises(
        ConfigError, match=r"train\.learning_rate was 0\.05 when the run began and cannot become 1\.0"
    ):
        train(None, load_config(), whole, resume=True, settings=("train.learning_rate=1.0",))


def test_resume_refuses_other_data(whole, data, tmp_path):
    moved, out = tmp_path / "Class1", tmp_path / "run"
    shutil.copytree(data, moved)
    shutil.copytree(whole, out)
    shutil.rmtree(out / "model")
    train(moved, load_config(), out, resume=True)  # the same files in another place are the same data
    assert same(out, whole)
    image = moved / json.loads((out / "split.json").read_text())["train"][0]
    shutil.copy(next(path for path in image.parent.glob("*.PNG") if path != image), image)
    with pytest.raises(DataError, match="changed since"):
        train(moved, load_config(), out, resume=True)


def test_no_data_and_nothing_to_resume(tmp_path):
    with pytest.raises(DataError, match="no data set given"):
        train(None, load_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------- single settings


def test_best_keeps_the_best_epoch(data, tmp_path, monkeypatch):
    import segdec.scoring

    aps = iter([0.5, 0.9, 0.9, 0.7])
    monkeypatch.setattr(segdec.scoring, "validation_ap", lambda *_: next(aps))
    settings = ("train.select=best", "train.epochs=4", "train.validate_every=1")
    run = quick(data, tmp_path / "run", *settings)
    card, arrays = read_model(run.model)
    assert card.trained is not None
    assert card.trained.epoch == 2  # the first of two equally good ones
    best, state = load_checkpoint(run.checkpoints / "best.safetensors")
    assert (state.best_ap, state.best_epoch) == (0.9, 1)
    assert all((best[name].numpy() == array).all() for name, array in arrays.items())
    last, _ = load_checkpoint(run.checkpoints / "last.safetensors")
    assert any(not torch.equal(last[name], best[name]) for name in last)


def test_without_validation_data_the_threshold_is_the_training_parts(data, tmp_path):
    run = quick(data, tmp_path / "run", "data.val_fraction=0")
    assert read_model(run.model)[0].threshold_from == "train"
    assert "val_ap" not in rows(tmp_path / "run")[0]


def test_bf16_trains_and_keeps_weights_in_fp32(data, tmp_path):
    quick(data, tmp_path / "fp32")
    quick(data, tmp_path / "bf16", "train.precision=bf16")  # another precision in the same process
    full, half = weights(tmp_path / "fp32"), weights(tmp_path / "bf16")
    assert all(array.dtype == np.float32 for array in half.values())
    assert any((full[name] != half[name]).any() for name in full)
    assert rows(tmp_path / "bf16")[0]["loss"] == pytest.approx(rows(tmp_path / "fp32")[0]["loss"], rel=0.05)


def test_tensorboard_writes_events(data, tmp_path):
    pytest.importorskip("tensorboard")
    quick(data, tmp_path / "run", "train.tensorboard=true")
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_tensorboard_that_is_not_installed(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'segdec\[track\]'"):
        quick(data, tmp_path / "run", "train.tensorboard=true")
    assert not (tmp_path / "run").exists()


def test_weak_images_are_trained_on(data, tmp_path):
    folder = tmp_path / "Class1"
    shutil.copytree(data, folder)
    table = folder / "table.jsonl"
    images = sorted((folder / "Train").glob("*.PNG"))
    masks = {path.name[:4] for path in (folder / "Train" / "Label").glob("*_label.PNG")}
    lines = [{"image": str(path), "label": int(path.stem in masks)} for path in images]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = ("train.gradient_adjustment=false", "loss.balance=decision", "loss.delta=1", "train.epochs=2")
    run = quick(table, tmp_path / "run", *settings)
    assert all(sample.weak for sample in run.split.train if sample.label)
    assert all(row["loss"] == pytest.approx(row["dec_loss"]) for row in rows(tmp_path / "run"))
    # nothing told the first stage which sign a defect has, so no place of an image may be called one
    predictor = Predictor(run.folder, "cpu")
    assert not any(predictor.predict(path).regions for path in images)
    assert any("marks no regions" in line for line in trained_lines(run))


def test_a_validation_part_without_any_annotation_chooses_nothing(data, tmp_path):
    """Its images are all defective and without masks: no AP, and both thresholds stay where they are."""
    masks = {path.name[:4]: path for path in (data / "Train" / "Label").glob("*_label.PNG")}
    lines = []
    for path in sorted((data / "Train").glob("*.PNG")):
        part = "val" if path.stem in list(masks)[:2] else "train"
        mask = str(masks[path.stem]) if path.stem in masks and part == "train" else ""
        lines.append({"image": str(path), "label": int(path.stem in masks), "mask": mask, "split": part})
    for path in sorted((data / "Test").glob("*.PNG")):
        lines.append({"image": str(path), "label": 0, "mask": "", "split": "test"})
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = quick(table, tmp_path / "run")
    card, _ = read_model(run.model)
    assert (card.threshold, card.pixel_threshold, card.threshold_from) == (0.5, 0.5, "default")
    assert rows(tmp_path / "run")[0]["val_ap"] is None


def test_reading_is_not_writing(data, tmp_path):
    """The run folder appears once everything that can be refused was accepted."""
    run = start_run(data, load_config(None, TINY), tmp_path / "run")
    assert SimpleNamespace(**run.meta).layout == "dagm"
    assert not (tmp_path / "run").exists()
