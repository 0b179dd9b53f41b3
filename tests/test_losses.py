"""The losses: numerically stable, per image, in float32."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.losses import balance, decision_loss, segmentation_loss


@given(epochs=st.integers(1, 500), data=st.data())
@settings(max_examples=50, deadline=None)
def test_the_dynamic_balance_is_a_convex_mix_that_moves_one_way(epochs, data):
    epoch = data.draw(st.integers(0, epochs - 1))
    seg, dec = balance("dynamic", epoch, epochs)
    assert seg + dec == pytest.approx(1)
    assert 0 < seg <= 1
    if epoch:
        assert seg < balance("dynamic", epoch - 1, epochs)[0]


def reference(logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    p = logit.double().sigmoid()
    return -(target * p.log() + (1 - target) * (1 - p).log())


@given(seed=st.integers(0, 1000), images=st.integers(1, 3), height=st.integers(1, 5), width=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_losses_are_cross_entropy_per_image(seed, images, height, width):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 1, height, width)
    logits = torch.randn(shape, generator=generator) * 3
    target, weights = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator) * 5
    expected = (reference(logits, target.double()) * weights).sum((1, 2, 3)) / (height * width)
    torch.testing.assert_close(
        segmentation_loss(logits, target, weights).double(), expected, rtol=1e-4, atol=1e-5
    )
    dec, label = logits[:, :, 0, 0], target[:, :, 0, 0]
    expected = reference(dec, label.double())[:, 0]
    torch.testing.assert_close(decision_loss(dec, label).double(), expected, rtol=1e-4, atol=1e-5)


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    loss = decision_loss(logits, torch.tensor([[0.0], [1.0]]))
    loss.sum().backward()
    assert loss.tolist() == [1e4, 1e4]
    assert logits.grad.tolist() == [[1.0], [-1.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_computed_in_float32(dtype):
    logits = torch.randn(2, 1, 3, 3).to(dtype)
    assert segmentation_loss(logits, torch.zeros(2, 1, 3, 3), torch.ones(2, 1, 3, 3)).dtype == torch.float32
    assert decision_loss(logits[:, :, 0, 0], torch.zeros(2, 1)).dtype == torch.float32
