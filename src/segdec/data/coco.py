"""COCO JSON: polygons, boxes and both forms of run lengths.

Besides the standard, images may carry "label" (of the image), "types", "group" and "split", and annotations
"attributes": {"scribble": [[x, y], ...], "width": w}; `segdec convert` writes these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdec.config import DataConfig
from segdec.data.annotations import (
    Entry,
    box,
    number,
    pairs,
    polygon,
    read_json,
    scribble,
    shape,
    stated_size,
    to_dataset,
)
from segdec.data.scan import starts_with
from segdec.data.tables import PART_NAMES
from segdec.errors import DataError
from segdec.types import Dataset, ImageSize, Part, RunLengths, Shape

_MOST_FILES = 20
"""A folder with more JSON files than this holds one for each image, which is not COCO."""


def is_coco(root: Path) -> bool:
    """Tell whether a path is COCO JSON, or a folder with such files in it, in annotations/ or in parts."""
    return bool(_files(root))


def read_coco(root: Path, config: DataConfig) -> Dataset:
    """Read COCO JSON.

    An image without annotations is good. An annotation without a box and an area speaks of the image as a
    whole. A category named good or unknown marks such pixels; the other names are types of defects.

    Parameters
    ----------
    root
        A JSON file, its images beside it, in images/, or wherever their ``file_name`` leads from there
        (from the folder above, if the file lies in annotations/). Or a folder with such files; parts are
        told by the names of files or folders.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the file is no COCO, an image is missing or there twice, a category or image is not listed, or an
        area is impossible.
    """
    del config
    files = _files(root)
    base = _base(root) if root.is_file() else root
    entries = (entry for file in files for entry in _entries(file, _part(file, root)))
    return to_dataset(root, base, "coco", entries)


def decode_counts(counts: Sequence[int] | str | bytes, size: ImageSize, where: str) -> RunLengths:
    """Turn COCO's run lengths into segdec's.

    Parameters
    ----------
    counts
        Lengths of runs, in turn outside and inside, down the columns first; or the same as a compressed
        string: each number in groups of 5 bits from the lowest, plus 32 where more follow, plus 48, as
        characters; from the fourth number on, what is written is the difference to the one before the last.
    size
        (height, width).
    where
        For the error message.

    Returns
    -------
    RunLengths

    Raises
    ------
    DataError
        If they are no run lengths, or do not sum up to the number of pixels.

    Examples
    --------
    >>> decode_counts([1, 2, 1], (2, 2), "").rows, decode_counts("121", (2, 2), "").rows
    (('2 2',), ('2 2',))
    """
    if isinstance(counts, str | bytes):
        text = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
        counts = _decompress(text, where)
    if not isinstance(counts, list | tuple):
        raise DataError(f"{where}: run lengths must be a list or a string, got {counts!r}; export them again")
    whole = [int(number(count, where, "a run length")) for count in counts]
    if min(whole, default=0) < 0 or sum(whole) != size[0] * size[1]:
        raise DataError(
            f"{where}: the run lengths must be 0 or more and sum up to the {size[0]} x {size[1]} ="
            f" {size[0] * size[1]} pixels of the image, got a sum of {sum(whole)}; export it again"
        )
    lengths = np.array(whole, np.int64)
    starts = np.concatenate([[0], lengths.cumsum()])[1:-1:2] + 1
    inside = lengths[1::2]
    row = " ".join(f"{start} {length}" for start, length in zip(starts, inside, strict=True) if length)
    return RunLengths((row,), where)


def _decompress(text: str, where: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise DataError(f'{where}: "{character}" is no character of run lengths; export it again')
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift  # the highest bit is the sign
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise DataError(f"{where}: the run lengths end in the middle of a number; export it again")
    return counts


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and starts_with(root, b"{") else []
    folders = [
        root,
        root / "annotations",
        *(path for path in root.glob("*") if path.name.lower() in PART_NAMES),
    ]
    found = []
    for folder in folders:
        files = sorted(folder.glob("*.json"))
        found += [path for path in files if _holds_coco(path)] if len(files) <= _MOST_FILES else []
    return found


def _holds_coco(path: Path) -> bool:
    data = path.read_bytes()
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"'))


def _base(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _part(file: Path, root: Path) -> Part | None:
    if file == root:
        return None
    words = [file.parent.name, *file.stem.replace("-", "_").split("_")]
    parts = [PART_NAMES[word] for each in words if (word := each.lower().rstrip("0123456789")) in PART_NAMES]
    return parts[0] if parts else None


def _entries(path: Path, part: Part | None) -> Iterator[Entry]:
    content = read_json(path)
    images, annotations, categories = (
        _list(path, content, key) for key in ("images", "annotations", "categories")
    )
    for place, category in enumerate(categories):
        _need(category, ("name",), f"{path}, category {place}")
    _refuse_shared_ids(path, "category", "categories", categories)
    _refuse_shared_ids(path, "image", "images", images)
    names = {category["id"]: str(category["name"]) for category in categories}
    ids = {image["id"] for image in images}
    of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        where = _where(path, annotation)
        if _id(annotation, "image_id", where) not in ids:
            raise DataError(f"{where}: there is no image {annotation['image_id']!r}; list it or remove this")
        if _id(annotation, "category_id", where) not in names:
            listed = ", ".join(map(str, names)) or "none"
            raise DataError(
                f"{where}: there is no category {annotation['category_id']!r}; the file lists {listed}, so"
                " correct the annotation or list its category"
            )
        of_image[annotation["image_id"]].append(annotation)
    for image in images:
        yield _entry(path, image, of_image[image["id"]], names, part)


def _entry(
    path: Path,
    image: dict[str, Any],
    annotations: list[dict[str, Any]],
    names: dict[Any, str],
    part: Part | None,
) -> Entry:
    where = f"{path}, image {image.get('id')!r}"
    _need(image, ("file_name",), where)
    size = stated_size(image.get("height"), image.get("width"), where)
    shapes: list[Shape] = []
    types = image.get("types")
    tags = [str(tag) for tag in (image.get("label"), *(types if isinstance(types, list) else ())) if tag]
    for annotation in annotations:
        place, name = _where(path, annotation), names[annotation["category_id"]]
        forms = _forms(annotation, size, place)
        shapes += [shape(form, name, place) for form in forms]
        tags += [] if forms else [name]
    split = str(image.get("split") or "").lower()
    return Entry(
        str(image["file_name"]),
        where,
        shapes,
        size,
        tags,
        PART_NAMES.get(split, part),
        str(image.get("group") or ""),
        near=path.parent,
    )


def _forms(annotation: dict[str, Any], size: ImageSize | None, where: str) -> list[Any]:
    attributes = annotation.get("attributes")
    if isinstance(attributes, dict) and attributes.get("scribble"):
        points = pairs(attributes["scribble"], where)
        return [scribble(points, size, where, number(attributes.get("width", 3), where, "the width"))]
    area, edges = annotation.get("segmentation"), annotation.get("bbox")
    if isinstance(area, dict):
        _need(area, ("size", "counts"), where)
        sides = area["size"]
        stated = (
            stated_size(sides[0], sides[1], where) if isinstance(sides, list) and len(sides) == 2 else None
        )
        if stated is None or stated != (size or stated):
            raise DataError(
                f"{where}: its run lengths are for an image of the size {sides} (height, width), but"
                f" its image has {size}; export it again"
            )
        return [decode_counts(area["counts"], stated, where)]
    if area:
        if not isinstance(area, list):
            raise DataError(f"{where}: segmentation must be a list of polygons, or run lengths; correct it")
        return [_corners(each, size, where) for each in area]
    if edges:
        if not isinstance(edges, list) or len(edges) != 4:
            raise DataError(f"{where}: bbox must be [x, y, width, height], got {edges}; correct it")
        x, y, width, height = (number(edge, where, "bbox") for edge in edges)
        return [box(x, y, x + width, y + height, size, where)]
    return []


def _corners(values: Any, size: ImageSize | None, where: str) -> Any:
    if not isinstance(values, list) or len(values) % 2:
        raise DataError(f"{where}: a polygon must be a list [x, y, x, y, ...]; correct it or export again")
    return polygon(pairs(list(zip(values[::2], values[1::2], strict=True)), where), size, where)


def _list(path: Path, content: Any, key: str) -> list[dict[str, Any]]:
    values = content.get(key) if isinstance(content, dict) else None
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(
            f'{path} has no list "{key}"; COCO has "images", "annotations" and "categories", so'
            " export it again"
        )
    return values


def _where(path: Path, annotation: dict[str, Any]) -> str:
    return f"{path}, annotation {annotation.get('id')!r}"


def _id(values: dict[str, Any], key: str, where: str) -> int | str:
    _need(values, (key,), where)
    found = values[key]
    if not isinstance(found, int | str):
        raise DataError(f'{where}: "{key}" must be a number or a string, got {found!r}; correct it')
    return found


def _refuse_shared_ids(path: Path, one: str, many: str, items: Sequence[dict[str, Any]]) -> None:
    """Refuse two items of a list with the same id, of which only one would count."""
    places: dict[int | str, int] = {}
    for place, item in enumerate(items):
        other = places.setdefault(_id(item, "id", f"{path}, {one} {place}"), place)
        if other != place:
            raise DataError(
                f"{path}: {many} {_named(items, other)} and {_named(items, place)} of the list"
                f' "{many}" (counted from 0) both have the id {item["id"]!r}; give each an id of its own,'
                " also where annotations name it, or remove one of them"
            )


def _named(items: Sequence[dict[str, Any]], place: int) -> str:
    name = items[place].get("name", items[place].get("file_name"))
    return f"{place}" if name is None else f"{place} ({name})"


def _need(values: dict[str, Any], keys: Sequence[str], where: str) -> None:
    for key in keys:
        if key not in values:
            raise DataError(
                f'{where}: "{key}" is missing; it has {", ".join(values) or "nothing"}; add "{key}" or export'
                " the file again"
            )
