"""Pascal VOC: an XML file for each image, with boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from segdec.config import DataConfig
from segdec.data.annotations import Entry, ImageFinder, box, number, shape, stated_size, to_dataset
from segdec.data.cvat import read_xml
from segdec.data.scan import known_size, read_head
from segdec.errors import DataError, ImageError
from segdec.imaging import check_inside
from segdec.types import Dataset, ImageSize, Part, Polygon

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
    parts, finder = _read_sets(root), ImageFinder(root)
    for path in _files(root):
        content = read_xml(path)
        name = content.findtext("filename")
        if not name:
            raise DataError(f'{path}: "filename" is missing; add the name of its image')
        height, width = (content.findtext(f"size/{side}") for side in ("height", "width"))
        # 0 x 0 is what many tools write when they do not know
        size = None if height == width == "0" else stated_size(height, width, str(path))
        image = finder.find(name, str(path), root / "JPEGImages")
        if size is None and image is not None:
            size = known_size(image)
        shapes = []
        for place, item in enumerate(content.iter("object"), 1):
            where, label = f"{path}, object {place}", item.findtext("name")
            if not label:
                raise DataError(f"{where}: it has no name; give it one or remove it")
            shapes.append(shape(_box(item, size, where), label, where))
        yield Entry(image or name, str(path), shapes, size, part=parts.get(Path(name).stem))


def _box(item: ElementTree.Element, size: ImageSize | None, where: str) -> Polygon:
    left, top, right, bottom = (
        number(item.findtext(f"bndbox/{key}"), where, f'"{key}"') for key in ("xmin", "ymin", "xmax", "ymax")
    )
    # edges are numbers of pixels, from 1, and both belong to the box
    form = box(left - 1, top - 1, right, bottom, None, where)
    if size is not None:
        try:
            check_inside(form, size, where)
        except ImageError as error:  # which counts from 0
            raise ImageError(
                f"{where}: the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) lies outside its image"
                f" of {size[1]} x {size[0]} pixels (width x height); correct or remove it"
            ) from error
    return form


def _read_sets(root: Path) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for name, part in _SETS.items():
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                parts |= {line.split()[0]: part} if line.split() else {}
    return parts
