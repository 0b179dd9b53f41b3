"""The script that measures tiles runs, and 100 megapixels fit into the memory that is promised."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from segdec.benchmark import write_untrained
from segdec.config import NetworkConfig
from segdec.imaging import write_image
from segdec.predict import Predictor

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "tiles.py"
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


def test_memory_is_measured(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tifffile")
    script.measure_memory((200, 300), 96, NETWORK, tmp_path)
    printed = capsys.readouterr().out
    assert "256 x 300" in printed
    assert re.search(r"prediction's share +\d+ MB", printed)


def test_agreement_is_measured(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    for label in ("good", "defect"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (90, 110), dtype=np.uint8)
            write_image(tmp_path / "data" / label / f"{number}.png", pixels)
    model = tmp_path / "model"
    write_untrained(model, NETWORK, (96, 96), 96)
    assert Predictor(model, "cpu").tiling is not None
    script.measure_agreement(model, 96, tmp_path / "data")
    printed = capsys.readouterr().out
    assert "6, 3 defective" in printed
    assert "scores differ by         0.000000 at most" in printed  # one tile is the whole image
    assert "decisions that differ    0" in printed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_megapixels_take_less_than_a_gigabyte() -> None:
    command = [sys.executable, str(SCRIPT), "memory", "--size", "10000", "10000"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"peak +(\d+) MB", printed)
    assert found is not None
    assert int(found[1]) < 1000
