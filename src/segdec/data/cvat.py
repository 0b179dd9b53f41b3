"""CVAT XML for images 1.1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from segdec.config import DataConfig
from segdec.data.annotations import (
    Entry,
    box,
    ellipse,
    number,
    pairs,
    polygon,
    scribble,
    shape,
    stated_size,
    to_dataset,
    turned_box,
)
from segdec.data.scan import read_head
from segdec.data.tables import PART_NAMES
from segdec.errors import DataError
from segdec.imaging import encode_run_lengths
from segdec.types import Dataset, ImageSize, Polygon, RunLengths, Scribble

_NOT_SHAPES = ("tag", "attribute")


def is_cvat(root: Path) -> bool:
    """Tell whether a path is a CVAT XML file, or a folder with annotations.xml."""
    path = _file(root)
    return path.suffix.lower() == ".xml" and path.is_file() and b"<annotations" in read_head(path, 4096)


def read_cvat(root: Path, config: DataConfig) -> Dataset:
    """Read CVAT XML for images.

    Polygons, boxes, ellipses and masks are areas; polylines and points are scribbles. A tag speaks of the
    image as a whole. An image without shapes is good; one that the file does not list is unlabelled.

    Parameters
    ----------
    root
        The XML file, or the folder with annotations.xml; images lie beside it or below.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the file is no such XML, an image is missing, a label is not among those that the file lists, or a
        shape is impossible.
    """
    del config
    path = _file(root)
    return to_dataset(root, path.parent, "cvat", _entries(path))


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file.

    Raises
    ------
    DataError
        If it cannot be read or is no XML.
    """
    try:
        return ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is no valid XML: {error}; export it again") from error


def _file(root: Path) -> Path:
    return root / "annotations.xml" if root.is_dir() else root


def _entries(path: Path) -> Iterator[Entry]:
    content = read_xml(path)
    listed = [(name.text or "").strip() for name in content.iterfind("meta//labels/label/name")]
    for position, image in enumerate(content.iter("image"), 1):
        name = image.get("name")
        where = f'{path}, image "{name}"'
        if not name:
            raise DataError(f"{path}: the image {image.get('id')} has no name; export it again")
        size = stated_size(image.get("height"), image.get("width"), where)
        shapes, tags = [], []
        for place, item in enumerate(image, 1):
            at = f"{where}, {item.tag} {place}"
            label = item.get("label")
            if label is None:
                raise DataError(f"{at}: it has no label; give it one or remove it")
            if listed and label.strip() not in listed:
                raise DataError(
                    f'{at}: the label "{label}" is not listed; the file lists {", ".join(listed)}, so'
                    " correct it or list it in <labels>"
                )
            if item.tag in _NOT_SHAPES:
                tags.append(label)
            else:
                shapes.append(shape(_form(item, size, at), label, at))
        part = PART_NAMES.get((image.get("subset") or "").lower())
        yield Entry(name, f"{where} (number {position})", shapes, size, tags, part)


def _form(item: ElementTree.Element, size: ImageSize | None, where: str) -> Polygon | Scribble | RunLengths:
    def value(key: str, default: str | None = None) -> float:
        return number(item.get(key, default), where, f'"{key}"')

    if item.tag in ("polygon", "polyline", "points"):
        corners = [point.split(",") for point in (item.get("points") or "").split(";") if point]
        points = pairs(corners, where)
        return polygon(points, size, where) if item.tag == "polygon" else scribble(points, size, where)
    if item.tag == "box":
        left, top, right, bottom = (value(key) for key in ("xtl", "ytl", "xbr", "ybr"))
        angle, middle = value("rotation", "0"), ((left + right) / 2, (top + bottom) / 2)
        upright = box(left, top, right, bottom, None if angle else size, where)
        return turned_box(upright, middle, angle, size, where) if angle else upright
    if item.tag == "ellipse":
        middle, radii = (value("cx"), value("cy")), (value("rx"), value("ry"))
        return ellipse(middle, radii, value("rotation", "0"), size, where)
    if item.tag == "mask":
        return _decode_mask(item, size, where)
    raise DataError(
        f'{where}: the kind of shape "{item.tag}" is not read; polygon, box, ellipse, mask, polyline, points'
        " and tag are"
    )


def _decode_mask(item: ElementTree.Element, size: ImageSize | None, where: str) -> RunLengths:
    """Decode run lengths inside a box, in turn outside and inside, along the rows first."""
    left, top, width, height = (
        int(number(item.get(key), where, f'"{key}"')) for key in ("left", "top", "width", "height")
    )
    if width < 1 or height < 1:
        raise DataError(
            f"{where}: its box needs a width and a height above 0, got {width} x {height}; export it again"
        )
    counts = [int(number(count, where, "a run length")) for count in (item.get("rle") or "").split(",")]
    if min(counts) < 0 or sum(counts) != width * height:
        raise DataError(
            f"{where}: the run lengths must be 0 or more and sum up to the {width} x {height} ="
            f" {width * height} pixels of their box, got a sum of {sum(counts)}; export it again"
        )
    if size is None or left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise DataError(f"{where}: its box lies outside its image, or the image has no size; export it again")
    mask = np.zeros(size, bool)
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    mask[top : top + height, left : left + width] = inside
    return RunLengths((encode_run_lengths(mask),), where)
