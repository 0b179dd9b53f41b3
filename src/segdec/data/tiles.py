"""From labelled images to labelled tiles, to train on what prediction in tiles will see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from segdec.config import DataConfig
from segdec.data.pixels import load_marks
from segdec.data.scan import map_in_threads
from segdec.imaging import DEFECT, UNKNOWN, read_image_size
from segdec.tiles import Tiling
from segdec.types import Sample


def cut_samples(samples: Sequence[Sample], tiling: Tiling, config: DataConfig) -> tuple[Sample, ...]:
    """Turn labelled images into labelled tiles.

    Each pixel of an image lies deepest in one tile, in that tile's core. A tile with a defect in its core is
    defective, a tile of known good pixels is good. What lies between teaches nothing and is left out: a
    defect that only the rim of a tile cuts (another tile has it in its core), and unknown pixels of a
    defective image.

    Parameters
    ----------
    samples
        Whole images; a defective image without mask has no tiles, since nobody knows which are defective.
    tiling
        How images are cut.
    config
        How masks become marks.

    Returns
    -------
    tuple of Sample
        In the order of the images, tiles row by row; each with its image's group and its own ``origin``.

    Raises
    ------
    ImageError
        If a file cannot be used.
    """

    def cut(sample: Sample) -> list[Sample]:
        return list(_cut(sample, tiling, config))

    return tuple(tile for tiles in map_in_threads(cut, samples) for tile in tiles)


def _cut(sample: Sample, tiling: Tiling, config: DataConfig) -> Iterator[Sample]:
    if sample.weak:
        return
    size = read_image_size(sample.image)
    marks = load_marks(sample, size, size, config) if sample.label else None  # (H, W)
    down, along = tiling.cores(size[0]), tiling.cores(size[1])
    for y, (top, bottom) in zip(tiling.starts(size[0]), down, strict=True):
        for x, (left, right) in zip(tiling.starts(size[1]), along, strict=True):
            label: bool | None = False
            if marks is not None:
                tile = marks[y : y + tiling.tile, x : x + tiling.tile]
                label = _label(tile, marks[top:bottom, left:right])
            if label is not None:
                yield replace(sample, name=f"{sample.name}[{y},{x}]", label=label, origin=(y, x))


def _label(tile: NDArray[np.uint8], core: NDArray[np.uint8]) -> bool | None:
    """Judge a tile of a defective image by its marks; None where it is neither defective nor good."""
    if (core >= DEFECT).any():
        return True
    return None if (tile >= DEFECT).any() or (tile == UNKNOWN).any() else False
