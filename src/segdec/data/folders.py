"""Folders of one's own: good/ and defect/ folders, or images/ and masks/."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segdec.config import DataConfig
from segdec.data.annotations import to_sample
from segdec.data.labelme import is_labelme_file, read_labelme_file
from segdec.data.scan import finish, label_by_mask, list_images, name_below
from segdec.data.tables import PART_NAMES
from segdec.errors import DataError
from segdec.types import Dataset, Part, Sample, Shape, Shapes

DEFECT_FOLDERS = ("defect", "defects", "defective", "nok", "bad")
GOOD_FOLDERS = ("good", "ok", "normal")
IMAGE_FOLDERS = ("images", "image")
MASK_FOLDERS = ("masks", "mask", "ground_truth")
UNKNOWN_FOLDERS = ("unknown",)
UNLABELLED_FOLDERS = ("unlabelled", "unlabeled")
MASK_ENDINGS = ("_mask", "_label", "_gt")
"""NAME_mask.png is a mask of NAME.png. All these names are compared in lower case."""


def find_masks(root: Path, paths: Sequence[Path]) -> set[Path]:
    """Tell the masks among images by their names, in any of the layouts that have masks as files.

    Parameters
    ----------
    root
        The folder that was searched.
    paths
        Image files below it.

    Returns
    -------
    set of Path
        What is named like another image but for an ending (``NAME_mask``, ``NAME_label``, ``NAME_gt``) beside
        it, or lies in a folder of masks while an image of its name lies in none.

    Examples
    --------
    >>> paths = [Path("d/1.png"), Path("d/1_GT.png"), Path("d/2_GT.png"), Path("d/masks/1.png")]
    >>> sorted(path.as_posix() for path in find_masks(Path("d"), paths))
    ['d/1_GT.png', 'd/masks/1.png']
    """
    stems: dict[Path, set[str]] = defaultdict(set)
    below: set[Path] = set()
    for path in paths:
        stems[path.parent].add(path.stem.lower())
        if {part.lower() for part in path.relative_to(root).parts[:-1]} & {*MASK_FOLDERS, "label"}:
            below.add(path)
    named = {path.stem.lower() for path in paths if path not in below}

    def is_mask(path: Path) -> bool:
        stem = path.stem.lower()
        images = [stem.removesuffix(ending) for ending in MASK_ENDINGS if stem.endswith(ending)]
        if path in below:
            return bool(named.intersection([stem, *images]))
        return bool(stems[path.parent].intersection(images))

    return {path for path in paths if is_mask(path)}


def is_good_defect(root: Path) -> bool:
    """Tell whether a folder, or its train/, val/ or test/ folder, holds good/ or defect/."""
    return bool(_bases(root, _has_class_folder))


def read_good_defect(root: Path, config: DataConfig) -> Dataset:
    """Read folders of good and of defective images, with masks beside them or in a folder of masks.

    A mask is NAME_mask, NAME_label or NAME_gt beside its image, or a file of the image's name (such an
    ending allowed) in masks/ or ground_truth/, there perhaps below a folder named like the class. A LabelMe
    file of the image's name, in either place, is as good as a mask; the folder still has the say about the
    label. A defective image without a mask counts with its label alone. A file of the image's name in
    unknown/ is a mask of the pixels that nobody is sure of. Images in unlabelled/ are just that.

    Parameters
    ----------
    root
        The folder.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If an image has two masks, or a LabelMe file is damaged or contradicts the folder.
    """
    del config
    samples: list[Sample] = []
    excluded: dict[str, str] = {}
    unlabelled: list[Path] = []
    for part, base in _bases(root, _has_class_folder):
        masks, unknown = _index_masks(base, MASK_FOLDERS), _index_masks(base, UNKNOWN_FOLDERS)
        for folder in _children(base, UNLABELLED_FOLDERS):
            unlabelled += list_images(folder, deep=True)
        # defects first: where good/1.png and defect/1.png share masks/1.png, it is the defect's
        for label, words in ((True, DEFECT_FOLDERS), (False, GOOD_FOLDERS)):
            for folder in _children(base, words):
                images, own_masks = _divide(folder)
                kind = folder.name.lower()
                masks |= {f"{kind}/{key}": path for key, path in own_masks.items()}
                for image in images:
                    key, name = _key(folder, image), name_below(root, image)
                    mask = _take_mask(masks, f"{kind}/{key}", key)
                    unsure = _take_mask(unknown, f"{kind}/{key}", key)
                    sample: Sample | None = Sample(name, image, label, mask, group=name, part=part)
                    if mask is not None and mask.suffix.lower() == ".json":
                        sample = _with_labelme(root, image, label, part, mask)
                    if sample is None:
                        unlabelled.append(image)
                    else:
                        samples.append(sample if unsure is None else _with_unknown(sample, unsure))
        excluded |= _unused(root, masks) | _unused(root, unknown)
    return finish(root, "good-defect", samples, excluded, unlabelled)


def is_images_masks(root: Path) -> bool:
    """Tell whether a folder, or its train/, val/ or test/ folder, holds images/ and masks/."""
    return bool(_bases(root, _has_images_and_masks))


def read_images_masks(root: Path, config: DataConfig) -> Dataset:
    """Read images/ and masks/ with the same names; an image with an empty mask is good.

    An image without a mask file is left out with that reason: whether it is good or merely not yet
    annotated cannot be known.

    Parameters
    ----------
    root
        The folder.
    config
        ``strict`` makes an unreadable mask an error.

    Returns
    -------
    Dataset
    """
    samples: list[Sample] = []
    excluded: dict[str, str] = {}
    for part, base in _bases(root, _has_images_and_masks):
        masks = _index_masks(base, MASK_FOLDERS)
        for folder in _children(base, IMAGE_FOLDERS):
            for image in list_images(folder, deep=True):
                name = name_below(root, image)
                mask = _take_mask(masks, _key(folder, image))
                if mask is None:
                    excluded[name] = "it has no mask of the same name; add one, all zero if the image is good"
                else:
                    samples.append(Sample(name, image, False, mask, group=name, part=part))
        excluded |= _unused(root, masks)
    labelled, unreadable = label_by_mask(samples, strict=config.strict)
    return finish(root, "images-masks", labelled, excluded | unreadable)


def _bases(root: Path, has_shape: Callable[[Path], bool]) -> list[tuple[Part | None, Path]]:
    """Return the folders of that shape: the root itself, or its folders named like parts."""
    if has_shape(root):
        return [(None, root)]
    folders = _children(root, tuple(PART_NAMES))
    return [(PART_NAMES[folder.name.lower()], folder) for folder in folders if has_shape(folder)]


def _has_class_folder(base: Path) -> bool:
    return bool(_children(base, DEFECT_FOLDERS + GOOD_FOLDERS))


def _has_images_and_masks(base: Path) -> bool:
    return bool(_children(base, IMAGE_FOLDERS)) and bool(_children(base, MASK_FOLDERS))


def _children(base: Path, words: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in base.glob("*") if path.name.lower() in words and path.is_dir())


def _key(folder: Path, path: Path) -> str:
    """Return the lower-case path below a folder, without ending and without folders of masks."""
    parts = path.relative_to(folder).with_suffix("").parts
    return "/".join(part.lower() for part in parts if part.lower() not in MASK_FOLDERS)


def _divide(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    """Tell the images of a class folder from the masks among them (by key)."""
    paths = list_images(folder, deep=True)
    keys = {_key(folder, path) for path in paths}

    def is_mask(path: Path) -> bool:
        if any(part.lower() in MASK_FOLDERS for part in path.relative_to(folder).parts[:-1]):
            return True
        key = _key(folder, path)
        return any(key.endswith(ending) and key.removesuffix(ending) in keys for ending in MASK_ENDINGS)

    masks = [path for path in paths if is_mask(path)]
    images = [path for path in paths if path not in set(masks)]
    return images, _by_key(folder, [*masks, *_labelme_files(folder)])


def _labelme_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.json") if is_labelme_file(path))


def _with_labelme(root: Path, image: Path, label: bool, part: Part | None, path: Path) -> Sample | None:
    """Return the sample as its LabelMe file and its folder say; None where the file says "unknown"."""
    entry = read_labelme_file(path)
    tags = [*entry.tags, "defect" if label else "good"]
    return to_sample(root, image, entry._replace(tags=tags, part=part))


def _with_unknown(sample: Sample, unknown: Path) -> Sample:
    known: tuple[Shape, ...] = ()
    if isinstance(sample.mask, Shapes):
        known = sample.mask.items
    elif isinstance(sample.mask, Path) and sample.label:
        known = (Shape(sample.mask, origin=str(sample.mask)),)
    return replace(sample, mask=Shapes((*known, Shape(unknown, "unknown", origin=str(unknown)))))


def _index_masks(base: Path, words: tuple[str, ...]) -> dict[str, Path]:
    masks: dict[str, Path] = {}
    for folder in _children(base, words):
        masks |= _by_key(folder, [*list_images(folder, deep=True), *_labelme_files(folder)])
    return masks


def _by_key(folder: Path, masks: list[Path]) -> dict[str, Path]:
    by_key: dict[str, Path] = {}
    for path in masks:
        other = by_key.setdefault(_key(folder, path), path)
        if other != path:
            raise DataError(f"{other} and {path} are masks of the same image; keep one of them")
    return by_key


def _take_mask(masks: dict[str, Path], *keys: str) -> Path | None:
    for key in keys:
        found = [masks.pop(key + ending) for ending in ("", *MASK_ENDINGS) if key + ending in masks]
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1]} are masks of the same image; keep one of them")
        if found:
            return found[0]
    return None


def _unused(root: Path, masks: dict[str, Path]) -> dict[str, str]:
    """Report masks without an image: a name misspelt would otherwise cost the mask in silence."""
    return {
        name_below(root, path): "it is a mask, but there is no image of its name" for path in masks.values()
    }
