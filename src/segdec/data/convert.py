"""Write a data set in another layout: folders with masks, or COCO."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.config import DataConfig
from segdec.data.check import check_files
from segdec.data.folders import (
    DEFECT_FOLDERS,
    GOOD_FOLDERS,
    IMAGE_FOLDERS,
    MASK_ENDINGS,
    MASK_FOLDERS,
    UNKNOWN_FOLDERS,
    UNLABELLED_FOLDERS,
)
from segdec.data.open import open_dataset
from segdec.data.tables import PART_NAMES
from segdec.errors import ConfigError, DataError, OutputError
from segdec.files import output_error
from segdec.imaging import DEFECT, UNKNOWN, encode_run_lengths, read_marks, write_image
from segdec.types import Dataset, ImageSize, Polygon, Sample, Scribble, Shape, Shapes

_CLASS_FOLDERS = {*DEFECT_FOLDERS, *GOOD_FOLDERS, *IMAGE_FOLDERS, *UNLABELLED_FOLDERS, *PART_NAMES}
_SPECIAL_FOLDERS = {*_CLASS_FOLDERS, *MASK_FOLDERS, *UNKNOWN_FOLDERS, "annotations", "labels"}


@dataclass(frozen=True, slots=True)
class Converted:
    """What `convert` did.

    Attributes
    ----------
    target
        The folder written.
    layout
        What the source was taken for.
    defective, good, unlabelled
        Numbers of images written.
    unreadable
        Name -> reason, for images that could not be used.
    lost
        What the target's layout cannot hold, in words.
    """

    target: Path
    layout: str
    defective: int
    good: int
    unlabelled: int
    unreadable: dict[str, str]
    lost: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say it for people."""
        lines = [
            f"Written to {self.target}: {self.defective} defective, {self.good} good and {self.unlabelled}"
            f" unlabelled images, read as {self.layout}."
        ]
        if self.lost:
            lines.append(f"Not kept: {', '.join(self.lost)}; --to coco keeps them.")
        if self.unreadable:
            lines.append(f"{len(self.unreadable)} files could not be used and were left out:")
            lines += [f"  {name}: {reason}" for name, reason in self.unreadable.items()]
        return lines


def convert(
    source: Path,
    target: Path,
    to: str,
    *,
    strict: bool = False,
    watch: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write a data set in another layout, whole or not at all.

    Every file is read first; then all is written beside the target, and renamed.

    Parameters
    ----------
    source
        A data set in any layout that `open_dataset` reads.
    target
        The folder to write, which must not exist or be empty. Images are copied as they are.
    to
        "folder": good/, defect/, masks/, and where needed unknown/ and unlabelled/, in train/, val/ and test/
        where all images have a part. "coco": annotations.json and images/; masks become run lengths, other
        shapes stay what they are.
    strict
        True makes an unreadable image an error.
    watch
        Called with (images read, images in all).

    Returns
    -------
    Converted

    Raises
    ------
    ConfigError
        If ``to`` is something else.
    DataError
        If the source cannot be used.
    OutputError
        If the target exists or cannot be written.
    """
    writers = {"folder": _write_folder, "coco": write_coco}
    if to not in writers:
        raise ConfigError(f'--to is folder or coco, got "{to}"')
    refuse_existing(target)
    dataset = open_dataset(source, DataConfig(strict=strict), one_class=True)
    check = check_files(dataset.samples, strict=strict, progress=watch)
    if not check.samples:
        reason = next(iter(check.unreadable.values()))
        raise DataError(f"{source} holds no image that can be used ({reason}); correct it")
    usable = replace(dataset, samples=check.samples)
    write_whole(target, lambda folder: writers[to](usable, check.sizes, folder))
    defective = sum(sample.label for sample in usable)
    return Converted(
        target,
        dataset.layout,
        defective,
        len(usable) - defective,
        len(dataset.unlabelled),
        dataset.excluded | check.unreadable,
        tuple(_lost(usable)) if to == "folder" else (),
    )


def refuse_existing(target: Path) -> None:
    """Refuse to write into a folder that holds anything.

    Parameters
    ----------
    target
        Must not exist, or be an empty folder.

    Raises
    ------
    OutputError
        Otherwise.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise OutputError(f"cannot write {target}: it exists already; choose another name or remove it")


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside its place, and move it there when it is whole.

    Parameters
    ----------
    target
        Must not exist, or be an empty folder.
    write
        Called with the folder to write into.

    Raises
    ------
    OutputError
        If it cannot be written; there is then nothing.
    """
    temporary = target.parent / f".{uuid.uuid4().hex}.part"
    try:
        try:
            temporary.mkdir(parents=True)
            write(temporary)
            if target.exists():
                target.rmdir()
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise output_error(target, error) from error


def _lost(dataset: Dataset) -> Iterator[str]:
    if any(sample.types for sample in dataset):
        yield "types of defects"
    if any(sample.group not in ("", sample.name) for sample in dataset):
        yield "groups"
    if not _has_parts(dataset) and any(sample.part for sample in dataset):
        yield "parts"
    if any(isinstance(item.form, Scribble) for sample in dataset for item in _shapes(sample)):
        yield "which defects are scribbles"


def _write_folder(dataset: Dataset, sizes: dict[str, ImageSize], folder: Path) -> None:
    names = short_names(dataset)
    for sample in dataset:
        base = folder / sample.part if sample.part and _has_parts(dataset) else folder
        name = names[sample.image]
        _copy(sample.image, base / ("defect" if sample.label else "good") / name)
        if sample.mask is None:
            continue
        marks = read_marks(sample.mask, sizes[sample.name])
        # without a defect the label is all there is to say, or what nobody is sure of
        for below, pixels in (("masks", marks >= DEFECT), ("unknown", marks == UNKNOWN)):
            if pixels.any():
                write_image(base / below / name.with_suffix(".png"), pixels.astype(np.uint8) * 255)
    for path in dataset.unlabelled:
        _copy(path, folder / ("train" if _has_parts(dataset) else "") / "unlabelled" / names[path])


def write_coco(
    dataset: Dataset, sizes: dict[str, ImageSize], folder: Path, drawn: Set[str] = frozenset()
) -> None:
    """Write annotations.json and copy the images, so that `segdec.data.coco.read_coco` reads them back.

    Parameters
    ----------
    dataset
        Unlabelled images go to unlabelled/.
    sizes
        Name -> (height, width) of each sample's image, in pixels.
    folder
        To write into.
    drawn
        Names of samples that are defective by their shapes alone: their images get no label of their own.
    """
    names = short_names(dataset)
    kinds = sorted({_category(item) for sample in dataset for item in _items(sample)})
    categories = {name: place for place, name in enumerate(kinds, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(dataset, 1):
        height, width = sizes[sample.name]
        image: dict[str, Any] = {
            "id": number,
            "file_name": f"images/{names[sample.image].as_posix()}",
            "height": height,
            "width": width,
        }
        if sample.name not in drawn:
            image["label"] = "defect" if sample.label else "good"
        if sample.group not in ("", sample.name):
            image["group"] = sample.group
        image |= {"split": sample.part} if sample.part else {}
        images.append(image | ({"types": list(sample.types)} if sample.types else {}))
        for item in _items(sample):
            about = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": categories[_category(item)],
            }
            annotations.append(about | _to_coco(item, (height, width)))
        _copy(sample.image, folder / "images" / names[sample.image])
    for path in dataset.unlabelled:  # elsewhere, a listed image without annotations is a good one
        _copy(path, folder / "unlabelled" / names[path])
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": place, "name": name} for name, place in categories.items()],
    }
    text = json.dumps(content, ensure_ascii=False) + "\n"
    (folder / "annotations.json").write_text(text, encoding="utf-8")


def _items(sample: Sample) -> tuple[Shape, ...]:
    """Return what is marked in an image; a mask is one shape, of the image's type if there is only one."""
    if sample.mask is None or isinstance(sample.mask, Shapes) or not sample.label:
        return _shapes(sample)
    return (Shape(sample.mask, type=sample.types[0] if len(sample.types) == 1 else ""),)


def _shapes(sample: Sample) -> tuple[Shape, ...]:
    return sample.mask.items if isinstance(sample.mask, Shapes) else ()


def _category(item: Shape) -> str:
    return (item.type or "defect") if item.meaning == "defect" else item.meaning


def _to_coco(item: Shape, size: ImageSize) -> dict[str, Any]:
    mask = read_marks(Shapes((replace(item, meaning="defect"),)), size) >= DEFECT  # (H, W)
    common: dict[str, Any] = {"area": int(mask.sum()), "bbox": _bounds(mask), "iscrowd": 0}
    if isinstance(item.form, Polygon) and not item.form.cut:
        return common | {"segmentation": [[value for point in item.form.points for value in point]]}
    runs = {"size": list(size), "counts": _counts(mask)}
    if isinstance(item.form, Scribble):
        stroke = {"scribble": [list(point) for point in item.form.points], "width": item.form.width}
        return common | {"segmentation": runs, "iscrowd": 1, "attributes": stroke}
    return common | {"segmentation": runs, "iscrowd": 1}


def _counts(mask: NDArray[np.bool_]) -> list[int]:
    """Return COCO's run lengths, in turn outside and inside, down the columns first."""
    numbers = [int(number) for number in encode_run_lengths(mask).split()]
    counts, end = [], 0
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        counts += [start - 1 - end, length]
        end = start - 1 + length
    return [*counts, mask.size - end]


def _bounds(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    ]


def _has_parts(dataset: Dataset) -> bool:
    return all(sample.part for sample in dataset)


def short_names(dataset: Dataset) -> dict[Path, Path]:
    """Name the images below their new folder: as before, without folders that only sort them.

    Parameters
    ----------
    dataset
        Its samples and unlabelled images.

    Returns
    -------
    dict
        Image -> name. No two names are alike but for their ending, as masks are found by it; and none ends
        like a mask's.
    """
    base = dataset.root if dataset.root.is_dir() else dataset.root.parent
    old = {sample.image: sample.name for sample in dataset}
    old |= {path: path.relative_to(base).as_posix() for path in dataset.unlabelled if base in path.parents}
    old |= {path: path.name for path in dataset.unlabelled if path not in old}
    taken: set[str] = set()
    names = {}
    for path, name in old.items():
        *folders, last = PurePosixPath(name).parts
        kept = [each for each in folders if each.lower() not in _SPECIAL_FOLDERS and each not in ("..", "/")]
        stem, suffix = Path(last).stem, Path(last).suffix
        for ending in MASK_ENDINGS:
            if stem.lower().endswith(ending):
                stem = f"{stem[: -len(ending)]}-{ending[1:]}"
        names[path] = Path(*kept, _free(stem, taken, kept) + suffix)
    return names


def _free(stem: str, taken: set[str], folders: Iterable[str]) -> str:
    below = "/".join(folders).lower()
    free, count = stem, 1
    while f"{below}/{free.lower()}" in taken:
        count += 1
        free = f"{stem}-{count}"
    taken.add(f"{below}/{free.lower()}")
    return free


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
