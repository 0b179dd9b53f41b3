"""From samples to training batches: decode, resize, augment, weigh, reduce."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdec.config import STRIDE, AugmentConfig, Config
from segdec.data.answers import Answers
from segdec.data.pixels import load_pixels
from segdec.imaging import DEFECT, SCRIBBLED, UNKNOWN, to_unit
from segdec.runtime import device_type
from segdec.sampling import Draw, EpochSampler
from segdec.types import Sample
from segdec.weighting import reduce_to_cells, weight_map

_MIB = 1 << 20
_NONE_KNOWN = 1e-4
"""Less than one of the 289 pixels around a cell: what is left of rounding."""
_Known = TypeVar("_Known", np.uint8, np.float32)
"""What is known of an image's parts: marks of its pixels, or a teacher's score map of its cells."""


class Batch(NamedTuple):
    """What one forward and backward pass needs.

    Attributes
    ----------
    image
        (N, C, H, W) float32 in [0, 1].
    seg_target
        (N, 1, H/8, W/8): the share of defect around each cell, or a teacher's score map.
    weight_map
        (N, 1, H/8, W/8): loss weights; 0 where nothing is known, so everywhere in a defective image
        without mask.
    dec_target
        (N, 1): whether the image holds a defect, or a teacher's score.
    place
        (N,) places in the training set, to name images in errors.
    """

    image: Tensor
    seg_target: Tensor
    weight_map: Tensor
    dec_target: Tensor
    place: Tensor


class Targets(NamedTuple):
    """What one image is trained against.

    Attributes
    ----------
    seg_target, weight_map
        (H/8, W/8) each.
    dec_target
        0 or 1, or a soft value: the reference's, or a teacher's score.
    """

    seg_target: NDArray[np.float32]
    weight_map: NDArray[np.float32]
    dec_target: float

    @property
    def nbytes(self) -> int:
        """The memory that both maps take, in bytes."""
        return self.seg_target.nbytes + self.weight_map.nbytes


class TrainingSet(Dataset[Batch]):
    """Samples as network input and targets; fetched by `Draw`.

    Parameters
    ----------
    samples
        The training part.
    config
        ``data.image_size`` and ``data.channels`` must be set.
    cache_bytes
        Decoded, resized images, each with its targets or the marks that they are made from, are kept up
        to this many bytes, in each process that fetches.
    answers
        A teacher's, which are learnt in place of labels and masks; in the order of the samples.
    """

    def __init__(
        self, samples: Sequence[Sample], config: Config, cache_bytes: int, answers: Answers | None = None
    ) -> None:
        self.samples = tuple(samples)
        self.config = config
        self.answers = answers
        self._cache: dict[int, tuple[NDArray[np.generic], NDArray[np.uint8] | Targets]] = {}
        self._cache_left = cache_bytes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> Batch:
        image, known = self._read(draw.image)  # (H, W, C) uint8 or uint16
        unit = to_unit(image)  # (H, W, C) in [0, 1]
        generator = np.random.default_rng([self.config.train.seed, draw.number, 1])
        if isinstance(known, Targets):
            flip = partial(flip_cells, reduction=self.config.loss.reduction)
            unit, seg_target = augment(unit, known.seg_target, self.config.augment, generator, flip)
            targets = known._replace(seg_target=seg_target)
        else:
            unit, marks = augment(unit, known, self.config.augment, generator)
            targets = make_targets(marks, self.samples[draw.image], self.config)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1))),  # (C, H, W)
            torch.from_numpy(targets.seg_target)[None],  # (1, H/8, W/8)
            torch.from_numpy(targets.weight_map)[None],
            torch.tensor([targets.dec_target]),  # (1,)
            torch.tensor(draw.image),
        )

    def _read(self, place: int) -> tuple[NDArray[np.generic], NDArray[np.uint8] | Targets]:
        """Return an image and its targets, or its marks (H, W) where each draw has targets of its own."""
        if place in self._cache:
            return self._cache[place]
        image, marks = load_pixels(self.samples[place], self.config)
        known: NDArray[np.uint8] | Targets = marks
        if self.answers is not None:
            score_map = self.answers.maps[place]  # (H/8, W/8)
            known = Targets(score_map, np.ones_like(score_map), float(self.answers.scores[place]))
        elif not (self.config.augment.flip or self.config.augment.turn):
            known = make_targets(marks, self.samples[place], self.config)
        size = image.nbytes + known.nbytes
        if size <= self._cache_left:
            self._cache[place] = image, known
            self._cache_left -= size
        return image, known


def make_targets(marks: NDArray[np.uint8], sample: Sample, config: Config) -> Targets:
    """Make what one image is trained against.

    First the pixels' weights: 1 on good ones, by the distance transform in outlined defects, w_pos on
    scribbled ones, whose border is no border of a defect. Then 0 on unknown ones. Then the weights are
    reduced to cells, and the target is the share of defect among the *known* pixels around each cell.

    Parameters
    ----------
    marks
        (H, W) at the network's input size, from `segdec.data.pixels.load_pixels`.
    sample
        Its label.
    config
        The loss part is used.

    Returns
    -------
    Targets
    """
    loss = config.loss
    defect, known = marks >= DEFECT, marks != UNKNOWN  # (H, W) each
    seg_target = reduce_to_cells(defect.astype(np.float32), loss.reduction)  # (H/8, W/8)
    share = np.ones_like(seg_target)
    if not known.all():
        share = reduce_to_cells(known.astype(np.float32), loss.reduction)
    if loss.distance_weights and defect.any():
        pixel_weights = weight_map(defect, loss.w_pos, loss.p, loss.d_max)
        pixel_weights[marks == SCRIBBLED] = loss.w_pos
        weights = reduce_to_cells(pixel_weights * known, loss.reduction)
    else:
        weights = share.copy()
    seg_target = np.divide(seg_target, share, out=np.zeros_like(share), where=share > _NONE_KNOWN)
    weights[share <= _NONE_KNOWN] = 0
    soft = loss.decision_target == "soft" and bool(defect.any())
    return Targets(seg_target, weights, float(seg_target.max()) if soft else float(sample.label))


def augment(
    image: NDArray[np.float32],
    marks: NDArray[_Known],
    config: AugmentConfig,
    generator: np.random.Generator,
    flip: Callable[[NDArray[_Known], tuple[int, ...]], NDArray[_Known]] = np.flip,
) -> tuple[NDArray[np.float32], NDArray[_Known]]:
    """Change an image and its marks at random; weights are made from the changed marks.

    Parameters
    ----------
    image
        (H, W, C) in [0, 1].
    marks
        (H, W), or a score map (H/8, W/8): it is flipped and turned alike.
    config
        Which changes.
    generator
        Source of randomness.
    flip
        Mirrors marks along axes; a score map needs `flip_cells`.

    Returns
    -------
    image, marks
        Of the same shapes.
    """
    if config.flip:
        axes = tuple(int(axis) for axis in np.flatnonzero(generator.integers(0, 2, 2)))
        image, marks = np.flip(image, axes), flip(marks, axes)
    if config.turn:
        step = 1 if image.shape[0] == image.shape[1] else 2
        turns = step * int(generator.integers(0, 4 // step))
        image = np.rot90(image, turns)
        marks = marks if turns % 2 == 0 else marks.T  # a turn is a transposition and a flip, or two flips
        marks = flip(marks, ((), (0,), (0, 1), (1,))[turns])
    if config.contrast:
        factor = np.float32(generator.uniform(1 - config.contrast, 1 + config.contrast))
        mean = image.mean(dtype=np.float32)
        image = (image - mean) * factor + mean
    if config.brightness:
        image = image + np.float32(generator.uniform(-config.brightness, config.brightness))
    if config.contrast or config.brightness:
        image = np.clip(image, 0, 1)
    return image, np.ascontiguousarray(marks)


def flip_cells(
    cells: NDArray[np.float32], axes: tuple[int, ...], reduction: Literal["mean17", "area"]
) -> NDArray[np.float32]:
    """Mirror a score map as a mask is mirrored that is then reduced to cells.

    With "mean17" a cell tells of a window around its *first* pixel. Mirrored, that is around its last one,
    which is 7 pixels off; so 7/8 of each value come from the neighbour.

    Parameters
    ----------
    cells
        (H/8, W/8).
    axes
        Along which; 0 is top-bottom, 1 left-right.
    reduction
        As of ``loss.reduction``.

    Returns
    -------
    ndarray
        The same shape.

    Examples
    --------
    >>> flip_cells(np.array([[0, 0, 8, 0]], np.float32), (1,), "mean17").tolist()
    [[0.0, 1.0, 7.0, 0.0]]
    """
    near, far = np.float32(1 / STRIDE), np.float32(1 - 1 / STRIDE)
    for axis in axes:
        cells = np.flip(cells, axis)
        if reduction == "mean17":
            places = np.maximum(np.arange(cells.shape[axis]) - 1, 0)  # beyond the border: as at the border
            cells = near * cells + far * cells.take(places, axis)
    return cells


def training_loader(
    samples: Sequence[Sample], config: Config, sampler: EpochSampler, answers: Answers | None = None
) -> DataLoader[Batch]:
    """Open the loader of the training part.

    Parameters
    ----------
    samples
        The training part, in the order that the sampler's places mean.
    config
        With ``data.image_size`` and ``data.channels`` set.
    sampler
        Decides each epoch's batches; call its ``start_epoch`` before each iteration.
    answers
        As of `TrainingSet`.

    Returns
    -------
    DataLoader
        Yields `Batch`.
    """
    workers = config.data.workers
    if workers:
        # a forked worker would wait for ever for OpenCV's threads, which stay behind in this process; and
        # the other cores belong to the network
        cv2.setNumThreads(1)
    cache_bytes = config.data.cache_mib * _MIB // max(workers, 1)
    return DataLoader(
        TrainingSet(samples, config, cache_bytes, answers),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device_type() != "cpu",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start_worker,
    )


def _start_worker(_worker: int) -> None:
    # Ctrl-C and the signals of a job scheduler go to whole process groups, or to every process of a service,
    # but only the training process knows between which steps it can stop; a worker that died first would cut
    # a step in two. It ends with the training, which tells it so
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
