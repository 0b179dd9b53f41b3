"""Open a data set: recognise its layout, read it, say what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from segdec.config import DataConfig
from segdec.data.coco import is_coco, read_coco
from segdec.data.cvat import is_cvat, read_cvat
from segdec.data.folders import is_good_defect, is_images_masks, read_good_defect, read_images_masks
from segdec.data.labelme import is_labelme, read_labelme
from segdec.data.labelstudio import is_label_studio, read_label_studio
from segdec.data.published import is_dagm, is_kolektor, is_kolektor2, read_dagm, read_kolektor, read_kolektor2
from segdec.data.tables import is_severstal, is_table, read_severstal, read_table
from segdec.data.voc import is_voc, read_voc
from segdec.data.yolo import is_yolo, read_yolo
from segdec.errors import ConfigError, DataError
from segdec.types import PARTS, Dataset


class Layout(NamedTuple):
    """One way to lay out a data set.

    Attributes
    ----------
    name
        As in `Dataset.layout`.
    words
        What it looks like, for people.
    looks_like
        Whether a path has this layout.
    read
        Its reader.
    """

    name: str
    words: str
    looks_like: Callable[[Path], bool]
    read: Callable[[Path, DataConfig], Dataset]


LAYOUTS = (
    Layout("table", "a table (.csv or .jsonl with the columns image, mask, label)", is_table, read_table),
    Layout("kolektor", "KolektorSDD (kosNN/PartM.jpg)", is_kolektor, read_kolektor),
    Layout("kolektor2", "KolektorSDD2 (train/ and test/ with NNNNN_GT.png)", is_kolektor2, read_kolektor2),
    Layout("dagm", "DAGM 2007 (Train/ and Test/ with Label/)", is_dagm, read_dagm),
    Layout("severstal", "Severstal (train_images/ and train.csv)", is_severstal, read_severstal),
    Layout("good-defect", "good/ and defect/ folders", is_good_defect, read_good_defect),
    Layout("coco", "COCO (.json, or a folder that holds one)", is_coco, read_coco),
    Layout("label-studio", "a Label Studio export (.json)", is_label_studio, read_label_studio),
    Layout("cvat", "CVAT for images (.xml, or a folder with annotations.xml)", is_cvat, read_cvat),
    Layout("yolo", "YOLO (images/ and labels/ folders)", is_yolo, read_yolo),
    Layout("voc", "Pascal VOC (Annotations/ with .xml files)", is_voc, read_voc),
    Layout("labelme", "LabelMe (a .json file for each image)", is_labelme, read_labelme),
    Layout("images-masks", "images/ and masks/ folders", is_images_masks, read_images_masks),
)
"""The first that a path looks like is taken."""

_LISTED = 5
"""Names listed in full; more are counted."""


def open_dataset(path: str | Path, config: DataConfig, *, one_class: bool = False) -> Dataset:
    """Open a data set on disk.

    Parameters
    ----------
    path
        A folder in one of the `LAYOUTS`, or a table.
    config
        ``defect_class`` chooses a class of Severstal; ``strict`` makes an unreadable mask an error.
    one_class
        True admits images of one class only: enough to judge, too little to train.

    Returns
    -------
    Dataset
        With images of both classes, unless ``one_class``.

    Raises
    ------
    DataError
        If the layout is unknown, or there are no images, or images of one class only.
    ConfigError
        If a class is chosen where the layout has none.
    """
    root = Path(path)
    layout = _recognise(root)
    if config.defect_class is not None and layout.name != "severstal":
        raise ConfigError(
            f"data.defect_class is {config.defect_class}, but {root} was taken for {layout.words}, which"
            " has no defect classes; leave the setting out"
        )
    dataset = layout.read(root, config)
    _refuse_one_class(dataset, layout, one_class)
    return dataset


def describe(dataset: Dataset) -> list[str]:
    """Say what a data set was taken for and what it holds.

    Parameters
    ----------
    dataset
        From `open_dataset`.

    Returns
    -------
    list of str
        One line each for layout, counts, parts (where published) and images left out.
    """
    words = {layout.name: layout.words for layout in LAYOUTS}
    samples = dataset.samples
    masks = sum(sample.label and sample.mask is not None for sample in samples)
    defective = sum(sample.label for sample in samples)
    groups = len({sample.group or sample.name for sample in samples})
    lines = [
        f"{dataset.root} was taken for {words.get(dataset.layout, dataset.layout)}",
        f"{len(samples)} images: {defective} with a defect ({masks} of them with a mask),"
        f" {len(samples) - defective} good" + (f"; {groups} groups" if groups < len(samples) else ""),
    ]
    parts = Counter(sample.part for sample in samples)
    if set(parts) != {None}:
        with_defect = Counter(sample.part for sample in samples if sample.label)
        counts = [
            f"{part} {parts[part]} ({with_defect[part]} with a defect)" for part in PARTS if parts[part]
        ]
        lines.append(
            "published parts: " + ", ".join(counts) + (f", in none {parts[None]}" if parts[None] else "")
        )
    if dataset.unlabelled:
        lines.append(f"unlabelled: {len(dataset.unlabelled)}, not used for training or judging")
    if dataset.excluded:
        lines.append(f"left out: {len(dataset.excluded)}")
        listed = list(dataset.excluded.items())
        lines += [f"  {name}: {reason}" for name, reason in listed[:_LISTED]]
        lines += [f"  and {len(listed) - _LISTED} more"] if len(listed) > _LISTED else []
    return lines


def _recognise(root: Path) -> Layout:
    for layout in LAYOUTS:
        if layout.looks_like(root):
            return layout
    known = "; ".join(layout.words for layout in LAYOUTS)
    raise DataError(f"{root} {_found(root)}; a data set is one of: {known}")


def _found(root: Path) -> str:
    """Say what is at a path that is no data set."""
    if not root.exists():
        return "does not exist"
    if not root.is_dir():
        return "is a file, but no .csv, .jsonl, .json or .xml"
    entries = sorted(root.iterdir())
    if not entries:
        return "is empty"
    for entry in entries:
        if any(layout.looks_like(entry) for layout in LAYOUTS):
            return f"is no data set that can be read, but {entry.name} inside it is: open that"
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"is no data set that can be read: it holds {', '.join(names[:_LISTED])}{more}"


def _refuse_one_class(dataset: Dataset, layout: Layout, one_class: bool) -> None:
    count, defective = len(dataset), sum(sample.label for sample in dataset)
    if 0 < defective < count or (count and one_class):
        return
    held = f"{count} images, all {'with' if defective else 'without'} a defect" if count else "no images"
    if dataset.excluded:
        name, reason = next(iter(dataset.excluded.items()))
        held += f", and {len(dataset.excluded)} left out ({name}: {reason})"
    if dataset.unlabelled:
        held += f", and {len(dataset.unlabelled)} that nobody has labelled as good or defective"
    raise DataError(
        f"{dataset.root}, taken for {layout.words}, holds {held}; it must hold images"
        " with and without a defect"
    )
