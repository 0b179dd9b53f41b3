"""Decode every file once before training: what is unreadable, how large, of what hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdec.data.scan import map_in_threads
from segdec.errors import ImageError
from segdec.imaging import DEFECT, UNKNOWN, read_image, read_marks
from segdec.types import ImageSize, RunLengths, Sample, Shape, Shapes


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What came out of decoding every file.

    Attributes
    ----------
    samples
        Those whose image and mask decode in full and agree with the label, in the order given.
    unreadable
        Name -> reason, for the others.
    data_hash
        SHA-256 (hexadecimal) over the usable samples' names, labels, groups, images and masks; the same
        wherever the data set lies.
    sizes
        Name -> (height, width) of each usable image, in pixels.
    grey
        True where every usable image is grey, be it stored as colour.
    """

    samples: tuple[Sample, ...]
    unreadable: dict[str, str]
    data_hash: str
    sizes: dict[str, ImageSize]
    grey: bool


def check_files(
    samples: Sequence[Sample], *, strict: bool = False, progress: Callable[[int, int], None] | None = None
) -> FileCheck:
    """Decode every image and mask in full, in threads.

    Parameters
    ----------
    samples
        What is to be used.
    strict
        True raises the first error instead of listing it.
    progress
        Called with (done, total) after each sample.

    Returns
    -------
    FileCheck

    Raises
    ------
    ImageError
        With ``strict``, if a file cannot be used.
    """

    def look(sample: Sample) -> _Look:
        try:
            return _look(sample)
        except ImageError as error:
            if strict:
                raise
            return _Look(sample, reason=str(error))

    looks = []
    for look_at_one in map_in_threads(look, samples):
        looks.append(look_at_one)
        if progress is not None:
            progress(len(looks), len(samples))
    usable = [each for each in looks if not each.reason]
    digest = hashlib.sha256()
    for each in sorted(usable, key=lambda each: each.sample.name):
        fields = (each.sample.name, str(int(each.sample.label)), each.sample.group, each.digest)
        digest.update("\0".join(fields).encode() + b"\0")
    return FileCheck(
        samples=tuple(each.sample for each in usable),
        unreadable={each.sample.name: each.reason for each in looks if each.reason},
        data_hash=digest.hexdigest(),
        sizes={each.sample.name: each.size for each in usable},
        grey=all(each.grey for each in usable),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    sample: Sample
    reason: str = ""
    size: ImageSize = (0, 0)
    grey: bool = True
    digest: str = ""


def _look(sample: Sample) -> _Look:
    image = read_image(sample.image)
    size = (image.shape[0], image.shape[1])
    if sample.mask is not None:
        marks = read_marks(sample.mask, size)
        marked = bool((marks >= DEFECT).any())
        # the defect of an image may lie where nobody has looked
        if marked != sample.label and (marked or not (marks == UNKNOWN).any()):
            raise ImageError(
                f"{sample.image} is labelled {'defect' if sample.label else 'good'}, but its mask marks"
                f" {'a defect' if marked else 'none'}; correct the one or the other"
            )
    grey = image.shape[2] == 1 or bool((image == image[..., :1]).all())
    return _Look(sample, size=size, grey=grey, digest=_digest_files(sample))


def _digest_files(sample: Sample) -> str:
    digests = [hashlib.sha256(sample.image.read_bytes()).hexdigest()]
    if isinstance(sample.mask, Path):
        digests.append(hashlib.sha256(sample.mask.read_bytes()).hexdigest())
    elif isinstance(sample.mask, RunLengths):
        digests.append(_digest_rows(sample.mask))
    elif isinstance(sample.mask, Shapes):
        digests += [_digest_shape(item) for item in sample.mask.items]
    return " ".join(digests)


def _digest_shape(item: Shape) -> str:
    if isinstance(item.form, Path):
        form = hashlib.sha256(item.form.read_bytes()).hexdigest()
    elif isinstance(item.form, RunLengths):
        form = _digest_rows(item.form)
    else:
        form = repr(item.form)
    return f"{item.meaning} {item.type} {form}"


def _digest_rows(runs: RunLengths) -> str:
    return hashlib.sha256("\n".join(runs.rows).encode()).hexdigest()
