"""The benchmark prints what it promises to: times, waiting, rate, memory, machine."""

import re
from itertools import count
from types import SimpleNamespace

import pytest

from segdec import benchmark
from segdec.benchmark import benchmark_predict, benchmark_train
from segdec.config import load_config
from segdec.errors import ConfigError
from segdec.runtime import cpu_kind

SIZE = (64, 64)


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """A device that reaches 100 G multiply-adds a second; returns in which precisions that was asked."""
    precisions = []
    monkeypatch.setattr(benchmark, "measure_peak", lambda precision: precisions.append(precision) or 1e11)
    return precisions


def figures(lines):
    """Map each row's name to its numbers."""
    rows = [re.split(r"  +", line.strip()) for line in lines]
    return {row[0]: [float(cell.split()[0]) for cell in row[1:]] for row in rows if " ms" in row[-1]}


def measure(timed, **changed):
    told = []
    given = {"image_size": SIZE, "precision": "fp32", "context": "direct", "compiled": False, "runs": 3}
    lines = timed(*(given | changed).values(), lambda done, total: told.append((done, total)))
    return lines, told


@pytest.mark.parametrize(
    ("timed", "parts"),
    [
        (benchmark_train, ["step", "waiting for data", "forward and losses", "backward and update"]),
        (benchmark_predict, ["image, from file to regions", "network alone"]),
    ],
)
def test_every_figure_is_there(timed, parts):
    lines, told = measure(timed)

    found = figures(lines)
    assert list(found) == parts
    for median, fastest, slowest in found.values():
        assert 0 <= fastest <= median <= slowest
    assert lines[0].startswith("machine  ")
    assert "64 x 64" in lines[2]
    assert float(re.fullmatch(r"images per second +([\d.]+)", lines[-2])[1]) > 0
    assert float(re.fullmatch(r"peak memory +([\d.]+) GiB", lines[-1])[1]) > 0
    assert told[-1][0] == told[-1][1] >= 3


def test_the_form_that_was_timed_is_named():
    assert "fp32, spectral context, not compiled" in measure(benchmark_train, context="spectral")[0][1]
    assert "fp32, spectral context, not compiled" in measure(benchmark_predict, context="spectral")[0][1]


def test_a_training_step_is_compared_with_the_peak(asked, monkeypatch):
    clock = count()  # a second goes by between any two looks at it
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    lines, _ = measure(benchmark_train)
    # 64 x 64 is a 64th of 512 x 512, which takes 84.3 G; three times that in a step of three seconds, which
    # are the wait for its data and its two halves
    speed = f"{3 * 84.3 / 64 / 3:.1f} G a second"
    assert f"multiply-adds      {speed}, in the direct form, a backward pass counted as two" in lines
    assert "share of the peak  1 %, as large fp32 products reach 100.0 G a second here" in lines
    assert asked == ["fp32"]


def test_the_spectral_form_may_exceed_the_peak(asked):
    config = load_config(settings=("data.image_size=[512, 512]",))
    learner = SimpleNamespace(precision="bf16", context="spectral")
    assert benchmark._share_of_peak(config, learner, 2.0) == [
        "multiply-adds      126.5 G a second, in the direct form (spectral takes fewer), a backward pass"
        " counted as two",
        "share of the peak  126 %, as large bf16 products reach 100.0 G a second here",
    ]
    assert asked == ["bf16"]


@pytest.mark.parametrize("timed", [benchmark_train, benchmark_predict])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": (500, 512)}, r"multiples of 8"),
        ({"context": "fast"}, "train.context"),
        ({"precision": "fp8"}, "train.precision"),
    ],
)
def test_what_cannot_be_is_refused(timed, changed, message):
    with pytest.raises(ConfigError, match=message):
        measure(timed, **changed)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_predictions_know_two_precisions(precision):
    with pytest.raises(ConfigError, match=r"fp32 or bf16|train\.precision"):
        measure(benchmark_predict, precision=precision)


@pytest.mark.skipif(cpu_kind() == "other", reason="this CPU does not compute in bf16")
def test_predictions_in_bf16():
    assert "bf16, direct context, not compiled" in measure(benchmark_predict, precision="bf16")[0][1]


def test_times_of_a_batch_are_those_of_an_image(monkeypatch):
    clock = count()  # a second goes by between any two looks at it
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    lines = benchmark_predict(SIZE, "fp32", "direct", False, 3, lambda _done, _of: None, batch=4)
    assert all(times == [250, 250, 250] for times in figures(lines).values())
    assert "the prediction of one image in a batch of 4, 64 x 64" in lines[2]
