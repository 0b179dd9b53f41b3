"""From samples to training batches: decode, resize, augment, weigh, reduce."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdec.config import AugmentConfig, Config
from segdec.data.pixels import load_pixels
from segdec.imaging import DEFECT, SCRIBBLED, UNKNOWN, to_unit
from segdec.runtime import device_type
from segdec.sampling import Draw, EpochSampler
from segdec.types import Sample
from segdec.weighting import reduce_to_cells, weight_map

_MIB = 1 << 20
_NONE_KNOWN = 1e-4
"""Less than one of the 289 pixels around a cell: what is left of rounding."""


class Batch(NamedTuple):
    """What one forward and backward pass needs.

    Attributes
    ----------
    image
        (N, C, H, W) float32 in [0, 1].
    seg_target
        (N, 1, H/8, W/8): the share of defect around each cell.
    weight_map
        (N, 1, H/8, W/8): loss weights; 0 where nothing is known, so everywhere in a defective image
        without mask.
    dec_target
        (N, 1).
    place
        (N,) places in the training set, to name images in errors.
    """

    image: Tensor
    seg_target: Tensor
    weight_map: Tensor
    dec_target: Tensor
    place: Tensor


class TrainingSet(Dataset[Batch]):
    """Samples as network input and targets; fetched by `Draw`.

    Parameters
    ----------
    samples
        The training part.
    config
        ``data.image_size`` and ``data.channels`` must be set.
    cache_bytes
        Decoded, resized images and marks are kept up to this many bytes, in each process that fetches.
    """

    def __init__(self, samples: Sequence[Sample], config: Config, cache_bytes: int) -> None:
        self.samples = tuple(samples)
        self.config = config
        self._cache: dict[int, tuple[NDArray[np.generic], NDArray[np.uint8]]] = {}
        self._cache_left = cache_bytes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> Batch:
        sample = self.samples[draw.image]
        image, marks = self._pixels(draw.image)  # (H, W, C) uint8 or uint16, (H, W)
        unit = to_unit(image)  # (H, W, C) in [0, 1]
        generator = np.random.default_rng([self.config.train.seed, draw.number, 1])
        unit, marks = augment(unit, marks, self.config.augment, generator)
        seg_target, weights, dec_target = make_targets(marks, sample, self.config)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1))),  # (C, H, W)
            torch.from_numpy(seg_target)[None],  # (1, H/8, W/8)
            torch.from_numpy(weights)[None],
            torch.tensor([dec_target]),  # (1,)
            torch.tensor(draw.image),
        )

    def _pixels(self, place: int) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
        if place in self._cache:
            return self._cache[place]
        pixels = load_pixels(self.samples[place], self.config)
        size = sum(array.nbytes for array in pixels)
        if size <= self._cache_left:
            self._cache[place] = pixels
            self._cache_left -= size
        return pixels


def make_targets(
    marks: NDArray[np.uint8], sample: Sample, config: Config
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
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
    seg_target, weight_map
        (H/8, W/8) each.
    dec_target
        0 or 1, or the reference's soft value.
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
    return seg_target, weights, float(seg_target.max()) if soft else float(sample.label)


def augment(
    image: NDArray[np.float32],
    marks: NDArray[np.uint8],
    config: AugmentConfig,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Change an image and its marks at random; weights are made from the changed marks.

    Parameters
    ----------
    image
        (H, W, C) in [0, 1].
    marks
        (H, W).
    config
        Which changes.
    generator
        Source of randomness.

    Returns
    -------
    image, marks
        Of the same shapes.
    """
    if config.flip:
        axes = tuple(int(axis) for axis in np.flatnonzero(generator.integers(0, 2, 2)))
        image, marks = np.flip(image, axes), np.flip(marks, axes)
    if config.turn:
        step = 1 if image.shape[0] == image.shape[1] else 2
        turns = step * int(generator.integers(0, 4 // step))
        image, marks = np.rot90(image, turns), np.rot90(marks, turns)
    if config.contrast:
        factor = np.float32(generator.uniform(1 - config.contrast, 1 + config.contrast))
        mean = image.mean(dtype=np.float32)
        image = (image - mean) * factor + mean
    if config.brightness:
        image = image + np.float32(generator.uniform(-config.brightness, config.brightness))
    if config.contrast or config.brightness:
        image = np.clip(image, 0, 1)
    return image, np.ascontiguousarray(marks)


def training_loader(samples: Sequence[Sample], config: Config, sampler: EpochSampler) -> DataLoader[Batch]:
    """Open the loader of the training part.

    Parameters
    ----------
    samples
        The training part, in the order that the sampler's places mean.
    config
        With ``data.image_size`` and ``data.channels`` set.
    sampler
        Decides each epoch's batches; call its ``start_epoch`` before each iteration.

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
        TrainingSet(samples, config, cache_bytes),
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device_type() != "cpu",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start_worker,
    )


def _start_worker(_worker: int) -> None:
    # Ctrl-C and the signals of a job scheduler go to whole process groups, but only the training process
    # knows between which steps it can stop; a worker that died first would cut a step in two
    if hasattr(os, "setpgrp"):
        os.setpgrp()
