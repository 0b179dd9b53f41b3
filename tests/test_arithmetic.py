"""Multiply-adds are counted as PyTorch counts them, and measured with a clock that waits for the device."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from segdec import arithmetic
from segdec.arithmetic import measure_peak, multiply_adds
from segdec.config import NetworkConfig
from segdec.network import build_network


@pytest.mark.parametrize("form", ["full", "separable", "dilated"])
@pytest.mark.parametrize("size", [(64, 64), (80, 232)])
def test_multiply_adds_are_those_that_torch_counts(form: str, size: tuple[int, int]) -> None:
    config = NetworkConfig(
        in_channels=3,
        block_channels=(3, 4, 5),
        block_depths=(1, 2, 2),
        context_channels=6,
        context_kernel=5,
        context_form=form,  # type: ignore[arg-type]
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build_network(config, 0)(torch.zeros(1, 3, *size))
    assert counter.get_total_flops() == 2 * multiply_adds(config, size)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A second goes by between any two looks at the clock; what was done, in order."""
    done: list[str] = []
    clock = count()

    def look() -> float:
        done.append("clock")
        return float(next(clock))

    monkeypatch.setattr(arithmetic, "time", SimpleNamespace(perf_counter=look))
    monkeypatch.setattr(arithmetic, "wait_for_device", lambda: done.append("wait"))
    return done


@pytest.mark.parametrize(
    ("precision", "peak"),
    [
        ("fp32", 2 * 2 * 9 * 62**2),  # the convolution: 2 channels are an eighth of 16
        ("bf16", 2 * 2 * 9 * 62**2),
        ("int8", 16**3),
    ],
)
def test_a_peak_is_the_multiply_adds_of_a_second(precision: str, peak: int, looks: list[str]) -> None:
    assert measure_peak(precision, 16) == peak  # type: ignore[arg-type]


def test_the_product_counts_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "_speed", lambda count, *_: count if count == 16**3 else 1.0)
    assert measure_peak("fp32", 16) == 16**3


def test_the_clock_waits_for_the_device(looks: list[str]) -> None:
    arithmetic._speed(1, lambda: looks.append("compute"))
    assert looks == ["wait", "clock", "compute", "wait", "clock"] * (len(looks) // 5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
@pytest.mark.parametrize(("side", "rows"), [(None, 8192), (64, 64)])
def test_the_peak_is_that_of_the_device_in_use(
    precision: str, side: int | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without contents stand for those of a GPU."""
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(arithmetic, "device_type", lambda: "meta")
    monkeypatch.setattr(
        arithmetic, "_speed", lambda _count, _compute, *operands: seen.extend(operands) or 1.0
    )
    measure_peak(precision, side)  # type: ignore[arg-type]
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
    assert {(each.device.type, each.dtype) for each in seen} == {("meta", kinds[precision])}
    assert [each.shape for each in seen[:2]] == [(rows, rows)] * 2
