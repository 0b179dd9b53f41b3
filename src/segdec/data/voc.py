"""Pascal VOC: an XML file for each image, with boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from segdec.config import DataConfig
from segdec.data.annotations import Entry, box, number, shape, stated_size, to_dataset
from segdec.data.cvat import read_xml
from segdec.data.scan import read_head
from segdec.errors import DataError
from segdec.types import Dataset, Part

_SETS: dict[str, Part] = {"train": "train", "val": "val", "test": "test"}


def is_voc(root: Path) -> bool:
    """Tell whether a folder, or Annotations/ in it, holds Pascal VOC's XML files."""
    first = next(iter(_files(root)), None)
    return first is not None and b"<annotation>" in read_head(first, 4096)


def read_voc(root: Path, config: DataConfig) -> Dataset:
    """Read Pascal VOC's boxes.

    A file without objects says that its image is good; an image without a file is unlabelled.

    Parameters
    ----------
    root
        The folder of Annotations/ and JPEGImages/, or one with images and XML files side by side. Parts are
        read from ImageSets/Main/train.txt, val.txt and test.txt where they exist.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If a file is no such XML, its image is missing, or a box is impossible.
    """
    del config
    return to_dataset(root, root, "voc", _entries(root))


def _files(root: Path) -> list[Path]:
    return sorted((root / "Annotations").glob("*.xml")) or sorted(root.glob("*.xml"))


def _entries(root: Path) -> Iterator[Entry]:
    parts = _read_sets(root)
    for path in _files(root):
        content = read_xml(path)
        name = content.findtext("filename")
        if not name:
            raise DataError(f'{path}: "filename" is missing; add the name of its image')
        height, width = (content.findtext(f"size/{side}") for side in ("height", "width"))
        # 0 x 0 is what many tools write when they do not know
        size = None if height == width == "0" else stated_size(height, width, str(path))
        shapes = []
        for place, item in enumerate(content.iter("object"), 1):
            where, label = f"{path}, object {place}", item.findtext("name")
            if not label:
                raise DataError(f"{where}: it has no name; give it one or remove it")
            left, top, right, bottom = (_edge(item, key, where) for key in ("xmin", "ymin", "xmax", "ymax"))
            # edges are numbers of pixels, from 1, and both belong to the box
            shapes.append(shape(box(left - 1, top - 1, right, bottom, size, where), label, where))
        part = parts.get(Path(name).stem)
        yield Entry(name, str(path), shapes, size, part=part, near=root / "JPEGImages")


def _edge(item: ElementTree.Element, key: str, where: str) -> float:
    return number(item.findtext(f"bndbox/{key}"), where, f'"{key}"')


def _read_sets(root: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name, part in _SETS.items():
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                parts |= {line.split()[0]: part} if line.split() else {}
    return parts
