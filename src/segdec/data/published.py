"""The published layouts of KolektorSDD, KolektorSDD2 and DAGM 2007 (Severstal is a table)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segdec.config import DataConfig
from segdec.data.scan import finish, label_by_mask, list_images, name_below
from segdec.types import Dataset, Part, Sample

KOLEKTOR_EXCLUDED = {
    "kos21/Part7.jpg": "the method's authors leave this image out, so their published figures are without it"
}
"""Images of KolektorSDD that are never used, with the reason."""

_PUBLISHED_PARTS: tuple[Part, ...] = ("train", "test")


def is_kolektor(root: Path) -> bool:
    """Tell whether a folder holds KolektorSDD: kosNN/PartM.jpg + kosNN/PartM_label.bmp."""
    return any(root.glob("kos[0-9]*/Part*.jpg"))


def read_kolektor(root: Path, config: DataConfig) -> Dataset:
    """Read KolektorSDD: the item kosNN is the group; the label comes from the mask.

    Parameters
    ----------
    root
        The folder of the kosNN folders.
    config
        ``strict`` makes an unreadable mask an error.

    Returns
    -------
    Dataset
    """
    samples, excluded = [], {}
    for image in root.glob("kos[0-9]*/Part*.jpg"):
        name = name_below(root, image)
        mask = image.with_name(f"{image.stem}_label.bmp")
        if name in KOLEKTOR_EXCLUDED:
            excluded[name] = KOLEKTOR_EXCLUDED[name]
        elif not mask.is_file():
            excluded[name] = f"there is no {mask.name} to say whether it holds a defect"
        else:
            samples.append(Sample(name, image, False, mask, group=image.parent.name))
    labelled, unreadable = label_by_mask(samples, strict=config.strict)
    return finish(root, "kolektor", labelled, excluded | unreadable)


def is_kolektor2(root: Path) -> bool:
    """Tell whether a folder holds KolektorSDD2: train/ and test/ with NNNNN.png + NNNNN_GT.png."""
    return any(any((root / part).glob("*_GT.png")) for part in _PUBLISHED_PARTS)


def read_kolektor2(root: Path, config: DataConfig) -> Dataset:
    """Read KolektorSDD2: the part is the folder; the label comes from the mask; each image is a group.

    Parameters
    ----------
    root
        The folder of train/ and test/.
    config
        ``strict`` makes an unreadable mask an error.

    Returns
    -------
    Dataset
    """
    samples, excluded = [], {}
    for part in _PUBLISHED_PARTS:
        for image in list_images(root / part):
            name = name_below(root, image)
            mask = image.with_name(f"{image.stem}_GT.png")
            if image.stem.endswith("_GT"):
                continue
            if mask.is_file():
                samples.append(Sample(name, image, False, mask, group=name, part=part))
            else:
                excluded[name] = f"there is no {mask.name} to say whether it holds a defect"
    labelled, unreadable = label_by_mask(samples, strict=config.strict)
    return finish(root, "kolektor2", labelled, excluded | unreadable)


def is_dagm(root: Path) -> bool:
    """Tell whether a folder holds DAGM 2007: Train/ and Test/ with Label/, of one class or below ClassK/."""
    return bool(_dagm_parts(root))


def read_dagm(root: Path, config: DataConfig) -> Dataset:
    """Read DAGM 2007: one class, or all the classes of a folder of ClassK folders.

    An image is defective where Label/NNNN_label.PNG exists and marks a pixel: some copies of the data
    set add an empty label file to every good image, which the published one does not have.

    Parameters
    ----------
    root
        A ClassK folder, or the folder of several.
    config
        ``strict`` makes an unreadable mask an error.

    Returns
    -------
    Dataset
    """
    samples = []
    for part, folder in _dagm_parts(root):
        masks = {path.stem.lower(): path for path in list_images(_child(folder, "label") or folder / "Label")}
        for image in list_images(folder):
            name = name_below(root, image)
            mask = masks.get(f"{image.stem}_label".lower())
            samples.append(Sample(name, image, False, mask, group=name, part=part))
    labelled, unreadable = label_by_mask(samples, strict=config.strict)
    as_published = [sample if sample.label else replace(sample, mask=None) for sample in labelled]
    return finish(root, "dagm", as_published, unreadable)


def _dagm_parts(root: Path) -> list[tuple[Part, Path]]:
    """Return Train and Test of every class below a folder, where one of them has Label/."""
    classes = [root, *sorted(path for path in root.glob("[Cc]lass*") if path.is_dir())]
    parts = [(part, _child(folder, part)) for folder in classes for part in _PUBLISHED_PARTS]
    found = [(part, folder) for part, folder in parts if folder is not None]
    return found if any(_child(folder, "label") for _, folder in found) else []


def _child(folder: Path, name: str) -> Path | None:
    """Return the folder of that name in any case: the published archives differ in it."""
    children = sorted(path for path in folder.glob("*") if path.name.lower() == name and path.is_dir())
    return children[0] if children else None
