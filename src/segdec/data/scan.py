"""What every reader needs: the image files of a folder, and labels taken from masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from segdec.errors import DataError, ImageError
from segdec.imaging import IMAGE_SUFFIXES, read_image_size, read_mask
from segdec.types import Dataset, Sample

T = TypeVar("T")
R = TypeVar("R")

THREADS = 8
"""Decoding releases Python's lock, and a network drive is waited for side by side."""


def list_images(folder: Path, *, deep: bool = False) -> list[Path]:
    """List the image files of a folder by their ending.

    Parameters
    ----------
    folder
        Where to look; a folder that does not exist holds none.
    deep
        True also looks into the folders below.

    Returns
    -------
    list
        Sorted paths; hidden files (a leading dot) are left out.
    """
    found = folder.rglob("*") if deep else folder.glob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def name_below(root: Path, path: Path) -> str:
    """Return the path below a root, with "/" between its parts, as the name of a sample.

    Examples
    --------
    >>> name_below(Path("data"), Path("data/kos01/Part0.jpg"))
    'kos01/Part0.jpg'
    """
    return path.relative_to(root).as_posix()


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to every item in threads; the results keep the items' order.

    Parameters
    ----------
    work
        The function; what it raises is raised here.
    items
        Its arguments.

    Returns
    -------
    list
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def label_by_mask(samples: Iterable[Sample]) -> tuple[list[Sample], dict[str, str]]:
    """Set each sample's label by its mask: a defect where any pixel is one.

    Parameters
    ----------
    samples
        Samples with a mask; one without keeps its label.

    Returns
    -------
    labelled
        The same samples with their labels.
    excluded
        Name -> reason for those whose mask (or image) cannot be read.
    """

    def look(sample: Sample) -> Sample | tuple[str, str]:
        if sample.mask is None:
            return sample
        try:
            mask = read_mask(sample.mask, read_image_size(sample.image))
        except ImageError as error:
            return sample.name, str(error)
        return replace(sample, label=bool(mask.any()))

    results = in_threads(look, samples)
    labelled = [result for result in results if isinstance(result, Sample)]
    return labelled, dict(result for result in results if isinstance(result, tuple))


def finish(root: Path, layout: str, samples: Iterable[Sample], excluded: dict[str, str]) -> Dataset:
    """Make a data set of what a reader found: ordered by name, free of duplicates.

    Parameters
    ----------
    root, layout, samples, excluded
        As in `Dataset`, the samples in any order.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If an image is listed twice.
    """
    ordered = sorted(samples, key=lambda sample: sample.name)
    for one, next_one in zip(ordered, ordered[1:], strict=False):
        if one.name == next_one.name:
            raise DataError(f"{root} lists the image {one.name} twice; keep one of its entries")
    return Dataset(root, layout, tuple(ordered), dict(sorted(excluded.items())))
