"""The script that counts layers runs, on a made-up network and on an exported model."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from segdec.export import export

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "layers.py"


@pytest.fixture(scope="module")
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    pytest.importorskip("openvino")
    return load_script(SCRIPT)


def test_layers_are_counted(
    script: ModuleType,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    export(run, ["openvino"], context="spectral")
    monkeypatch.setattr(sys, "argv", ["layers.py", str(run), "--precision", "fp32"])
    script.main()
    printed = capsys.readouterr().out
    total = float(re.search(r"all +([\d.]+) ms", printed)[1])
    assert total > 0
    assert re.search(r"ms +[\d.]+%  Convolution, ", printed)
    kinds, layers = printed.split("by layer")
    for part in (kinds, layers):
        times = [float(found) for found in re.findall(r"^ +([\d.]+) ms", part, re.MULTILINE)]
        assert times == sorted(times, reverse=True)
        assert sum(times) <= total + 0.1


def test_the_machines_peak_is_measured(
    load_script: Callable[[Path], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["layers.py", "--peak", "--side", "64"])
    load_script(SCRIPT).main()
    rows = re.findall(r"^(\w+) +([\d.]+) G multiply-adds a second", capsys.readouterr().out, re.MULTILINE)
    assert [name for name, _ in rows] == ["fp32", "bf16", "int8"]
    assert all(float(peak) > 0 for _, peak in rows)
