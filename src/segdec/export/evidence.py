"""Which images an export is compared on, and which ones choose the ranges of its 8-bit values."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.data.find import find_images
from segdec.errors import DataError
from segdec.runs import open_run
from segdec.types import Sample

FEWEST_TO_CALIBRATE = 8
MOST_TO_CALIBRATE = 64
"""More do not change a mean of maxima noticeably, and cost their time."""


@dataclass(frozen=True)
class Proof:
    """An image to compare on.

    Attributes
    ----------
    name
        What the certificate calls it.
    path
        The file.
    label
        True where it holds a defect; None is not known.
    """

    name: str
    path: Path
    label: bool | None


@dataclass(frozen=True)
class Evidence:
    """The images that an export needs.

    Attributes
    ----------
    proofs
        To be compared on.
    origin
        Where they come from, in words.
    calibrating
        To choose ranges by.
    calibrated_on
        Where those come from, in words.
    """

    proofs: tuple[Proof, ...]
    origin: str
    calibrating: tuple[Path, ...]
    calibrated_on: str


def gather_evidence(folder: Path, images: Path | None) -> Evidence:
    """List the images of a model's run, and those that are given besides.

    A run's validation and test part certify it, its training part where it has neither; that part always
    calibrates. For a model without its run, the given images do both.

    Parameters
    ----------
    folder
        A run folder, or a model folder.
    images
        A data set, or a folder of images without labels.

    Returns
    -------
    Evidence

    Raises
    ------
    DataError
        If there are no images.
    """
    run_folder = _run_of(folder)
    given = _given(images) if images is not None else ()
    if run_folder is None:
        if images is None:
            raise DataError(
                f"{folder} is a model without data of its own; name images that certify its exports: --images"
            )
        calibrating = _spread([proof.path for proof in given])
        return Evidence(given, f"images in {images}", calibrating, "the certifying images themselves")
    split = open_run(run_folder).split
    parts = {"validation": split.val, "test": split.test}
    judging = [f"{name} part" for name, samples in parts.items() if samples]
    samples = (*split.val, *split.test)
    origin = f"the run's {' and '.join(judging)}"
    if not samples:
        samples, origin = split.train, "the run's training part, as its split has no other"
    if images is not None:
        origin += f", and images in {images}"
    proofs = (*(_proof(sample) for sample in samples), *given)
    calibrating = _spread([sample.image for sample in split.train])
    return Evidence(proofs, origin, calibrating, f"{len(calibrating)} images of the run's training part")


def _run_of(folder: Path) -> Path | None:
    for candidate in (folder, folder.parent if folder.name == "model" else folder):
        if (candidate / "config.toml").exists():
            return candidate
    return None


def _given(folder: Path) -> tuple[Proof, ...]:
    try:
        return tuple(_proof(sample) for sample in open_dataset(folder, DataConfig(), one_class=True))
    except DataError:
        return tuple(Proof(str(path), path, None) for path in find_images([str(folder)], sys.stdin).images)


def _proof(sample: Sample) -> Proof:
    return Proof(sample.name, sample.image, sample.label)


def _spread(paths: list[Path]) -> tuple[Path, ...]:
    """Take so many, evenly over the list."""
    count = min(len(paths), MOST_TO_CALIBRATE)
    return tuple(paths[place * len(paths) // count] for place in range(count))
