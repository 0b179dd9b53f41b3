"""Decode every file once before training: what is unreadable, how large, of what hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segdec.data.scan import map_in_threads
from segdec.errors import ImageError
from segdec.files import sha256
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
    contents
        Name -> what the data set says of each usable sample: its name, label, group, and hashes of image and
        mask.
    image_hashes
        Name -> SHA-256 (hexadecimal) of each usable image file.
    sizes
        Name -> (height, width) of each usable image, in pixels.
    grey
        True where every usable image is grey, be it stored as colour.
    """

    samples: tuple[Sample, ...]
    unreadable: dict[str, str]
    contents: dict[str, bytes]
    image_hashes: dict[str, str]
    sizes: dict[str, ImageSize]
    grey: bool

    @property
    def data_hash(self) -> str:
        """SHA-256 (hexadecimal) over all contents; the same wherever the data set lies."""
        return sha256(b"".join(content for _, content in sorted(self.contents.items())))

    def without(self, lost: Mapping[str, str]) -> FileCheck:
        """Count more samples among those that cannot be used.

        Parameters
        ----------
        lost
            Name -> reason.
        """
        return replace(
            self,
            samples=tuple(sample for sample in self.samples if sample.name not in lost),
            unreadable={**self.unreadable, **lost},
            contents={name: content for name, content in self.contents.items() if name not in lost},
            image_hashes={name: value for name, value in self.image_hashes.items() if name not in lost},
            sizes={name: size for name, size in self.sizes.items() if name not in lost},
        )


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
    return FileCheck(
        samples=tuple(each.sample for each in usable),
        unreadable={each.sample.name: each.reason for each in looks if each.reason},
        contents={each.sample.name: _content(each) for each in usable},
        image_hashes={each.sample.name: each.hashes[0] for each in usable},
        sizes={each.sample.name: each.size for each in usable},
        grey=all(each.grey for each in usable),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    sample: Sample
    reason: str = ""
    size: ImageSize = (0, 0)
    grey: bool = True
    hashes: tuple[str, ...] = ()


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
    return _Look(sample, size=size, grey=grey, hashes=_hash_files(sample))


def _content(look: _Look) -> bytes:
    sample = look.sample
    fields = (sample.name, str(int(sample.label)), sample.group, " ".join(look.hashes))
    return "\0".join(fields).encode() + b"\0"


def _hash_files(sample: Sample) -> tuple[str, ...]:
    """Return the SHA-256 of the image, and of the mask where there is one."""
    contents = [sample.image.read_bytes()]
    if isinstance(sample.mask, Path):
        contents.append(sample.mask.read_bytes())
    elif isinstance(sample.mask, RunLengths):
        contents.append("\n".join(sample.mask.rows).encode())
    elif isinstance(sample.mask, Shapes):
        contents += [_shape_content(item) for item in sample.mask.items]
    return tuple(sha256(content) for content in contents)


def _shape_content(item: Shape) -> bytes:
    if isinstance(item.form, Path):
        form = item.form.read_bytes()
    elif isinstance(item.form, RunLengths):
        form = "\n".join(item.form.rows).encode()
    else:
        form = repr(item.form).encode()
    return f"{item.meaning} {item.type} ".encode() + form
