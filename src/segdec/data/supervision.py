"""Teach with less: only some of the defective images, or masks for only some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segdec.config import DataConfig
from segdec.errors import DataError
from segdec.types import Sample

_POSITIVES, _MASKS = 2, 3
"""Streams of random numbers, apart from those that divide the data set."""


def limit_supervision(samples: Sequence[Sample], config: DataConfig, seed: int) -> tuple[list[Sample], str]:
    """Keep only so many defective images, and the masks of only so many of them.

    Parameters
    ----------
    samples
        The training part; good images stay as they are.
    config
        ``positives`` and ``masked_positives``; None takes all.
    seed
        Decides which. Of one seed, the fewer are always among the more.

    Returns
    -------
    samples : list of Sample
        In the same order.
    words : str
        What was done, to be put behind a split's origin; empty where nothing was.

    Raises
    ------
    DataError
        If there are fewer defective images, or fewer masks, than asked for.
    """
    kept, words = list(samples), ""
    if config.positives is not None:
        defective = [sample.name for sample in kept if sample.label]
        chosen = _choose(defective, config.positives, "positives", "defective images", (seed, _POSITIVES))
        kept = [sample for sample in kept if not sample.label or sample.name in chosen]
        words += f", {config.positives} positives"
    if config.masked_positives is not None:
        masked = [sample.name for sample in kept if sample.label and not sample.weak]
        chosen = _choose(masked, config.masked_positives, "masked_positives", "masks", (seed, _MASKS))
        kept = [
            sample.without_mask() if sample.label and sample.name not in chosen else sample for sample in kept
        ]
        words += f", {config.masked_positives} with masks"
    return kept, words


def _choose(names: Sequence[str], count: int, setting: str, things: str, seed: tuple[int, int]) -> set[str]:
    if count > len(names):
        raise DataError(
            f"data.{setting} is {count}, but the training part has {len(names)} {things}; choose fewer"
        )
    return set(np.random.default_rng(seed).permutation(sorted(names))[:count].tolist())
