"""The spectral form of the context layer as nodes of a graph; `segdec.spectral` explains the steps."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segdec.backends.exported import TRANSFORM
from segdec.config import STRIDE, NetworkConfig
from segdec.export.nodes import Nodes
from segdec.types import ImageSize

Waves: TypeAlias = NDArray[np.float64]


def spectral_tile(network: NetworkConfig, image_size: ImageSize) -> int:
    """Choose the side of the spectral form's tiles for images of one size.

    Parameters
    ----------
    network
        Sizes.
    image_size
        (height, width) of the images; others may come, and take a little longer.
    """
    from segdec.spectral import choose_tile

    return choose_tile(1, image_size[0] // STRIDE, image_size[1] // STRIDE, network.context_kernel)


class SpectralNodes(Nodes):
    """A graph with large convolutions in the frequency domain."""

    def spectral_conv(self, x: str, name: str, tile: int) -> str:
        """Convolve (N, C_in, H, W) with a weight (C_out, C_in, k, k) in tiles of one side."""
        c_out, c_in, _, kernel = self.weights[name].shape
        half, step = tile // 2 + 1, tile - kernel + 1
        height, width = self.side(x, 2), self.side(x, 3)
        down, across = self._tiles(height, step), self._tiles(width, step)
        x = self.add("Transpose", self.add("Mul", x, self.constant(tile**-2.0)), perm=(0, 2, 3, 1))
        for axis, size, count in ((1, height, down), (2, width, across)):
            x = self._cut(x, axis, size, count, tile, step)
        batch = self.side(x, 0)

        def shape(*sides: int | str) -> str:
            parts = (each if isinstance(each, str) else self.constant([each]) for each in sides)
            return self.add("Concat", *parts, axis=0)

        # (N, down T, across T, C) -> (T across, T down, N tiles C)
        x = self.add("Reshape", x, shape(batch, down, tile, across, tile, c_in))
        x = self.add("Transpose", x, perm=(4, 2, 0, 1, 3, 5))
        x = self.add("Reshape", x, shape(tile, -1))
        cos, sin = _waves(half, tile, tile)
        x = self._transform(_alternate(cos, -sin), x)  # (half re/im, T N tiles C)
        tiles = self.integers("Mul", self.integers("Mul", batch, down), across)
        x = self.add("Reshape", x, shape(half, 2 * tile, -1))
        x = self._transform(_rows(tile), x)  # (half, T 4, tiles C)
        x = self.add("Reshape", x, shape(half * tile, 2, 2, tiles, c_in))
        x = self.add("Transpose", x, perm=(0, 1, 3, 2, 4))
        x = self.add("Reshape", x, shape(half * tile, -1, 2 * c_in))
        x = self.add("MatMul", x, self._spectrum(name, tile))  # (half T, re/im tiles, C_out)

        x = self.add("Reshape", x, shape(half, 2 * tile, -1))
        cos, sin = _waves(step, tile, tile)
        back = _turn(cos, sin).reshape(step, 2, 2 * tile).transpose(1, 0, 2).reshape(2 * step, 2 * tile)
        x = self._transform(back, x)  # (half, re/im step, tiles C_out)
        x = self.add("Reshape", x, shape(2 * half, -1))
        x = self._transform(_back_across(step, tile), x)  # (step, step tiles C_out)
        x = self.add("Reshape", x, shape(step, step, batch, down, across, c_out))
        x = self.add("Transpose", x, perm=(2, 3, 1, 4, 0, 5))  # channels stay innermost: whole rows are moved
        full = [self.integers("Mul", count, step) for count in (down, across)]
        x = self.add("Reshape", x, shape(batch, *full, c_out))
        ends = self.add("Concat", height, width, axis=0)
        x = self.add("Slice", x, self.constant([0, 0]), ends, self.constant([1, 2]))
        return self.add("Transpose", x, perm=(0, 3, 1, 2))

    def _transform(self, matrix: Waves, x: str) -> str:
        """Multiply by a constant from the left, under a name by which a runtime may know it."""
        return self.add("MatMul", self.constant(matrix), x, name=f"{TRANSFORM}{len(self.nodes)}")

    def _tiles(self, size: str, step: int) -> str:
        """Return how many tiles cover an axis."""
        return self.integers("Div", self.integers("Add", size, step - 1), step)

    def _cut(self, x: str, axis: int, size: str, count: str, tile: int, step: int) -> str:
        """Replace an axis by the overlapping tiles along it, with zeros where they hang over the edge."""
        before = (tile - step) // 2
        after = self.integers("Sub", self.integers("Add", self.integers("Mul", count, step), before), size)
        pads = self.add("Concat", self.constant([before]), after, axis=0)
        x = self.add("Pad", x, pads, "", self.constant([axis]))
        squeeze = self.constant([0])
        numbers = self.add("Range", self.constant(0), self.add("Squeeze", count, squeeze), self.constant(1))
        first = self.add("Unsqueeze", self.add("Mul", numbers, self.constant(step)), self.constant([1]))
        places = self.add("Add", first, self.constant(np.arange(tile)))  # (count, T)
        return self.add("Gather", x, self.add("Reshape", places, self.constant([-1])), axis=axis)

    def _spectrum(self, name: str, tile: int) -> str:
        """Transform the kernel: constant, so a runtime computes it once, when it loads the graph.

        A runtime keeps every step of that in memory until it is done: hence one product in the order that
        is needed, and as few nodes as can be.
        """
        c_out, c_in, _, kernel = self.weights[name].shape
        half, window = tile // 2 + 1, kernel * kernel
        w = self.add("Transpose", self.weight(name, (c_out, c_in, window)), perm=(2, 1, 0))
        w = self.add("Reshape", w, self.constant([window, c_in * c_out]))
        # waves over the window, picked from a line of cosines and sines: written out they were megabytes
        across, down = (np.outer(np.arange(rows), np.arange(kernel)) % tile for rows in (half, tile))
        parts = down[:, None, :, None] + [[[0]], [[2 * tile]]]  # (T, re/im, k, 1)
        places = self.add("Add", self.constant(across[:, None, None, None]), self.constant(parts))
        angle = np.arange(2 * tile) * (2 * np.pi / tile)  # of two turns: places are sums of two within one
        waves = self.add("Gather", self.constant(np.concatenate([np.cos(angle), np.sin(angle)])), places)
        waves = self.add("Reshape", waves, self.constant([2 * half * tile, window]))
        w = self.add("MatMul", waves, w)  # (half T re/im, C_in C_out)
        return self.add("Reshape", w, self.constant([half * tile, 2 * c_in, c_out]))


def _waves(rows: int, columns: int, tile: int) -> tuple[Waves, Waves]:
    """Cosine and sine of 2 pi r c / T, each (rows, columns)."""
    angle = np.outer(np.arange(rows), np.arange(columns)) % tile * (2 * np.pi / tile)
    return np.cos(angle), np.sin(angle)


def _alternate(first: Waves, second: Waves) -> Waves:
    """Rows of both in turn, (2 rows, columns)."""
    return np.stack([first, second], axis=1).reshape(-1, first.shape[1])


def _turn(cos: Waves, sin: Waves) -> Waves:
    """The complex matrix cos + i sin as a real one, (2 rows, 2 columns), re and im alternating in both."""
    both = [np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)]
    return np.stack(both, axis=1).reshape(2 * cos.shape[0], 2 * cos.shape[1])


def _rows(tile: int) -> Waves:
    """Transform all real, then all imaginary parts along the height into rows re, -im, im, re by turns."""
    cos, sin = _waves(tile, tile, tile)
    real, imag = np.concatenate([cos, sin], axis=1), np.concatenate([-sin, cos], axis=1)
    return np.stack([real, -imag, imag, real], axis=1).reshape(4 * tile, 2 * tile)


def _back_across(step: int, tile: int) -> Waves:
    """The inverse transform along the width from half of the frequencies; those left out are conjugates."""
    half = tile // 2 + 1
    cos, sin = _waves(step, half, tile)
    turn = 2 * np.stack([cos, -sin], axis=2).reshape(step, 2 * half)
    turn[:, :2] /= 2
    if tile % 2 == 0:
        turn[:, -2:] /= 2
    return turn
