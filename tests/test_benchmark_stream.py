"""The script that measures the way from files to decisions runs, and memory does not grow along it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from segdec.config import NetworkConfig
from segdec.predict import Predictor

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "stream.py"
NETWORK = NetworkConfig(
    block_channels=(2, 3, 3),
    block_depths=(1, 1, 1),
    context_channels=4,
    context_kernel=3,
    decision_channels=(2, 2, 2),
)


@pytest.fixture(scope="module")
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def model(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = script.make_model(tmp_path_factory.mktemp("made-up") / "model", NETWORK, (64, 72))
    assert isinstance(folder, Path)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_folder_is_measured(
    script: ModuleType, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = script.make_files(tmp_path, (64, 72), 3)
    predictor = Predictor(model, backend="onnx", allow_uncertified=True, threads=1)
    script.measure_folder(predictor, files, 120, 7)
    printed = capsys.readouterr().out
    assert "images                   120, 3 files" in printed
    busy = re.search(r"network busy +([\d.]+) % of the time", printed)
    assert busy is not None
    assert 0 < float(busy[1]) <= 100
    assert re.findall(r"memory at image (\d+) +\d+ MB, ", printed) == ["100", "120"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_folder_is_measured_in_tiles(
    script: ModuleType, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = script.make_files(tmp_path, (64, 72), 2)  # 115 x 130, so two tiles each way
    predictor = Predictor(model, tile=104, backend="onnx", allow_uncertified=True, threads=1)
    script.measure_folder(predictor, files, 4)
    printed = capsys.readouterr().out
    assert "network                  onnx fp32, tiles of 104, batch 1" in printed
    assert "images                   4, 2 files" in printed


def test_the_start_is_measured(
    script: ModuleType, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (image,) = script.make_files(tmp_path, (64, 72), 1)
    script.measure_start(model, image, "onnx", "fp32", 1)
    times = dict(re.findall(r"^ *(\S.*?) {2,}(\d+) ms", capsys.readouterr().out, re.MULTILINE))
    whole = int(times.pop("first decision written after"))
    assert "processor time of it all" in times
    assert len(times) == 5
    assert 0 < max(map(int, times.values())) < 3 * whole


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_over_ten_thousand_images() -> None:
    command = [sys.executable, str(SCRIPT), "folder", "--network", "quickstart", "--size", "64", "64"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    growth = [int(found) for found in re.findall(r"memory at image .* ([+-]\d+) MB", printed)]
    assert len(growth) == 3
    assert max(growth) <= 50
