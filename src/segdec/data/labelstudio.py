"""Label Studio's JSON export: polygons, rectangles, ellipses, brushes, key points and choices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from segdec.config import DataConfig
from segdec.data.annotations import (
    Entry,
    box,
    ellipse,
    number,
    pairs,
    polygon,
    read_json,
    scribble,
    shape,
    stated_size,
    to_dataset,
    turned_box,
)
from segdec.data.scan import starts_with
from segdec.errors import DataError
from segdec.imaging import encode_run_lengths
from segdec.types import Dataset, ImageSize, Polygon, RunLengths, Scribble, Shape

_UPLOAD_PREFIX = 9
"""Label Studio puts 8 hexadecimal digits and a hyphen before the names of uploaded files."""
_REMARKS = {"text", "rating", "number", "datetime"}
"""What an annotator says of an image besides labels."""


def is_label_studio(root: Path) -> bool:
    """Tell whether a path is a JSON file that holds a list."""
    return root.suffix.lower() == ".json" and root.is_file() and starts_with(root, b"[")


def read_label_studio(root: Path, config: DataConfig) -> Dataset:
    """Read Label Studio's JSON export (the full one, not JSON-MIN).

    Polygons, rectangles, ellipses and brushes are areas; key points are scribbles. A choice speaks of the
    image as a whole; ratings, numbers, dates and texts are passed over. A task without annotation is
    unlabelled; one whose annotation marks nothing is good. Of several annotations the last that was not
    skipped counts.

    Parameters
    ----------
    root
        The JSON file; images lie beside it or below.
    config
        Not used.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the file is no such export, an image or a size is missing, or a shape is impossible.
    """
    del config
    return to_dataset(root, root.parent, "label-studio", _entries(root))


def decode_brush(values: Any, size: ImageSize, where: str) -> NDArray[np.bool_]:
    """Decode the run-length form of a brush.

    Parameters
    ----------
    values
        Bytes. Read as bits, from the highest: 32 hold the number of values; 5 the bits of a value, minus 1;
        four times 4 the bits of a run's length, minus 1. Then runs: a bit that says whether one value is
        repeated or all are listed, 2 bits that choose one of the four widths, the length minus 1 in so many
        bits, and the one value or all of them. The values are the red, green, blue and alpha of each pixel,
        along the rows; what is painted has alpha above 0.
    size
        (height, width).
    where
        For the error message.

    Returns
    -------
    ndarray
        (H, W) bool.

    Raises
    ------
    DataError
        If the bits end too early, or there are more or fewer values than the image needs.
    """
    try:
        bits = np.unpackbits(np.array(values, np.uint8))
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where}: a brush must be a list of numbers from 0 to 255; export it again"
        ) from error
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise DataError(f"{where}: the run lengths end too early; export it again")
        word = bits[place : place + count]
        place += count
        return int("".join(map(str, word)), 2)

    total = take(32)
    if total != size[0] * size[1] * 4:
        raise DataError(
            f"{where}: the run lengths hold {total} values, but an image of {size[0]} x {size[1]} pixels has"
            f" {size[0] * size[1] * 4}, four for each; export it again"
        )
    value_bits = take(5) + 1
    length_bits = [take(4) + 1 for _ in range(4)]
    alpha = np.zeros(total, bool)  # all values; the pixels' alpha is every fourth
    done = 0
    while done < total:
        repeated = take(1)
        end = done + take(length_bits[take(2)]) + 1
        if end > total:
            raise DataError(f"{where}: the run lengths hold more values than they say; export it again")
        if repeated:
            alpha[done:end] = take(value_bits) > 0
        else:
            alpha[done:end] = [take(value_bits) > 0 for _ in range(end - done)]
        done = end
    return alpha[3::4].reshape(size)


def _entries(path: Path) -> Iterator[Entry]:
    for place, task in enumerate(read_json(path), 1):
        if not isinstance(task, dict) or not isinstance(task.get("annotations"), list):
            raise DataError(
                f'{path}, task {place} has no list "annotations"; let Label Studio export JSON, not JSON-MIN'
            )
        where = f"{path}, task {task.get('id', place)}"
        done = [
            each for each in task["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")
        ]
        yield _entry(path, task, done[-1] if done else None, where)


def _entry(path: Path, task: dict[str, Any], annotation: dict[str, Any] | None, where: str) -> Entry:
    image = _image(path, task, where)
    given = (annotation or {}).get("result") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise DataError(f'{where}: "result" must be a list of regions and choices; export it again')
    results = [each for each in given if isinstance(each.get("value"), dict)]
    # where names and areas are separate controls, each area is there twice, once without its name
    named = {str(each.get("id")) for each in results if _names(each["value"])}
    tags: list[str] = []
    shapes: list[Shape] = []
    size = None
    for result in results:
        value, at = result["value"], f"{where}, result {result.get('id')!r}"
        if "choices" in value:
            tags += map(str, value["choices"] if isinstance(value["choices"], list) else [value["choices"]])
        elif (_names(value) or str(result.get("id")) not in named) and not value.keys() <= _REMARKS:
            _refuse_unknown_kind(value, at)
            size = stated_size(result.get("original_height"), result.get("original_width"), at)
            if size is None:
                raise DataError(
                    f'{at}: "original_width" and "original_height" are missing, so its place in the image is'
                    " not known; export it again"
                )
            form = _form(value, size, at)
            drawn = [shape(form, name, at) for name in _names(value) or ["defect"]]
            if len({each.meaning for each in drawn}) > 1:
                raise DataError(
                    f"{at}: it is called {' and '.join(_names(value))}, which contradict each other; keep one"
                )
            shapes += drawn
    return Entry(image, where, shapes, size, tags, judged=annotation is not None)


def _refuse_unknown_kind(value: dict[str, Any], where: str) -> None:
    if not (value.keys() & {"rle", "points"} or {"x", "y"} <= value.keys()):
        kinds = "polygons, rectangles, ellipses, brushes, key points and choices are"
        raise DataError(f"{where}: regions of this kind ({', '.join(value)}) are not read; {kinds}")


def _image(path: Path, task: dict[str, Any], where: str) -> Path | str:
    data = task.get("data")
    values = (
        [str(value) for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    )
    if not values:
        raise DataError(f'{where}: "data" names no image; export it again')
    address = str(data["image"]) if isinstance(data, dict) and "image" in data else values[0]
    parts = urlsplit(address)
    # local storage: /data/local-files/?d=folder/name.png
    name = unquote(parse_qs(parts.query).get("d", [parts.path or address])[0]).replace("\\", "/")
    last = name.rpartition("/")[2]
    if not any((path.parent / folder / last).is_file() for folder in (".", "images")):
        plain = last[_UPLOAD_PREFIX:] if _has_prefix(last) else last
        for folder in (".", "images"):
            if (path.parent / folder / plain).is_file():
                return path.parent / folder / plain
    return name


def _has_prefix(name: str) -> bool:
    return name[8:9] == "-" and all(each in "0123456789abcdef" for each in name[:8])


def _names(value: dict[str, Any]) -> list[str]:
    return [
        str(name)
        for key, names in value.items()
        if key.endswith("labels") and isinstance(names, list)
        for name in names
    ]


def _form(value: dict[str, Any], size: ImageSize, where: str) -> Polygon | Scribble | RunLengths:
    """Turn one region's value into a form; its lengths are in percent of width and height."""
    height, width = size

    def pixels(key: str, side: int) -> float:
        return number(value.get(key), where, f'"{key}"') * side / 100

    if "rle" in value:
        return RunLengths((encode_run_lengths(decode_brush(value["rle"], size, where)),), where)
    if "points" in value:
        points = tuple((x * width / 100, y * height / 100) for x, y in pairs(value["points"], where))
        return polygon(points, size, where)
    x, y, angle = pixels("x", width), pixels("y", height), number(value.get("rotation", 0), where, "rotation")
    if "radiusX" in value:
        return ellipse((x, y), (pixels("radiusX", width), pixels("radiusY", height)), angle, size, where)
    if "height" in value:
        right, bottom = x + pixels("width", width), y + pixels("height", height)
        upright = box(x, y, right, bottom, None if angle else size, where)
        return turned_box(upright, (x, y), angle, size, where) if angle else upright
    return scribble(
        [(x, y)], size, where, max(1.0, number(value.get("width", 0), where, "width") * width / 100)
    )
