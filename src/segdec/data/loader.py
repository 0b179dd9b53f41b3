"""From samples to training batches: decode, resize, augment, weigh, reduce."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdec.config import AugmentConfig, Config
from segdec.imaging import read_image, read_mask, resize_image, resize_mask, to_unit
from segdec.runtime import device_type
from segdec.sampling import Draw, EpochSampler
from segdec.types import Sample
from segdec.weighting import dilate, reduce_to_cells, weight_map

_MIB = 1 << 20


class Batch(NamedTuple):
    """What one forward and backward pass needs.

    Attributes
    ----------
    image
        (N, C, H, W) float32 in [0, 1].
    seg_target
        (N, 1, H/8, W/8): the share of defect around each cell.
    weight_map
        (N, 1, H/8, W/8): loss weights; all 0 for a defective image without mask.
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
        Decoded, resized images and masks are kept up to this many bytes, in each process that fetches.
    """

    def __init__(self, samples: Sequence[Sample], config: Config, cache_bytes: int) -> None:
        self.samples = tuple(samples)
        self.config = config
        self._cache: dict[int, tuple[NDArray[np.generic], NDArray[np.bool_]]] = {}
        self._cache_left = cache_bytes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> Batch:
        sample = self.samples[draw.image]
        image, mask = self._pixels(draw.image)  # (H, W, C) uint8 or uint16, (H, W)
        unit = to_unit(image)  # (H, W, C) in [0, 1]
        generator = np.random.default_rng([self.config.train.seed, draw.number, 1])
        unit, mask = augment(unit, mask, self.config.augment, generator)
        seg_target, weights, dec_target = make_targets(mask, sample, self.config)
        return Batch(
            torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1))),  # (C, H, W)
            torch.from_numpy(seg_target)[None],  # (1, H/8, W/8)
            torch.from_numpy(weights)[None],
            torch.tensor([dec_target]),  # (1,)
            torch.tensor(draw.image),
        )

    def _pixels(self, place: int) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        if place in self._cache:
            return self._cache[place]
        pixels = load_pixels(self.samples[place], self.config)
        size = sum(array.nbytes for array in pixels)
        if size <= self._cache_left:
            self._cache[place] = pixels
            self._cache_left -= size
        return pixels


def load_pixels(sample: Sample, config: Config) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Read an image and its mask at the network's input size.

    Parameters
    ----------
    sample
        Which.
    config
        ``data.image_size`` and ``data.channels`` must be set. Masks are dilated after the resize.

    Returns
    -------
    image
        (H, W, C) uint8 or uint16.
    mask
        (H, W), True on defects; all False without annotation.

    Raises
    ------
    ImageError
        If a file cannot be used.
    """
    size, channels = config.data.image_size, config.data.channels
    if size is None or channels is None:
        raise ValueError("data.image_size and data.channels must be set before images are loaded")
    image = read_image(sample.image, channels)
    mask = np.zeros(size, bool)
    if sample.label and sample.mask is not None:
        mask = dilate(
            resize_mask(read_mask(sample.mask, (image.shape[0], image.shape[1])), size), config.data.dilation
        )
    return resize_image(image, size), mask


def make_targets(
    mask: NDArray[np.bool_], sample: Sample, config: Config
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Make what one image is trained against.

    Parameters
    ----------
    mask
        (H, W) at the network's input size, True on defects.
    sample
        Its label, and whether it has pixel annotation.
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
    seg_target = reduce_to_cells(mask.astype(np.float32))
    if sample.weak:
        weights = np.zeros_like(seg_target)  # nothing is known of its pixels
    elif loss.distance_weights and mask.any():
        weights = reduce_to_cells(weight_map(mask, loss.w_pos, loss.p))
    else:
        weights = np.ones_like(seg_target)
    soft = loss.decision_target == "soft" and not sample.weak
    return seg_target, weights, float(seg_target.max()) if soft else float(sample.label)


def augment(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: AugmentConfig,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Change an image and its mask at random; weights are made from the changed mask.

    Parameters
    ----------
    image
        (H, W, C) in [0, 1].
    mask
        (H, W).
    config
        Which changes.
    generator
        Source of randomness.

    Returns
    -------
    image, mask
        Of the same shapes.
    """
    if config.flip:
        axes = tuple(int(axis) for axis in np.flatnonzero(generator.integers(0, 2, 2)))
        image, mask = np.flip(image, axes), np.flip(mask, axes)
    if config.turn:
        step = 1 if image.shape[0] == image.shape[1] else 2
        turns = step * int(generator.integers(0, 4 // step))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if config.contrast:
        factor = np.float32(generator.uniform(1 - config.contrast, 1 + config.contrast))
        mean = image.mean(dtype=np.float32)
        image = (image - mean) * factor + mean
    if config.brightness:
        image = image + np.float32(generator.uniform(-config.brightness, config.brightness))
    if config.contrast or config.brightness:
        image = np.clip(image, 0, 1)
    return image, np.ascontiguousarray(mask)


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
        # The other cores belong to the network. Said here and not in the workers: a forked process that
        # gives up OpenCV's threads waits for ever for those that stayed behind in its parent.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is for the training process
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
