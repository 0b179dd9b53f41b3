"""What one step promises beyond the loss that the tests of training see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segdec.config import load_config
from segdec.data.loader import Batch
from segdec.runtime import can_compile
from segdec.step import make_learner, take_step

SETTINGS = (
    "data.image_size=[64, 64]",
    "network.block_channels=[2, 3, 3]",
    "network.block_depths=[1, 1, 1]",
    "network.context_channels=4",
    "network.context_kernel=3",
    "network.decision_channels=[2, 2, 2]",
    "train.precision=bf16",
    "train.compile=true",
)


def made_up_batch(images: int = 1) -> Batch:
    image = np.random.default_rng(0).random((images, 1, 64, 64), np.float32)
    cells = torch.zeros(images, 1, 8, 8)
    place, label = torch.arange(images), torch.zeros(images, 1)
    return Batch(torch.from_numpy(image), cells, torch.ones_like(cells), label, place)


def test_a_process_compiles_as_many_networks_as_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of experiments trains dozens; PyTorch leaves the ninth of a kind uncompiled."""
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_module(self, backend="eager"))
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        for seed in range(4):
            learner = make_learner(load_config(settings=(*SETTINGS, f"train.seed={seed}")))
            take_step(learner, made_up_batch(), 1.0, 1.0)


@pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python's headers")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of PyTorch's compiler
def test_the_decision_teaches_both_stages_compiled_as_it_does_uncompiled() -> None:
    """Compiled, bf16 keeps more digits between layers: no gradient may ask for equal values."""

    def learnt(compiled: str) -> torch.Tensor:
        settings = (*SETTINGS, "train.gradient_adjustment=false", f"train.compile={compiled}")
        learner = make_learner(load_config(settings=settings))
        before = torch.cat([weight.detach().flatten() for weight in learner.network.parameters()])
        take_step(learner, made_up_batch(images=16), 0.0, 1.0)
        return torch.cat([weight.detach().flatten() for weight in learner.network.parameters()]) - before

    plain, compiled = learnt("false"), learnt("true")
    assert torch.linalg.vector_norm(compiled - plain) < 0.2 * torch.linalg.vector_norm(plain)
