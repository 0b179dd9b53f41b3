"""Look at every image once: what all findings are made of, small enough to keep for the whole data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segdec.data.scan import map_in_threads
from segdec.doctor.outline import Outline, measure_outline
from segdec.errors import ImageError
from segdec.imaging import DEFECT, UNKNOWN, read_image, read_marks, resize_image, to_unit
from segdec.inputs import check_size
from segdec.types import ImageSize, Sample

THUMBNAIL = 128
"""Side of the square thumbnails that duplicates are told by, in pixels."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of one image.

    Attributes
    ----------
    sample
        Which one.
    size
        (height, width) in pixels.
    grey
        True where its channels are equal, be it stored as colour.
    pixel_hash
        SHA-256 (hexadecimal) of the decoded pixels: the same for the same picture in another format.
    mean, deviation
        Of its grey levels, in [0, 1].
    thumbnail
        (THUMBNAIL, THUMBNAIL) float32, grey levels in [0, 1].
    marked
        True where its mask marks a defect, be it by a scribble.
    outline
        What its mask covers; None without a defect's outline: a scribble has no form.
    """

    sample: Sample
    size: ImageSize
    grey: bool
    pixel_hash: str
    mean: float
    deviation: float
    thumbnail: NDArray[np.float32]
    marked: bool
    outline: Outline | None


def look_at_all(
    samples: Sequence[Sample], watch: Callable[[int, int], None] | None = None
) -> tuple[list[Look], dict[str, str]]:
    """Decode every image and mask in full, in threads.

    Parameters
    ----------
    samples
        What is to be examined.
    watch
        Called with (done, total) after each sample.

    Returns
    -------
    looks : list of Look
        In the order of the samples, without the unreadable ones.
    unreadable : dict
        Name -> reason.
    """
    looks: list[Look] = []
    unreadable: dict[str, str] = {}
    for done, (sample, result) in enumerate(
        zip(samples, map_in_threads(_try_to_look, samples), strict=True), start=1
    ):
        if isinstance(result, Look):
            looks.append(result)
        else:
            unreadable[sample.name] = str(result)
        if watch is not None:
            watch(done, len(samples))
    return looks, unreadable


def _try_to_look(sample: Sample) -> Look | ImageError:
    try:
        return _look(sample)
    except ImageError as error:
        return error


def _look(sample: Sample) -> Look:
    image = read_image(sample.image)  # (H, W, C)
    size = (image.shape[0], image.shape[1])
    check_size(size, str(sample.image), None)
    plain = image.shape[2] == 1 or bool((image == image[..., :1]).all())
    grey = to_unit(image[..., 0] if plain else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))  # (H, W)
    digest = hashlib.sha256(str((*size, image.dtype.str)).encode())
    digest.update(np.ascontiguousarray(image[..., :1] if plain else image).data)
    mean, deviation = cv2.meanStdDev(grey)
    marks = _marks(sample, size)  # (H, W)
    marked = bool((marks >= DEFECT).any())
    return Look(
        sample,
        size,
        plain,
        digest.hexdigest(),
        float(mean[0, 0]),
        float(deviation[0, 0]),
        resize_image(grey, (THUMBNAIL, THUMBNAIL)),
        marked,
        measure_outline(grey, marks >= DEFECT) if (marks == DEFECT).any() else None,
    )


def _marks(sample: Sample, size: ImageSize) -> NDArray[np.uint8]:
    if sample.mask is None:
        return np.full(size, UNKNOWN, np.uint8)
    marks = read_marks(sample.mask, size)
    marked = (marks >= DEFECT).any()
    # the defect of an image may lie where nobody has looked
    if marked != sample.label and (marked or not (marks == UNKNOWN).any()):
        raise ImageError(
            f"{sample.image} is labelled {'defect' if sample.label else 'good'}, but its mask marks"
            f" {'a defect' if marked else 'none'}; correct the one or the other"
        )
    return marks
