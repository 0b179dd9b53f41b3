"""Which images an epoch shows: every positive once, and as many negatives by frequency of use.

Source: arXiv:2007.07676, Sec. III (frequency-of-use sampling).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from segdec.errors import ConfigError, DataError


class Draw(NamedTuple):
    """One image of an epoch.

    Attributes
    ----------
    image
        Place of the image in the training set.
    number
        Unique over the whole training; seeds the image's augmentation, in whichever process it is made.
    """

    image: int
    number: int


class EpochSampler(Sampler[list[Draw]]):
    """Batches of an epoch, for ``DataLoader(batch_sampler=...)``.

    Every process draws the same global epoch from the same state and takes its share of each batch,
    so use counts are global without any exchange between processes. They are counted when an epoch is
    drawn, in the main process, so workers that fetch ahead cannot disturb them.

    Parameters
    ----------
    labels
        Whether each image of the training set holds a defect.
    batch_size
        Images per optimiser step, over all processes and parts. A last incomplete batch is dropped.
    seed
        Decides every epoch's order.
    frequency_of_use
        False draws the negatives uniformly.
    rank, processes
        This process, and how many there are.
    accumulate
        Parts that a process divides its share of a batch into.

    Raises
    ------
    DataError
        If one of the classes is missing or the images do not fill one batch.
    ConfigError
        If a batch cannot be shared by so many processes and parts.
    """

    def __init__(
        self,
        labels: Sequence[bool],
        batch_size: int,
        seed: int,
        frequency_of_use: bool = True,
        rank: int = 0,
        processes: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.positives = np.flatnonzero(np.asarray(labels, bool))
        self.negatives = np.flatnonzero(~np.asarray(labels, bool))
        self.batch_size = batch_size
        self.seed = seed
        self.frequency_of_use = frequency_of_use
        self.rank, self.processes, self.accumulate = rank, processes, accumulate
        self.uses = np.zeros(len(self.negatives), np.int64)
        self._batches: list[list[Draw]] = []
        if not len(self.positives) or not len(self.negatives):
            raise DataError(
                f"training needs images with and without defect, got {len(self.positives)} with and"
                f" {len(self.negatives)} without; add the missing kind"
            )
        if batch_size < processes * accumulate:
            raise ConfigError(
                f"a batch of {batch_size} cannot be shared by {processes} processes in {accumulate} parts;"
                f" train.batch_size must be at least {processes * accumulate}"
            )
        if not self.steps:
            raise DataError(
                f"an epoch of {self.images} images does not fill one batch of {batch_size};"
                " lower train.batch_size or add images"
            )

    @property
    def images(self) -> int:
        """Images of an epoch, before an incomplete batch is dropped."""
        return images_of_epoch(len(self.positives), len(self.negatives))

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return self.images // self.batch_size

    def start_epoch(self, epoch: int, skip: int = 0) -> None:
        """Draw an epoch and count the negatives' use.

        Parameters
        ----------
        epoch
            From 0.
        skip
            Steps that were already taken, before an interruption; they are left out of the iteration.
        """
        generator = np.random.default_rng([self.seed, epoch])
        count = min(len(self.positives), len(self.negatives))
        probabilities = usage_log_probabilities(self.uses) if self.frequency_of_use else None
        drawn = draw_without_replacement(len(self.negatives), count, generator, probabilities)
        self.uses[drawn] += 1
        order = generator.permutation(np.concatenate([self.positives, self.negatives[drawn]]))
        first = epoch * self.images
        draws = [Draw(int(index), first + place) for place, index in enumerate(order)]
        size = self.batch_size
        self._batches = [draws[step * size : (step + 1) * size] for step in range(skip, self.steps)]

    def __iter__(self) -> Iterator[list[Draw]]:
        parts = self.processes * self.accumulate
        for batch in self._batches:
            for part in range(self.accumulate):
                yield batch[self.rank + part * self.processes :: parts]

    def __len__(self) -> int:
        return len(self._batches) * self.accumulate


def images_of_epoch(positives: int, negatives: int) -> int:
    """Return how many images an epoch shows: every positive, and as many negatives as there are, at most.

    Parameters
    ----------
    positives, negatives
        Of the training part.

    Examples
    --------
    >>> images_of_epoch(33, 200), images_of_epoch(33, 20)
    (66, 53)
    """
    return positives + min(positives, negatives)


def usage_log_probabilities(uses: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithm of each negative's probability of being drawn, up to a constant.

    With u the uses so far of the K negatives: q = 1 - u / max(u); q = q - median(q) + 1;
    probability proportional to q^(4 ln K). The logarithm keeps tiny probabilities apart from 0.

    Parameters
    ----------
    uses
        (K,), uses so far.

    Returns
    -------
    ndarray
        (K,); -inf where the probability is 0.

    Examples
    --------
    >>> np.exp(usage_log_probabilities(np.array([0, 1, 1, 1]))).round(1).tolist()
    [46.7, 1.0, 1.0, 1.0]
    """
    q = 1 - uses / max(int(uses.max()), 1)
    q = q - np.median(q) + 1
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(q)
    return logs * 4 * math.log(len(uses)) if len(uses) > 1 else np.zeros(1)


def draw_without_replacement(
    total: int,
    count: int,
    generator: np.random.Generator,
    log_probabilities: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Draw ``count`` of ``total`` things one after the other, each in proportion to its probability.

    The largest of log-probability plus Gumbel noise are exactly such a draw, and it cannot fail where
    fewer than ``count`` have a probability above 0: those come last.

    Parameters
    ----------
    total, count
        How many there are and how many are drawn.
    generator
        Source of randomness.
    log_probabilities
        (total,), up to a constant; None draws uniformly.

    Returns
    -------
    ndarray
        (count,) places, in the order drawn.

    Notes
    -----
    Source: T. Vieira, "Gumbel-max trick and weighted reservoir sampling" (2014); the draw is that of
    the Plackett-Luce model.
    """
    keys = generator.gumbel(size=total)
    if log_probabilities is not None:
        keys = keys + log_probabilities
    return np.argsort(-keys, kind="stable")[:count]
