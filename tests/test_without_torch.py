"""The installation for the line: without PyTorch, small, quick to start."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from segdec.export import export
from segdec.predict import Predictor
from segdec.runs import open_run

ROOT = Path(__file__).parents[1]
MOST_BYTES = 400 * 1024**2
"""Of the packages, compiled files among them; OpenCV alone takes 150 MB of them."""

HIDE = """
import sys
for name in ("torch", "accelerate", "onnx", "openvino", "scipy", "sklearn", "matplotlib"):
    sys.modules[name] = None
sys.argv[0] = "segdec"
from segdec.cli import main
main()
"""


@pytest.fixture(scope="module")
def run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(trained_run, tmp_path_factory.mktemp("line") / "run"))
    export(folder, ["onnx"])
    return folder


def call(command: list[str | Path], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=200, check=False
    )


def check_line(command: list[str | Path], run: Path, tmp_path: Path) -> None:
    """Predict, measure and check the certificate, with a command in the place of segdec."""
    image = open_run(run).split.test[0].image
    model = shutil.copytree(run / "model", tmp_path / "model")
    done = call(command, "predict", model, image)
    assert done.returncode == 0, done.stderr
    expected = Predictor(run, "cpu").predict(image)
    assert json.loads(done.stdout)["score"] == pytest.approx(expected.score, abs=1e-5)

    done = call(command, "benchmark", "predict", "--model", model, "--runs", 3)
    assert done.returncode == 0, done.stderr
    assert "onnx fp32" in done.stdout
    assert "images per second" in done.stdout

    done = call(command, "predict", model, image, "--backend", "torch")
    assert (done.returncode, "pip install 'segdec[train]'" in done.stderr) == (8, True)
    with (model / "model.onnx").open("ab") as stream:
        stream.write(b"\x12\x00")
    done = call(command, "predict", model, image)
    assert (done.returncode, "was changed after its certification" in done.stderr) == (5, True)


def test_the_line_needs_no_training_part(run: Path, tmp_path: Path) -> None:
    check_line([sys.executable, "-c", HIDE], run, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fresh_environment(run: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    packages = next(home.glob("lib/python*/site-packages"))
    python = home / "bin" / "python"
    source = shutil.copytree(
        ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".*", "runs", "build", "*.egg-info")
    )
    before = size_of(packages)
    options = ["-c", ROOT / "constraints.txt", *os.environ.get("PIP_EXTRA", "").split()]
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *options, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert size_of(packages) - before < MOST_BYTES
    assert call([python, "-c", "import torch"]).returncode != 0
    check_line([home / "bin" / "segdec"], run, tmp_path)
    assert processor_time([home / "bin" / "segdec"], "--help") < 0.5


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def processor_time(command: list[str | Path], *arguments: object) -> float:
    """Return the seconds that a processor works on a command: other programs do not change them."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(command, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)
