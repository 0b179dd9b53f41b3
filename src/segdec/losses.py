"""The paper's loss: segmentation and decision loss under a dynamic balance.

Source: arXiv:2007.07676, Sec. III. Every loss is returned per image: a batch's gradient is the *sum*
over its images, and the learning rates of the recipes mean that.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def balance(
    kind: Literal["dynamic", "none", "decision", "two-stage"], epoch: int, epochs: int
) -> tuple[float, float]:
    """Return the factors of the segmentation and the decision loss in one epoch.

    Parameters
    ----------
    kind
        "dynamic": (lambda, 1 - lambda) with lambda = 1 - n / n_ep; "none": (1, 1); "decision":
        (0, 1), for data without any mask of a defect; "two-stage": (1, 0) in the first half of the
        epochs (the longer one, where their number is odd), then (0, 1).
    epoch
        n, from 0.
    epochs
        n_ep.

    Returns
    -------
    tuple of float
        Factors of L_seg and of delta * L_cls.

    Notes
    -----
    Source: the paper's Sec. III (dynamically balanced loss); "decision" is the setting without pixel
    labels of arXiv:2104.06064; "two-stage" is the scheme of the predecessor (2019): with the gradient
    adjusted, its second half trains the decision stage on a frozen segmentation stage.

    Examples
    --------
    >>> balance("dynamic", 0, 4), balance("dynamic", 3, 4)
    ((1.0, 0.0), (0.25, 0.75))
    """
    if kind == "dynamic":
        lam = 1 - epoch / epochs
        return lam, 1 - lam
    if kind == "two-stage":
        return (1.0, 0.0) if 2 * epoch < epochs else (0.0, 1.0)
    return (1.0, 1.0) if kind == "none" else (0.0, 1.0)


def segmentation_loss(seg_logits: Tensor, target: Tensor, weight_map: Tensor) -> Tensor:
    """Return L_seg of each image: weighted binary cross-entropy, mean over all its cells.

    Parameters
    ----------
    seg_logits
        (N, 1, H/8, W/8).
    target
        The reduced mask, same shape, in [0, 1].
    weight_map
        Same shape; 0 where nothing is known.

    Returns
    -------
    Tensor
        (N,).
    """
    loss = F.binary_cross_entropy_with_logits(seg_logits.float(), target, weight_map, reduction="none")
    return loss.mean((1, 2, 3))


def decision_loss(dec_logits: Tensor, target: Tensor) -> Tensor:
    """Return L_cls of each image: binary cross-entropy against "the image holds a defect".

    Parameters
    ----------
    dec_logits
        (N, 1).
    target
        (N, 1), in [0, 1].

    Returns
    -------
    Tensor
        (N,).
    """
    return F.binary_cross_entropy_with_logits(dec_logits.float(), target, reduction="none").squeeze(1)
