"""The script that counts what a training step computes runs, and adds up what it counts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "step.py"
SMALL = (
    "network.block_channels=[2, 3, 3]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "network.decision_channels=[2, 2, 2]",
)


@pytest.fixture
def script(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


def test_times_are_added_up_by_kind(script: ModuleType) -> None:
    rows = [
        ("aten::convolution_backward", 3.0),
        ("mkldnn::_convolution_pointwise", 1.0),
        ("aten::bmm", 1.5),
        ("graph_1_cpp_fused_std_mean_relu_3", 0.5),
        ("aten::mkldnn_convolution", 1.0),
        ("aten::cat", 0.1),
    ]
    assert script.by_kind(rows) == {
        "convolutions, backward": 3.0,
        "convolutions, forward": 2.0,
        "matrix products of the spectral form": 1.5,
        "compiled: normalisation, ReLU, pooling, moves": 0.5,
        "aten::cat": 0.1,
    }


def test_a_step_is_counted(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["step.py", "--size", "64", "64", "--precision", "fp32", "--context", "spectral", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", [*given, *(part for each in SMALL for part in ("--set", each))])
    script.main()
    printed = capsys.readouterr().out
    assert "64 x 64, fp32, spectral context, not compiled" in printed
    assert "%  convolutions, backward" in printed
    assert "%  matrix products of the spectral form" in printed
