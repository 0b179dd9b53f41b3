"""The network takes any fitting size and channel count, and its weights depend on nothing but the seed."""

from __future__ import annotations

import pytest
import torch

import segdec.network
from segdec.config import NetworkConfig
from segdec.network import ContextConv, FeatureNorm, SegDecNet, build_network, to_channels_last

SMALL = NetworkConfig(block_channels=(4, 5, 6), context_channels=7, context_kernel=5)


def small(channels: int = 1) -> NetworkConfig:
    return SMALL.model_copy(update={"in_channels": channels})


@pytest.mark.parametrize("size", [(64, 64), (72, 136), (232, 640), (128, 64)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_fitting_size_and_channel_count(size, channels):
    height, width = size
    with torch.inference_mode():
        seg_logits, dec_logits = build_network(small(channels), 0)(torch.rand(2, channels, height, width))
    assert seg_logits.shape == (2, 1, height // 8, width // 8)
    assert dec_logits.shape == (2, 1)
    assert seg_logits.isfinite().all()
    assert dec_logits.isfinite().all()


@pytest.mark.parametrize(
    ("size", "hint"),
    [((500, 500), (504, 504)), ((56, 64), (64, 64)), ((64, 100), (64, 104)), ((8, 8), (64, 64))],
)
def test_other_sizes_are_refused_with_the_next_fitting_one(size, hint):
    with pytest.raises(ValueError, match="multiples of 8 and at least 64") as caught:
        build_network(SMALL, 0)(torch.rand(1, 1, *size))
    assert f"got {size}" in str(caught.value)
    assert f"try {hint}" in str(caught.value)


def test_the_smallest_image_has_finite_gradients():
    """At 64 x 64 the decision's maps are single pixels: their deviation is 0, not undefined."""
    network = build_network(SMALL, 0, gradient_scale=1.0)
    seg_logits, dec_logits = network(torch.rand(1, 1, 64, 64))
    (seg_logits.sum() + dec_logits.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_a_constant_image_has_finite_gradients():
    network = build_network(SMALL, 0, gradient_scale=1.0)
    seg_logits, dec_logits = network(torch.full((1, 1, 64, 128), 0.5))
    (seg_logits.square().sum() + dec_logits.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_images_of_a_batch_do_not_see_each_other():
    network = build_network(SMALL, 0).eval()
    images = torch.rand(3, 1, 64, 128)
    with torch.inference_mode():
        together = network(images)
        for place in range(3):
            alone = network(images[place : place + 1])
            for one, other in zip(alone, together, strict=True):
                torch.testing.assert_close(one, other[place : place + 1], rtol=1e-4, atol=1e-5)


def test_both_forms_of_the_context_convolution_agree():
    config = NetworkConfig(block_channels=(4, 5, 6), context_channels=9, context_kernel=15)
    direct, spectral = (build_network(config, 2, 1.0, context) for context in ("direct", "spectral"))
    image = torch.rand(2, 1, 136, 72)
    outputs = []
    for network in (direct, spectral):
        seg_logits, dec_logits = network(image)
        (seg_logits.square().mean() + dec_logits.sum()).backward()
        outputs.append((seg_logits.detach(), dec_logits.detach()))
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    for one, other in zip(direct.parameters(), spectral.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-2, atol=1e-4)


def test_a_kernel_is_transformed_once_for_all_images_in_a_precision(monkeypatch):
    conv = ContextConv(3, 5, 7, "spectral")
    made = []
    transform = segdec.network.transform_weight
    monkeypatch.setattr(
        segdec.network, "transform_weight", lambda *given: made.append(given) or transform(*given)
    )
    image = torch.rand(1, 3, 20, 20)
    with torch.inference_mode():
        exact = conv(image)
        conv(image)
        assert len(made) == 1
        with torch.autocast("cpu", torch.bfloat16):
            rounded = conv(image)
            conv(image)
            assert len(made) == 2
        assert torch.equal(conv(image), exact)
        with torch.no_grad():
            conv.weight.mul_(2)
        assert torch.equal(conv(image), 2 * exact)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


def test_both_forms_hold_the_same_weights():
    direct, spectral = (SegDecNet(SMALL, context=context) for context in ("direct", "spectral"))
    spectral.load_state_dict(direct.state_dict())
    assert isinstance(spectral.segmentation[-1][0], ContextConv)
    assert spectral.segmentation[-1][0].form == "spectral"


def test_the_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    first = build_network(SMALL, 7).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = build_network(SMALL, 7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)  # and the global state is left alone
    other = build_network(SMALL, 8).state_dict()
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert not torch.equal(first["seg_head.0.weight"], other["seg_head.0.weight"])


def test_channels_last_changes_the_order_only():
    network = build_network(SMALL, 0)
    image = torch.rand(1, 1, 64, 128)
    with torch.inference_mode():
        before = network(image)
        to_channels_last(network)
        after = network(image.to(memory_format=torch.channels_last))
    assert network.segmentation[2][0].weight.is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_feature_norm_takes_its_statistics_in_float32(dtype):
    x = torch.rand(1, 2, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1 + 100
    low = x.to(dtype)
    normed = FeatureNorm(2)(low)
    assert normed.dtype == dtype
    torch.testing.assert_close(normed, FeatureNorm(2)(low.float()).to(dtype), rtol=1e-2, atol=1e-2)


def test_other_depths_and_sizes():
    config = NetworkConfig(
        block_channels=(2, 3, 4),
        block_depths=(2, 1, 1),
        context_channels=5,
        context_kernel=1,
        decision_channels=(2, 3, 4),
    )
    network = build_network(config, 0)
    assert network.fc.in_features == 2 * 4 + 2
    assert network(torch.rand(1, 1, 64, 64))[1].shape == (1, 1)


@pytest.mark.parametrize("kernel", [1, 3, 5, 11, 15])
@pytest.mark.parametrize("form", ["full", "separable", "dilated"])
def test_every_form_of_the_context_sees_the_same_window(form, kernel):
    config = NetworkConfig(
        block_channels=(2, 2, 2),
        block_depths=(1, 1, 1),
        context_channels=3,
        context_kernel=kernel,
        context_form=form,
        norm="frozen",
    )
    block = build_network(config, 0).segmentation[-1]
    maps = torch.zeros(1, 2, 19, 19, requires_grad=True)
    weights = [parameter for name, parameter in block.named_parameters() if "weight" in name]
    for weight in weights:
        torch.nn.init.constant_(weight, 1.0)
    for norm in (module for module in block.modules() if isinstance(module, FeatureNorm)):
        torch.nn.init.constant_(norm.bias, 1.0)  # all above 0: a ReLU lets every gradient pass
    features = block(maps)
    assert features.shape == (1, 3, 19, 19)
    features[0, :, 9, 9].sum().backward()
    expected = torch.zeros(19, 19, dtype=torch.bool)
    half = kernel // 2
    expected[9 - half : 10 + half, 9 - half : 10 + half] = True
    assert torch.equal(maps.grad[0, 0] != 0, expected)


@pytest.mark.parametrize("form", ["separable", "dilated"])
def test_a_compact_context_scores_any_size(form):
    network = build_network(SMALL.model_copy(update={"context_form": form}), 0)
    seg_logits, dec_logits = network(torch.rand(2, 1, 72, 136))
    assert seg_logits.shape == (2, 1, 9, 17)
    (seg_logits.square().sum() + dec_logits.sum()).backward()
    assert all(
        parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None
    )
