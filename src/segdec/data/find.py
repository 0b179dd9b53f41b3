"""From what a command line names to image files."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from segdec.data.folders import find_masks
from segdec.errors import DataError
from segdec.imaging import IMAGE_SUFFIXES


class Found(NamedTuple):
    """Image files that a command line names.

    Attributes
    ----------
    images
        To be predicted.
    masks
        Files beside them that are masks of data sets by their names, and no images.
    """

    images: list[Path]
    masks: list[Path]


def find_images(arguments: Sequence[str], stdin: TextIO) -> Found:
    """List the images that a command line names.

    Parameters
    ----------
    arguments
        Files, folders (searched with all folders below), patterns with ``*``, ``?``, ``[`` or ``**``, and
        "-" for a list on ``stdin``. A file that is named itself is taken whatever its ending, and whether
        or not it exists: predicting it says what is wrong, and the others go on. In folders and patterns
        masks are told from images, as training does.
    stdin
        One file, folder or pattern a line.

    Returns
    -------
    Found
        In the order of the arguments, sorted within folders and patterns, none twice.

    Raises
    ------
    DataError
        If a folder or pattern holds no image, or nothing that is named exists.
    """
    names: list[str] = []
    for argument in arguments:
        names += [line.rstrip("\r\n") for line in stdin] if argument == "-" else [argument]
    try:
        expanded = [_expand(name) for name in names if name.strip()]
        found = [path for each in expanded for path in each.images]
        exists = any(path.exists() for path in found)
    except OSError as error:
        raise DataError(f"cannot look for images: {error}; check the names and their rights") from error
    if not exists:
        named = f"{found[0]} does not exist" if found else "no image was named"
        raise DataError(f"{named}; name image files, folders or patterns")
    images = dict.fromkeys(found)
    masks = dict.fromkeys(path for each in expanded for path in each.masks if path not in images)
    return Found(list(images), list(masks))


def _expand(argument: str) -> Found:
    path = Path(argument)
    if path.is_dir():
        images = [each for each in sorted(path.rglob("*")) if _is_image(each)]
        if not images:
            raise DataError(f"the folder {path} holds no image ({_endings()}); name another folder")
        return _without_masks(path, images)
    if path.exists() or not glob.has_magic(argument):
        return Found([path], [])
    matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207 (Path.glob takes no absolute pattern)
    images = [each for each in matches if _is_image(each)]
    if not images:
        raise DataError(f'no image ({_endings()}) matches "{argument}"; correct the pattern')
    return _without_masks(Path(images[0].anchor), images)


def _without_masks(root: Path, paths: list[Path]) -> Found:
    masks = find_masks(root, paths)
    return Found([path for path in paths if path not in masks], [path for path in paths if path in masks])


def _is_image(path: Path) -> bool:
    # a leading dot: what macOS writes beside each file on other disks has the image's ending
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _endings() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
