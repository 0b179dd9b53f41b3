"""What every reader needs: the image files of a folder, and labels taken from masks."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from segdec.errors import DataError, ImageError
from segdec.imaging import IMAGE_SUFFIXES, read_image_size, read_mask
from segdec.types import Dataset, ImageSize, Sample

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


def known_size(image: Path) -> ImageSize | None:
    """Return the (height, width) in an image file's header, None if it cannot be read.

    Whoever decodes all files says why it cannot.
    """
    try:
        return read_image_size(image)
    except ImageError:
        return None


def read_head(path: Path, most: int) -> bytes:
    """Return the first bytes of a file, at most so many, without reading the rest."""
    with path.open("rb") as file:
        return file.read(most)


def starts_with(path: Path, bracket: bytes) -> bool:
    """Tell by its first character what a JSON file may be; a byte order mark before it does not count."""
    return read_head(path, 64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(bracket)


def map_in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function to every item in threads.

    Parameters
    ----------
    work
        The function; what it raises is raised here, and what has not begun is dropped then.
    items
        Its arguments.

    Yields
    ------
    R
        The results in the order of the items.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(cancel_futures=True)


def label_by_mask(samples: Iterable[Sample], *, strict: bool) -> tuple[list[Sample], dict[str, str]]:
    """Set each sample's label by its mask: a defect where any pixel is one.

    Parameters
    ----------
    samples
        Samples with a mask; one without keeps its label.
    strict
        True raises the first error instead of listing it.

    Returns
    -------
    labelled
        The same samples with their labels.
    excluded
        Name -> reason for those whose mask, or the size of whose image, cannot be read.

    Raises
    ------
    ImageError
        With ``strict``, if a file cannot be used.
    """

    def look(sample: Sample) -> tuple[Sample, str]:
        if sample.mask is None:
            return sample, ""
        try:
            mask = read_mask(sample.mask, read_image_size(sample.image))
        except ImageError as error:
            if strict:
                raise
            return sample, str(error)
        return replace(sample, label=bool(mask.any())), ""

    looks = list(map_in_threads(look, samples))
    labelled = [sample for sample, reason in looks if not reason]
    return labelled, {sample.name: reason for sample, reason in looks if reason}


def refuse_missing(annotation: Path, missing: Mapping[str, str]) -> None:
    """Raise an error if files that a table or an annotation names do not exist.

    Parameters
    ----------
    annotation
        What names them.
    missing
        Their names -> file and place that name them, "" if that is not known.

    Raises
    ------
    DataError
        With up to three of the names, and the place of the first.
    """
    names = sorted(missing)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        place = f" (the first: {missing[names[0]]})" if missing[names[0]] else ""
        raise DataError(
            f"{annotation} names files that do not exist: {', '.join(names[:3])}{more}; correct their paths"
            f"{place} or add them"
        )


def finish(
    root: Path,
    layout: str,
    samples: Iterable[Sample],
    excluded: dict[str, str],
    unlabelled: Iterable[Path] = (),
) -> Dataset:
    """Make a data set of what a reader found: ordered by name, free of duplicates.

    Parameters
    ----------
    root, layout, samples, excluded, unlabelled
        As in `Dataset`, in any order.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If an image is listed twice.
    """
    ordered = sorted(samples, key=lambda sample: sample.name)
    for one, following in pairwise(ordered):
        if one.name == following.name:
            raise DataError(f"{root} lists the image {one.name} twice; keep one of its entries")
    return Dataset(root, layout, tuple(ordered), dict(sorted(excluded.items())), tuple(sorted(unlabelled)))
