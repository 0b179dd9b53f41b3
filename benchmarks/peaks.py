"""How far a network lifts defects out of their images: a defect's highest cell above the rest of the map.

The height is in standard deviations of the cells outside of the mask. A run that is still being trained is
measured at its last checkpoint, and random weights beside it: they tell what a handful of cells reaches by
chance.

::

    python benchmarks/peaks.py runs/first --images 24
    python benchmarks/peaks.py runs/first --images 150 --each    # every defect beside the rest of its image
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from segdec.checkpoint import load_checkpoint
from segdec.imaging import read_image, read_mask, resize_image, resize_mask, to_unit
from segdec.network import SegDecNet
from segdec.runs import Run, open_run


class Height(NamedTuple):
    """How far the highest cell of a defect, and of the rest of its image, lie above the rest's mean."""

    name: str
    defect: float
    rest: float


def heights(run: Run, network: SegDecNet, most: int) -> list[Height]:
    """Measure the first ``most`` defects with a mask, in standard deviations of the rest."""
    size = run.config.data.image_size
    found = []
    for sample in [sample for sample in run.split.test if sample.label and sample.mask is not None][:most]:
        image = read_image(sample.image, run.config.data.channels)
        pixels = to_unit(resize_image(image, size))[None]  # (1, H, W, channels)
        with torch.inference_mode():
            logits, _ = network(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        cells = logits[0, 0].numpy()  # (H/8, W/8)
        mask = resize_mask(resize_mask(read_mask(sample.mask, image.shape[:2]), size), cells.shape)
        inside, outside = cells[mask], cells[~mask]
        peaks = ((each.max() - outside.mean()) / outside.std() for each in (inside, outside))
        found.append(Height(sample.name, *peaks))
    return found


def main() -> None:
    """Print one line for each run and for random weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=24, help="the first so many defective test images")
    parser.add_argument("--each", action="store_true", help="print every defect, lowest first")
    arguments = parser.parse_args()
    for folder in arguments.runs:
        run = open_run(folder)
        torch.manual_seed(0)
        network = SegDecNet(run.config.network).eval()
        weights, state = load_checkpoint(run.checkpoints / "last.safetensors")
        for name in ("random weights", f"after {state.epoch} epochs"):
            found = heights(run, network, arguments.images)
            highest = sum(each.defect > each.rest for each in found)
            print(
                f"{folder}, {name}: median height {np.median([each.defect for each in found]):.1f}; "
                f"the highest of all cells in {highest} of {len(found)}"
            )
            network.load_state_dict(weights)
        if arguments.each:
            for each in sorted(found, key=lambda each: each.defect):
                print(f"{each.name}  {each.defect:.1f}, the rest {each.rest:.1f}")


if __name__ == "__main__":
    main()
