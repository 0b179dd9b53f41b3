"""From images to items: what passes or is thrown away is a physical part, not a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Items(NamedTuple):
    """The scores of items, one each.

    Attributes
    ----------
    defective
        (n,) of each item with a defect: the highest score of its defective images. That one of its good
        images is called defective would be luck, and does not count.
    good
        (m,) of each item without defect: the highest score of its images.
    """

    defective: NDArray[np.float64]
    good: NDArray[np.float64]


def score_items(labels: ArrayLike, scores: ArrayLike, groups: Sequence[str]) -> Items:
    """Turn the scores of images into scores of items.

    An item is defective if any of its images is. It escapes if none of its defective images is called
    defective; a good item is overkill if any of its images is. Both depend on one highest score alone.

    Parameters
    ----------
    labels
        (N,) booleans, True is defect.
    scores
        (N,) numbers, higher is more defective: scores, or decisions in rising order.
    groups
        (N,) the item of each image.

    Returns
    -------
    Items

    Raises
    ------
    ValueError
        If the three differ in length.

    Examples
    --------
    >>> items = score_items([True, False, False, False], [0.3, 0.9, 0.1, 0.2], ["a", "a", "b", "b"])
    >>> items.defective.tolist(), items.good.tolist()
    ([0.3], [0.2])
    """
    truth, values = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape or len(groups) != len(truth):
        raise ValueError(
            f"labels, scores and groups must be (N,) alike, got {truth.shape}, {values.shape} and"
            f" ({len(groups)},)"
        )
    names, position = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    defective = np.bincount(position, truth, minlength=len(names)) > 0
    counts = truth | ~defective[position]  # all but the good images of defective items
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, position[counts], values[counts])
    return Items(highest[defective], highest[~defective])
