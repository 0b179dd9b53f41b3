"""Section 1 of docs/method.md: layers, shapes, parameter count, FeatureNorm, gradient-flow adjustment."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segdec.config import NetworkConfig
from segdec.losses import decision_loss, segmentation_loss
from segdec.network import FeatureNorm, SegDecNet, build_network

SMALL = NetworkConfig(block_channels=(4, 5, 6), context_channels=7, context_kernel=5)


def test_feature_norm_divides_by_the_root_of_the_deviation():
    # x = 1, 3, 5, 7: mean 4, unbiased variance (9 + 1 + 1 + 9) / 3 = 20 / 3, deviation 2.581989;
    # sqrt(2.581989 + 0.001) = sqrt(2.582989) = 1.607168; (x - 4) / 1.607168 = -1.866638, -0.622213, ...
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    y = FeatureNorm(1)(x)
    expected = torch.tensor([[[[-1.866638, -0.622213], [0.622213, 1.866638]]]])
    torch.testing.assert_close(y, expected, atol=2e-6, rtol=0)


def test_feature_norm_has_scale_and_bias_per_channel():
    # the same numbers in both channels, then times 2 plus 10 and times -1 plus 0.5
    norm = FeatureNorm(2)
    norm.load_state_dict({"scale": torch.tensor([2.0, -1.0]), "bias": torch.tensor([10.0, 0.5])})
    x = torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(1, 1, 2, 2).repeat(1, 2, 1, 1)
    y = norm(x)
    # 10 - 2 * 1.866638 = 6.266724; 0.5 + 1.866638 = 2.366638
    assert y[0, :, 0, 0].tolist() == pytest.approx([6.266724, 2.366638], abs=1e-5)


def test_feature_norm_sees_each_sample_and_channel_by_itself():
    x = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    together = FeatureNorm(2)(x)
    for sample in range(3):
        torch.testing.assert_close(FeatureNorm(2)(x[sample : sample + 1]), together[sample : sample + 1])
    # no running statistics: training and evaluation agree
    norm = FeatureNorm(2)
    assert not list(norm.buffers())
    assert torch.equal(norm.train()(x), norm.eval()(x))


def test_parameter_count():
    # convolutions without bias: out * in * k * k; each norm 2 * out (scale and bias)
    # block 1:      1 *   32 *  25           =        800  + 64
    # block 2:     32 *   64 *  25           =     51,200  + 128
    #          2 * 64 *   64 *  25           =    204,800  + 256
    # block 3: 4 * 64 *   64 *  25           =    409,600  + 512
    # block 4:     64 * 1024 * 225           = 14,745,600  + 2,048
    # head:      1024 *    1 *   1           =      1,024  + 1 (scale only)
    # decision:  1025 *    8 *  25           =    205,000  + 16
    #               8 *   16 *  25           =      3,200  + 32
    #              16 *   32 *  25           =     12,800  + 64
    # fully connected: 66 + 1                =         67
    # convolutions 15,634,024, norms 3,121, fully connected 67: 15,637,212 together
    network = SegDecNet(NetworkConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 15_637_212
    assert network.segmentation[11][0].weight.numel() == 14_745_600


def test_layers_of_the_paper():
    network = SegDecNet(NetworkConfig())
    convs = [
        (m.in_channels, m.out_channels, m.kernel_size[0])
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert convs == [
        (1, 32, 5),
        (32, 64, 5),
        *[(64, 64, 5)] * 2,
        *[(64, 64, 5)] * 4,
        (64, 1024, 15),
        (1024, 1, 1),
        (1025, 8, 5),  # F and S
        (8, 16, 5),
        (16, 32, 5),
    ]
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))
    assert network.seg_head[1].bias is None
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.segmentation) == 3
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.decision) == 3
    assert (network.fc.in_features, network.fc.out_features) == (66, 1)


def test_shapes_on_the_way():
    network = build_network(NetworkConfig(context_kernel=3), 0)
    shapes = {}

    def keep(name):
        return lambda _module, _inputs, output: shapes.update({name: tuple(output.shape)})

    for name in ("segmentation", "seg_head", "decision"):
        getattr(network, name).register_forward_hook(keep(name))
    network.decision.register_forward_pre_hook(lambda _m, inputs: shapes.update(seen=tuple(inputs[0].shape)))
    network.fc.register_forward_pre_hook(lambda _m, inputs: shapes.update(pooled=tuple(inputs[0].shape)))
    with torch.inference_mode():
        seg_logits, dec_logits = network(torch.rand(2, 1, 128, 192))
    assert shapes == {
        "segmentation": (2, 1024, 16, 24),
        "seg_head": (2, 1, 16, 24),
        "seen": (2, 1025, 16, 24),
        "decision": (2, 32, 2, 3),
        "pooled": (2, 66),
    }
    assert seg_logits.shape == (2, 1, 16, 24)
    assert dec_logits.shape == (2, 1)


def test_pooled_values_are_maximum_and_mean_of_the_maps_and_of_the_segmentation():
    network = build_network(SMALL, 0)
    seen = {}
    network.fc.register_forward_pre_hook(lambda _m, inputs: seen.update(pooled=inputs[0]))
    network.decision.register_forward_hook(lambda _m, _i, output: seen.update(maps=output))
    with torch.inference_mode():
        seg_logits, _ = network(torch.rand(1, 1, 128, 128))
    maps = seen["maps"]  # (1, 32, 2, 2)
    expected = [
        *(float(maps[0, channel].max()) for channel in range(32)),
        *(float(maps[0, channel].sum()) / 4 for channel in range(32)),
        float(seg_logits.max()),
        float(seg_logits.sum()) / 256,  # 16 x 16 cells
    ]
    assert seen["pooled"][0].tolist() == pytest.approx(expected, abs=1e-6)


def test_initial_convolutions_are_xavier_normal():
    # Xavier-normal: deviation sqrt(2 / (fan_in + fan_out)); for 64 -> 64 with 5x5: fans 1600 each,
    # sqrt(2 / 3200) = 0.025; for the 15x15: sqrt(2 / (225 * (64 + 1024))) = 0.0028583
    network = build_network(NetworkConfig(), 0)
    assert float(network.segmentation[4][0].weight.detach().std()) == pytest.approx(0.025, rel=0.02)
    assert float(network.segmentation[11][0].weight.detach().std()) == pytest.approx(0.0028583, rel=0.01)
    assert float(network.segmentation[11][0].weight.detach().mean()) == pytest.approx(0, abs=1e-5)


# ------------------------------------------------------------------------------ gradient-flow adjustment


def gradients(scale: float, seg: bool, dec: bool) -> dict[str, torch.Tensor | None]:
    network = build_network(SMALL, 3, gradient_scale=scale)
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 1, 128, 128, generator=generator)
    target = (torch.rand(2, 1, 16, 16, generator=generator) > 0.8).float()
    seg_logits, dec_logits = network(image)
    loss = torch.zeros(())
    if seg:
        loss = loss + segmentation_loss(seg_logits, target, torch.ones_like(target)).sum()
    if dec:
        loss = loss + decision_loss(dec_logits, torch.tensor([[0.0], [1.0]])).sum()
    loss.backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def is_segmentation(name: str) -> bool:
    return name.startswith(("segmentation.", "seg_head."))


def test_adjusted_the_decision_loss_gives_the_segmentation_part_no_gradient_at_all():
    for name, gradient in gradients(0.0, seg=False, dec=True).items():
        if is_segmentation(name):
            assert gradient is None or bool((gradient == 0).all()), name
        else:
            assert gradient is not None, name
    assert float(gradients(0.0, seg=False, dec=True)["fc.weight"].abs().max()) > 0


def test_without_adjustment_it_reaches_every_layer_of_the_segmentation_part():
    for name, gradient in gradients(1.0, seg=False, dec=True).items():
        assert gradient is not None, name
        assert float(gradient.abs().max()) > 0, name


def test_adjusted_the_segmentation_part_gets_the_gradient_of_its_own_loss_exactly():
    both, alone = gradients(0.0, seg=True, dec=True), gradients(0.0, seg=True, dec=False)
    for name, gradient in both.items():
        if is_segmentation(name):
            assert torch.equal(gradient, alone[name]), name


def test_half_the_scale_is_half_the_gradient():
    whole, half = gradients(1.0, seg=False, dec=True), gradients(0.5, seg=False, dec=True)
    for name, gradient in half.items():
        factor = 0.5 if is_segmentation(name) else 1.0
        torch.testing.assert_close(gradient, factor * whole[name], rtol=1e-4, atol=1e-7)


def test_the_forward_pass_does_not_change():
    image = torch.rand(1, 1, 64, 128)
    outputs = [build_network(SMALL, 0, gradient_scale=scale)(image) for scale in (0.0, 1.0)]
    assert all(torch.equal(one, other) for one, other in zip(*outputs, strict=True))


def test_deviation_is_the_unbiased_one():
    # x = 0, 1: unbiased deviation sqrt(0.5) = 0.7071068; (0 - 0.5) / sqrt(0.7081068) = -0.5941828
    y = FeatureNorm(1)(torch.tensor([[[[0.0, 1.0]]]])).detach()
    assert y.flatten().tolist() == pytest.approx([-0.5941828, 0.5941828], abs=1e-6)
