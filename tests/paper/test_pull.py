"""What the loss pulls cells to while the score map says nothing: docs/method.md, "From pixels to cells"."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segdec.losses import segmentation_loss
from segdec.weighting import dilate, reduce_to_cells, weight_map


def pull(mask: np.ndarray, w_pos: float) -> float:
    """Return how much more a defect's cells are pulled towards defect than the good surface is."""
    target = reduce_to_cells(mask.astype(np.float32))
    weight = reduce_to_cells(weight_map(mask, w_pos, p=1))
    logits = torch.zeros(1, 1, *target.shape, requires_grad=True)
    segmentation_loss(logits, torch.tensor(target)[None, None], torch.tensor(weight)[None, None]).backward()
    gradient = logits.grad[0, 0].numpy() * target.size
    assert gradient == pytest.approx(weight * (0.5 - target), abs=1e-6)
    return float((0.5 - gradient)[target > 0].sum())


def ellipse(thickness: int) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    return ((y - 128) / (thickness / 2)) ** 2 + ((x - 128) / 24) ** 2 < 1


def test_a_large_weight_teaches_a_thin_defect_to_be_good():
    thin = ellipse(8)
    assert pull(thin, w_pos=20) < 0 < pull(thin, w_pos=1)


def test_grown_to_the_window_it_is_taught_to_be_a_defect():
    assert pull(dilate(ellipse(8), 9), w_pos=20) > pull(ellipse(8), w_pos=1) > 0
