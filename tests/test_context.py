"""The form of the context convolution: measured, by a made-up clock here, and remembered."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from segdec import context
from segdec.config import Config, load_config
from segdec.data.synthetic import write_dagm_like
from segdec.network import ContextConv
from segdec.runs import Run
from segdec.runtime import Precision, make_accelerator
from segdec.step import make_learner
from segdec.train import train

SMALL = (
    "data.image_size=[64, 64]",
    "data.workers=0",
    "network.block_channels=[2, 2, 2]",
    "network.block_depths=[1, 1, 1]",
    "network.decision_channels=[2, 2, 2]",
    "train.precision=fp32",
    "train.batch_size=2",
    "train.epochs=1",
)
MEASURED = (*SMALL, "network.context_channels=256", "network.context_kernel=11")
NOT_MEASURED = (*SMALL, "network.context_channels=4", "network.context_kernel=11")


class Machine:
    """Passes of the context convolution take as long as is said, a third of it forward, and are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, direct: float, spectral: float) -> None:
        self.seconds = {"direct": direct, "spectral": spectral}
        self.now = 0.0
        self.passes: Counter[str] = Counter()
        self.seen: list[Tensor] = []
        self.maps = torch.empty(0)
        monkeypatch.setattr(context, "time", SimpleNamespace(perf_counter=lambda: self.now))
        forward = ContextConv.forward

        def timed(layer: ContextConv, x: Tensor) -> Tensor:
            self.passes[layer.form] += 1
            self.seen.append(x)
            self.maps = forward(layer, x)
            self.wait(self.seconds[layer.form] / 3)
            if self.maps.requires_grad:
                self.maps.register_hook(lambda _: self.wait(self.seconds[layer.form] * 2 / 3))
            return self.maps

        monkeypatch.setattr(ContextConv, "forward", timed)

    def wait(self, seconds: float) -> None:
        self.now += seconds


def measured(settings: tuple[str, ...], precision: Precision = "fp32") -> str:
    config = load_config(settings=settings)
    return context.measure_context(config, make_accelerator(precision, config.train.accumulate))


@pytest.mark.parametrize(
    ("direct", "spectral", "form", "passes"),
    [
        (1.0, 2.0, "direct", 3),
        (0.9, 1.0, "spectral", 3),  # next to a tie
        (1.5, 1.0, "spectral", 3),
        (4.0, 1.0, "spectral", 1),  # its forward half alone is slower
    ],
)
def test_the_faster_form_is_taken(
    monkeypatch: pytest.MonkeyPatch, direct: float, spectral: float, form: str, passes: int
) -> None:
    machine = Machine(monkeypatch, direct, spectral)
    state = torch.get_rng_state()
    assert measured(MEASURED) == form
    assert machine.passes == {"spectral": 3, "direct": passes}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ((), (2, 2, 8, 8)),
        (("train.batch_size=8", "train.accumulate=3"), (3, 2, 8, 8)),
        (("train.batch_size=1000",), (192, 2, 8, 8)),
        (("data.image_size=[104, 64]",), (2, 2, 13, 8)),
    ],
)
def test_it_is_measured_at_the_size_of_a_pass_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch, changes: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    machine = Machine(monkeypatch, 9.0, 1.0)
    measured((*MEASURED, *changes))
    assert {tuple(x.shape) for x in machine.seen} == {shape}
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in machine.seen)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_it_is_measured_in_the_precision_of_the_run(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, dtype: torch.dtype
) -> None:
    machine = Machine(monkeypatch, 9.0, 1.0)
    measured(MEASURED, precision)
    assert machine.maps.dtype == dtype


@pytest.mark.parametrize(
    "settings",
    [NOT_MEASURED, (*MEASURED, "network.context_kernel=5"), (*MEASURED, 'network.context_form="separable"')],
)
def test_what_gains_nothing_from_the_spectral_form_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    machine = Machine(monkeypatch, 2.0, 1.0)
    assert measured(settings) == "direct"
    assert not machine.passes


@pytest.mark.parametrize("form", ["direct", "spectral"])
def test_a_setting_wins_unmeasured(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    machine = Machine(monkeypatch, 1.0, 1.0)
    learner = make_learner(load_config(settings=(*MEASURED, f"train.context={form}")))
    assert learner.context == form
    assert not machine.passes


def test_several_processes_follow_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 1.0, 2.0)
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    monkeypatch.setattr("segdec.step.choose_context", lambda *_: "spectral")
    assert make_learner(load_config(settings=MEASURED)).context == "spectral"
    assert not machine.passes


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run on a machine whose direct form is the faster one."""
    write_dagm_like(tmp_path / "data", 0, (64, 64), train=(4, 4), test=(2, 2))
    Machine(monkeypatch, 1.0, 2.0)
    return train(tmp_path / "data", load_config(settings=MEASURED), tmp_path / "run")


def stored(run: Run) -> Config:
    return load_config(run.folder / "config.toml")


def test_a_run_remembers_what_was_measured(run: Run) -> None:
    assert run.config.train.context == "direct"
    assert stored(run) == run.config


def test_a_resumed_run_measures_only_if_it_is_told_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(run.checkpoints)
    run.checkpoints.mkdir()
    monkeypatch.setattr("segdec.step.measure_context", lambda *_: "spectral")
    assert train(None, run.config, run.folder, resume=True).config.train.context == "direct"
    again = train(None, run.config, run.folder, resume=True, settings=("train.context=auto",))
    assert again.config.train.context == "spectral"
    assert stored(run).train.context == "direct"
