"""Which images an export is compared on, and which ones choose the ranges of its 8-bit values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from segdec.config import DataConfig
from segdec.data import open_dataset
from segdec.data.find import find_images
from segdec.data.tiles import cut_samples
from segdec.errors import DataError
from segdec.runs import Run, open_run
from segdec.tiles import Tiling
from segdec.types import Sample

T = TypeVar("T")

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
        To choose ranges by; images, or tiles of them.
    calibrated_on
        Where those come from, in words.
    data
        How their masks are read.
    """

    proofs: tuple[Proof, ...]
    origin: str
    calibrating: tuple[Sample, ...]
    calibrated_on: str
    data: DataConfig


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
    run = _run_of(folder, images)
    given = _given(images) if images is not None else ()
    if run is None:
        if images is None:
            raise DataError(
                f"{folder} is a model without data of its own; name images that certify its exports: --images"
            )
        # as if without a defect: which of their tiles has one is not known
        calibrating = _spread([Sample(proof.name, proof.path, label=False) for proof in given])
        words = f"images in {images}", "the certifying images themselves"
        return Evidence(given, words[0], calibrating, words[1], DataConfig())
    split = run.split
    parts = {"validation": split.val, "test": split.test}
    judging = [f"{name} part" for name, samples in parts.items() if samples]
    samples = (*split.val, *split.test)
    origin = f"the run's {' and '.join(judging)}"
    if not samples:
        samples, origin = split.train, "the run's training part, as its split has no other"
    if images is not None:
        origin += f", and images in {images}"
    proofs = (*(_proof(sample) for sample in samples), *given)
    calibrating = _spread(split.train)
    calibrated_on = f"{len(calibrating)} images of the run's training part"
    return Evidence(proofs, origin, calibrating, calibrated_on, run.config.data)


def cut_calibrating(evidence: Evidence, tiling: Tiling) -> Evidence:
    """Choose ranges by tiles instead of whole images: half of them with a defect, as far as there are such.

    Few tiles of an image show its defect. Drawn evenly they would set ranges that cut off what the network
    sees in it.

    Parameters
    ----------
    evidence
        With images to choose ranges by.
    tiling
        How they are cut.

    Returns
    -------
    Evidence
        The same, but for ``calibrating`` and ``calibrated_on``.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    tiles = cut_samples(evidence.calibrating, tiling, evidence.data)
    defective = _spread([tile for tile in tiles if tile.label], MOST_TO_CALIBRATE // 2)
    good = _spread([tile for tile in tiles if not tile.label], MOST_TO_CALIBRATE - len(defective))
    chosen = (*defective, *good)
    return replace(
        evidence, calibrating=chosen, calibrated_on=f"{len(chosen)} tiles of {evidence.calibrated_on}"
    )


def _run_of(folder: Path, images: Path | None) -> Run | None:
    """Open the run that a model is of; None where there is none, or only other images are at hand."""
    for candidate in (folder, folder.parent if folder.name == "model" else folder):
        if (candidate / "config.toml").exists():
            try:
                return open_run(candidate)
            except DataError as error:
                if images is None:
                    raise DataError(f"{error}, or name other images that certify: --images") from error
                return None
    return None


def _given(folder: Path) -> tuple[Proof, ...]:
    try:
        return tuple(_proof(sample) for sample in open_dataset(folder, DataConfig(), one_class=True))
    except DataError:
        return tuple(Proof(str(path), path, None) for path in find_images([str(folder)], sys.stdin).images)


def _proof(sample: Sample) -> Proof:
    return Proof(sample.name, sample.image, sample.label)


def _spread(members: Sequence[T], most: int = MOST_TO_CALIBRATE) -> tuple[T, ...]:
    """Take so many, evenly over the list."""
    count = min(len(members), most)
    return tuple(members[place * len(members) // count] for place in range(count))
