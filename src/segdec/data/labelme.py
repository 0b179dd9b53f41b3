"""LabelMe: a JSON file for each image."""

from __future__ import annotations

import base64
import binascii
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdec.config import DataConfig
from segdec.data.annotations import (
    Entry,
    box,
    ellipse,
    pairs,
    polygon,
    read_json,
    scribble,
    shape,
    stated_size,
    to_dataset,
)
from segdec.errors import DataError
from segdec.imaging import encode_run_lengths
from segdec.types import Dataset, ImageSize, Point, Polygon, RunLengths, Scribble


def is_labelme(root: Path) -> bool:
    """Tell whether a folder, or a folder in it, holds LabelMe's JSON files."""
    first = next(iter(_files(root)), None)
    return first is not None and is_labelme_file(first)


def is_labelme_file(path: Path) -> bool:
    """Tell whether a file is what LabelMe wrote for an image."""
    data = path.read_bytes() if path.suffix.lower() == ".json" and path.is_file() else b""
    return b'"shapes"' in data and b'"imagePath"' in data


def read_labelme(root: Path, config: DataConfig) -> Dataset:
    """Read LabelMe's JSON files.

    Polygons, rectangles, circles and masks are areas; lines, line strips and points are scribbles. A file
    without shapes says that its image is good; a flag that is set speaks of the image as a whole. An image
    without a file is unlabelled.

    Parameters
    ----------
    root
        The folder; images are looked for beside their files first.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If a file is no LabelMe, its image is missing, or a shape is impossible.
    """
    del config
    return to_dataset(root, root, "labelme", map(read_labelme_file, _files(root)))


def read_labelme_file(path: Path) -> Entry:
    """Read what LabelMe wrote for one image.

    Parameters
    ----------
    path
        The JSON file.

    Returns
    -------
    Entry

    Raises
    ------
    DataError
        If the file is no LabelMe, or a shape is impossible.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DataError(f'{path} is no LabelMe file: it has no list "shapes"; remove it or save it again')
    size = stated_size(content.get("imageHeight"), content.get("imageWidth"), str(path))
    name = str(content.get("imagePath") or "")
    if not name:
        raise DataError(f'{path}: "imagePath" is missing; save the file with LabelMe again')
    shapes = []
    for place, item in enumerate(content["shapes"], 1):
        where = f"{path}, shape {place}"
        if not isinstance(item, dict) or "label" not in item:
            raise DataError(f'{where}: "label" is missing; give it one with LabelMe')
        shapes.append(shape(_form(item, size, where), str(item["label"]), where))
    flags = content.get("flags")
    tags = [flag for flag, value in flags.items() if value is True] if isinstance(flags, dict) else []
    return Entry(name, str(path), shapes, size, tags, near=path.parent)


def _files(root: Path) -> list[Path]:
    return sorted(root.glob("*.json")) or sorted(root.glob("*/*.json"))


def _form(item: dict[str, Any], size: ImageSize | None, where: str) -> Polygon | Scribble | RunLengths:
    kind, points = item.get("shape_type") or "polygon", pairs(item.get("points"), where)
    if kind == "polygon":
        return polygon(points, size, where)
    if kind in ("line", "linestrip", "point", "points"):
        return scribble(points, size, where)
    if kind not in ("rectangle", "circle", "mask"):
        raise DataError(
            f'{where}: shapes of the kind "{kind}" are not read; polygon, rectangle, circle, mask, line,'
            " linestrip and point are"
        )
    if len(points) < 2:
        raise DataError(f"{where}: a {kind} has two points, got {len(points)}; correct or remove it")
    (x, y), (to_x, to_y) = points[:2]
    if kind == "circle":
        radius = math.hypot(to_x - x, to_y - y)
        return ellipse((x, y), (radius, radius), 0, size, where)
    if kind == "mask":
        return _decode_mask(item.get("mask"), (x, y), size, where)
    left, right, top, bottom = min(x, to_x), max(x, to_x), min(y, to_y), max(y, to_y)
    if len(points) == 4:  # some versions write all corners
        return polygon(points, size, where)
    return box(left, top, right, bottom, size, where)


def _decode_mask(data: Any, corner: Point, size: ImageSize | None, where: str) -> RunLengths:
    """Decode a PNG in base64, which stands with its upper left pixel at a corner."""
    try:
        decoded = np.frombuffer(base64.b64decode(str(data), validate=True), np.uint8)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: its mask is no base64 ({error}); save it with LabelMe again") from error
    part = cv2.imdecode(decoded, cv2.IMREAD_GRAYSCALE) if decoded.size else None
    if part is None or size is None:
        raise DataError(f"{where}: its mask is no PNG, or the image's size is missing; save it again")
    left, top = round(corner[0]), round(corner[1])
    mask = np.zeros(size, bool)
    if left < 0 or top < 0 or top + part.shape[0] > size[0] or left + part.shape[1] > size[1]:
        raise DataError(
            f"{where}: a mask of {part.shape[1]} x {part.shape[0]} pixels at ({left}, {top}) leaves its image"
            f" of {size[1]} x {size[0]} pixels (width x height); correct or remove it"
        )
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part > 0
    return RunLengths((encode_run_lengths(mask),), where)
