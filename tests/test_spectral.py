"""The spectral convolution gives what the direct one gives, and its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from segdec.spectral import choose_tile, spectral_conv2d, spectral_conv2d_prepared, transform_weight


def both(
    n, c_in, c_out, height, width, kernel, tile=None, dtype=torch.float64, layout=torch.contiguous_format
):
    """Output and the two gradients, spectral and direct, for the same random numbers."""
    generator = torch.Generator().manual_seed(height * 100 + width + kernel)
    x = torch.randn(n, c_in, height, width, dtype=dtype, generator=generator).contiguous(memory_format=layout)
    weight = torch.randn(c_out, c_in, kernel, kernel, dtype=dtype, generator=generator)
    towards = torch.randn(n, c_out, height, width, dtype=dtype, generator=generator)

    def run(convolve) -> list[Tensor]:
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = convolve(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, towards)]

    spectral = run(lambda x, weight: spectral_conv2d(x, weight, tile))
    return spectral, run(lambda x, weight: conv2d(x, weight, padding=kernel // 2))


def relative(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).detach().abs().max() / wanted.detach().abs().max())


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel=st.sampled_from([1, 3, 7, 15]),
    extra=st.none() | st.integers(0, 20),
)
def test_equals_the_direct_convolution_in_double_precision(n, height, width, kernel, extra):
    tile = None if extra is None else kernel + extra
    for got, wanted in zip(*both(n, 2, 3, height, width, kernel, tile), strict=True):
        assert got.shape == wanted.shape
        assert relative(got, wanted) < 1e-10


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47)])
@pytest.mark.parametrize("n", [1, 3])
def test_equals_the_direct_convolution_in_single_precision(n, height, width, layout):
    got, wanted = both(n, 8, 12, height, width, 15, dtype=torch.float32, layout=layout)
    assert relative(got[0], wanted[0]) < 1e-5
    assert relative(got[1], wanted[1]) < 1e-4
    assert relative(got[2], wanted[2]) < 1e-4


@pytest.mark.parametrize("tile", [3, 4, 5, 7])
def test_gradients_are_those_of_the_function(tile):
    x = torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: spectral_conv2d(x, weight, tile), (x, weight))


def test_a_prepared_kernel_gives_the_same():
    x, weight = torch.randn(1, 4, 20, 30), torch.randn(6, 4, 7, 7)
    spectrum = transform_weight(weight, 16)
    assert spectrum.shape == (9, 16, 8, 6)
    assert torch.equal(spectral_conv2d_prepared(x, spectrum, 7), spectral_conv2d(x, weight, 16))


def test_under_autocast_the_output_is_bfloat16_and_close():
    got, wanted = [], []
    for convolve, out in [
        (spectral_conv2d, got),
        (lambda x, w: conv2d(x, w, padding=7), wanted),
    ]:
        torch.manual_seed(0)
        x = torch.rand(1, 16, 32, 40, requires_grad=True)
        weight = torch.randn(24, 16, 15, 15, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=out is got):
            y = convolve(x, weight)
        out += [y.detach(), *torch.autograd.grad(y.float().square().sum(), [x, weight])]
    assert got[0].dtype == torch.bfloat16
    assert got[2].dtype == torch.float32
    for a, b in zip(got, wanted, strict=True):
        assert float((a.float() - b).norm() / b.norm()) < 0.02


def test_mixed_precision_without_autocast_takes_the_wider():
    x, weight = torch.randn(1, 2, 6, 6), torch.randn(3, 2, 3, 3)
    assert spectral_conv2d(x, weight.double()).dtype == torch.float64
    assert spectral_conv2d(x.double(), weight).dtype == torch.float64


@pytest.mark.parametrize("shape", [(2, 2, 3, 5), (2, 2, 4, 4), (2, 2, 9, 9)])
def test_a_kernel_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="spectral kernel must be square, odd"):
        transform_weight(torch.zeros(shape), 8)


@given(st.integers(1, 12), st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 3, 15]))
def test_the_chosen_tile_holds_the_kernel(n, height, width, kernel):
    assert choose_tile(n, height, width, kernel) >= kernel


def test_captured_whole_without_a_break():
    x, weight = torch.randn(1, 2, 9, 9, requires_grad=True), torch.randn(3, 2, 3, 3, requires_grad=True)
    compiled = torch.compile(spectral_conv2d, fullgraph=True, backend="aot_eager")
    out = compiled(x, weight)
    out.sum().backward()
    assert relative(out, conv2d(x, weight, padding=1)) < 1e-5
