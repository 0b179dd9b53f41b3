"""Large convolutions in the frequency domain: the same numbers for a fraction of the products.

The context layer (15 x 15, 64 to 1024 channels) is seven tenths of the network's multiply-adds. Overlap-save
computes it exactly. The padded map is cut into T x T tiles that overlap by k - 1, each of which yields
T - k + 1 valid output rows and columns. For one tile x and one kernel w, with the DFT written as a sum,

    X(f) = sum_j x_j exp(-2 pi i f j / T)        V(f) = sum_u w_u exp(+2 pi i f u / T)

the circular cross-correlation is the inverse DFT of X(f) V(f), and its first T - k + 1 samples in each
direction never wrap around, so they are the samples of the direct convolution. Tiles are real: T // 2 + 1 of
the T frequencies along the width determine the rest.

Every transform is a product with a constant matrix of cosines and sines, so the whole is a chain of matrix
products: differentiable, compilable and exportable without a DFT operator.
Padding and cutting are part of the first two matrices (a row of zeros wherever a tile hangs over the edge).
Frequencies lead and channels come last, so that the sum over the channels is one batched product with one
matrix per frequency.
"""

import math

import torch
from torch import Tensor


def spectral_conv2d(x: Tensor, weight: Tensor, tile: int | None = None) -> Tensor:
    """Convolve as ``torch.nn.functional.conv2d(x, weight, padding=k // 2)``, in the frequency domain.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Any height and width from 1 up. Under autocast the products run in its dtype.
    weight : Tensor, shape (C_out, C_in, k, k)
        Square kernels with odd k.
    tile : int, optional
        Side T of a tile in pixels, at least k. Chosen by `choose_tile` when left out.

    Returns
    -------
    Tensor, shape (N, C_out, H, W)
        In channels-last memory order.

    Examples
    --------
    >>> x, weight = torch.ones(1, 1, 4, 5), torch.ones(1, 1, 3, 3)
    >>> spectral_conv2d(x, weight)[0, 0].round().int().tolist()
    [[4, 6, 6, 6, 4], [6, 9, 9, 9, 6], [6, 9, 9, 9, 6], [4, 6, 6, 6, 4]]
    """
    kernel = weight.shape[-1]
    side = choose_tile(x.shape[0], x.shape[2], x.shape[3], kernel) if tile is None else tile
    weight = weight.to(torch.promote_types(x.dtype, weight.dtype))
    return spectral_conv2d_prepared(x, transform_weight(weight, side), kernel)


def transform_weight(weight: Tensor, tile: int) -> Tensor:
    """Transform a kernel for tiles of one size; at inference once, then `spectral_conv2d_prepared` takes it.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, k, k)
        Read fastest, and its gradient written without a copy, where the memory order is (k, k, C_in, C_out).
    tile : int
        Side T of a tile in pixels, at least k.

    Returns
    -------
    Tensor, shape (T // 2 + 1, T, 2 C_in, C_out)
        Frequency along the width, along the height; real parts of all input channels, then imaginary parts.

    Raises
    ------
    ValueError
        When the kernel is not square and odd, or does not fit into a tile.
    """
    c_out, c_in, rows, k = weight.shape
    if rows != k or k % 2 == 0 or tile < k:
        raise ValueError(
            f"a spectral kernel must be square, odd and no larger than the tile, got {rows} x {k} with tile "
            f"{tile}; pass an odd square kernel and a tile of at least {k}"
        )
    half = tile // 2 + 1
    spatial = weight.permute(2, 3, 1, 0).to(product_dtype(weight)).reshape(k, k, c_in * c_out)
    cos, sin = _waves(half, k, tile, weight.device)
    wide = _apply(torch.cat([cos, sin]), spatial)  # (k, re/im half, C_in C_out)
    wide = wide.view(2 * k, half, c_in * c_out).transpose(0, 1)  # (half, k re/im, C_in C_out)
    spectrum = _apply(_turn(*_waves(tile, k, tile, weight.device)), wide)  # (half, T re/im, C_in C_out)
    return spectrum.view(half, tile, 2 * c_in, c_out)


def spectral_conv2d_prepared(x: Tensor, spectrum: Tensor, kernel: int) -> Tensor:
    """Convolve with a kernel that `transform_weight` has prepared.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
    spectrum : Tensor, shape (T // 2 + 1, T, 2 C_in, C_out)
        What `transform_weight` returned.
    kernel : int
        Side k of the kernel before its transform.

    Returns
    -------
    Tensor, shape (N, C_out, H, W)
        In channels-last memory order.
    """
    n, c_in, height, width = x.shape
    half, tile, _, c_out = spectrum.shape
    step = tile - kernel + 1
    down, across = -(-height // step), -(-width // step)
    tiles = n * down * across

    # The inverse transforms' 1 / T^2 goes here: a matrix entry would round all outputs in the same direction.
    x = (x * tile**-2).to(spectrum.dtype)
    lines = _transform_tiles(x, tile, step, down, across)  # (half T, re/im tiles, 2 C_in)
    lines = torch.bmm(lines, spectrum.view(half * tile, 2 * c_in, c_out))  # (half T, re/im tiles, C_out)

    # Back along the height: only the step valid rows of a tile, in the order (re/im, step).
    cos, sin = _waves(step, tile, tile, x.device)
    turn = _turn(cos, sin).view(step, 2, 2 * tile).transpose(0, 1).reshape(2 * step, 2 * tile)
    lines = _apply(turn, lines.view(half, tile * 2, tiles * c_out)).view(half * 2, step, tiles * c_out)
    # Back along the width: the frequencies left out are conjugates of those present, so these count twice.
    cos, sin = _waves(step, half, tile, x.device)
    turn = 2 * torch.stack([cos, -sin], dim=2).view(step, 2 * half)
    turn[:, :2] /= 2
    if tile % 2 == 0:
        turn[:, -2:] /= 2
    lines = _apply(turn, lines.transpose(0, 1))  # (step, step, tiles C_out)

    maps = lines.view(step, step, n, down, across, c_out).permute(2, 3, 0, 4, 1, 5)
    maps = maps.reshape(n, down * step, across * step, c_out)[:, :height, :width]
    return maps.permute(0, 3, 1, 2)


def choose_tile(batch: int, height: int, width: int, kernel: int) -> int:
    """Choose the side of a tile that takes the least time.

    Small tiles overlap too much, large ones have too many frequencies of the kernel to transform, and a map
    that is not a multiple of the step wastes the rest. Each frequency costs a transform of the kernel and one
    line per tile; the former is worth about 21 of the latter (a training step with 64 to 1024 channels on an
    AVX-512 CPU in bfloat16, five sides and four maps: the estimate is right to 5 %).

    Parameters
    ----------
    batch, height, width : int
        Size of the map, at least 1 each.
    kernel : int
        Side k of the kernel, odd.

    Returns
    -------
    int
        Side T, at least k.

    Examples
    --------
    >>> choose_tile(1, 64, 64, 15)
    27
    """

    def cost(tile: int) -> int:
        step = tile - kernel + 1
        tiles = batch * -(-height // step) * -(-width // step)
        return (tile // 2 + 1) * tile * (21 + tiles)

    return min(range(kernel, 4 * kernel + 2), key=cost)


def _transform_tiles(x: Tensor, tile: int, step: int, down: int, across: int) -> Tensor:
    """(N, C_in, H, W) -> (half T, 2 tiles, 2 C_in): rows (re, -im) of every tile, then rows (im, re)."""
    n, c_in, height, width = x.shape
    half = tile // 2 + 1
    cos, sin = _tile_waves(half, width, tile, step, across, x.device)
    maps = x.permute(0, 2, 3, 1).reshape(n * height, width, c_in)
    maps = _apply(torch.cat([cos, -sin]), maps).view(n, height * 2, across * half * c_in)
    cos, sin = _tile_waves(tile, height, tile, step, down, x.device)
    maps = _apply(_turn(cos, -sin), maps).view(n, down, tile, 2, across, half, c_in)
    real, imag = maps.permute(3, 5, 2, 0, 1, 4, 6).unbind(0)  # each (half, T, N, down, across, C_in)
    rows = torch.stack([torch.cat([real, -imag], dim=-1), torch.cat([imag, real], dim=-1)], dim=2)
    return rows.reshape(half * tile, 2 * n * down * across, 2 * c_in)


def _waves(rows: int, columns: int, tile: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of 2 pi r c / T in double precision, each (rows, columns)."""
    r = torch.arange(rows, device=device)[:, None]
    c = torch.arange(columns, device=device)
    angle = (r * c % tile).double() * (2 * math.pi / tile)  # the remainder keeps it small, so exact
    return angle.cos(), angle.sin()


def _tile_waves(
    rows: int, size: int, tile: int, step: int, count: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The same for every tile along an axis, each (count rows, size), zero outside of the tile."""
    cos, sin = _waves(rows, tile, tile, device)
    first = torch.arange(count, device=device) * step - (tile - step) // 2  # of each tile; padded to the left
    place = torch.arange(size, device=device) - first[:, None]  # (count, size)
    inside = (place >= 0) & (place < tile)
    spread = [(wave[:, place % tile] * inside).transpose(0, 1).flatten(0, 1) for wave in (cos, sin)]
    return spread[0], spread[1]


def _turn(cos: Tensor, sin: Tensor) -> Tensor:
    """The complex matrix cos + i sin as a real one, (2 rows, 2 columns), re and im alternating in both."""
    both = [torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)]
    return torch.stack(both, dim=1).view(2 * cos.shape[0], 2 * cos.shape[1])


def _apply(matrix: Tensor, stack: Tensor) -> Tensor:
    """One constant matrix (R, K) times every matrix of a stack (B, K, M); matmul would copy the stack."""
    return torch.bmm(matrix.to(stack.dtype).expand(stack.shape[0], -1, -1), stack)


def product_dtype(weight: Tensor) -> torch.dtype:
    """Return what the products with a kernel are computed in: autocast's dtype where it is on.

    Parameters
    ----------
    weight : Tensor
        The kernel.
    """
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
