"""What `segdec.predict` found, as JSON, as CSV and as pictures."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdec.config import STRIDE
from segdec.files import output_error
from segdec.imaging import draw_overlay, list_pages, open_rows, read_image, resize_image, write_image
from segdec.predict import Unreadable
from segdec.types import ImageSize, Prediction, Region

_MOST_PIXELS = 1 << 24
"""Larger images are drawn smaller."""
_BAND = 256
"""Rows that are read at a time."""

CSV_FIELDS = ("image", "score", "decision", "threshold", "review_threshold", "regions", "error")


def to_json(result: Prediction | Unreadable) -> dict[str, Any]:
    """Describe a result with what JSON has.

    Parameters
    ----------
    result
        Of `predict_files`.

    Returns
    -------
    dict
        image, score, decision ("defect", "review" or "good"), threshold, review_threshold (where there is
        one) and regions, each with box, area_px, contour and peak_score; or image and error.

    Examples
    --------
    >>> to_json(Unreadable("a.png", "a.png is empty"))
    {'image': 'a.png', 'error': 'a.png is empty'}
    """
    if isinstance(result, Unreadable):
        return {"image": result.name, "error": result.reason}
    return {
        "image": result.name,
        "score": result.score,
        "decision": "defect" if result.decision else "review" if result.review else "good",
        "threshold": result.threshold,
        **({} if result.review_threshold is None else {"review_threshold": result.review_threshold}),
        "regions": [
            {
                "box": list(region.box),
                "area_px": region.area_px,
                "contour": [list(point) for point in region.contour],
                "peak_score": region.peak_score,
            }
            for region in result.regions
        ],
    }


def to_csv_row(result: Prediction | Unreadable) -> dict[str, Any]:
    """Describe a result as one row with the columns `CSV_FIELDS`.

    Parameters
    ----------
    result
        Of `predict_files`.

    Returns
    -------
    dict
        As of `to_json`, the regions as JSON text; what does not apply is empty.
    """
    row = to_json(result)
    if "regions" in row:
        row["regions"] = json.dumps(row["regions"])
    return dict.fromkeys(CSV_FIELDS, "") | row


def overlay_paths(images: Sequence[Path], folder: Path) -> list[Path]:
    """Choose where the overlays of images go.

    Parameters
    ----------
    images
        Image files.
    folder
        For the overlays.

    Returns
    -------
    list of Path
        PNG files in ``folder``, one for each image: its path below the folder that all images share. Where
        two would be the same, or one of the images, the image's ending stays in the name (a.jpg.png).

    Examples
    --------
    >>> [str(path) for path in overlay_paths([Path("in/a/1.png"), Path("in/b/1.png")], Path("out"))]
    ['out/a/1.png', 'out/b/1.png']
    """
    full = [_absolute(image) for image in images]
    root = os.path.commonpath([path.parent for path in full]) if full else ""
    taken = {str(path).casefold() for path in full}  # some file systems take a.PNG for a.png
    targets = []
    for path in full:
        relative = path.relative_to(root)
        target, ending = folder / relative.with_suffix(".png"), relative.suffix
        while str(_absolute(target)).casefold() in taken:
            target, ending = folder / relative.with_name(f"{relative.stem}{ending}.png"), f"{ending}_"
        taken.add(str(_absolute(target)).casefold())
        targets.append(target)
    return targets


def write_overlay(prediction: Prediction, path: Path) -> None:
    """Write an image with its score map and regions drawn on it.

    Parameters
    ----------
    prediction
        Of an image file: its name is the path.
    path
        The PNG file; missing folders on the way are made. An image of more than 16 megapixels is drawn
        smaller.

    Raises
    ------
    ImageError
        If the image can no longer be read.
    OutputError
        If the overlay cannot be written.
    """
    if prediction.size is None:
        image, score_map, regions = read_image(prediction.name), prediction.score_map, prediction.regions
    else:
        image, score_map, regions = _reduced(prediction, prediction.size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    write_image(path, draw_overlay(image, score_map, regions))


def find_overlay(prediction: Prediction, targets: Mapping[Path, Path]) -> Path:
    """Find where a prediction's overlay goes.

    Parameters
    ----------
    prediction
        Of an image file, or of a page of it.
    targets
        Image file -> its overlay, of `overlay_paths`.

    Returns
    -------
    Path
        That of the file; of page 2 of scan.tif, if its is out/scan.png, out/scan-2.png.
    """
    file, page = _page(prediction.name)
    target = targets[file]
    return target if page is None else target.with_stem(f"{target.stem}-{page}")


def _page(name: str) -> tuple[Path, int | None]:
    """Take a prediction's name apart: the file, and the number of its page from 1, None if it has one."""
    file, mark, page = name.rpartition("#")
    if mark and page.isdecimal() and not Path(name).exists():
        return Path(file), int(page)
    return Path(name), None


def _reduced(
    prediction: Prediction, size: ImageSize
) -> tuple[NDArray[Any], NDArray[np.float32], tuple[Region, ...]]:
    """Return image, score map and regions of a prediction in tiles, small enough to be looked at."""
    file, page = _page(prediction.name)
    factor = max(1, math.ceil(math.sqrt(size[0] * size[1] / _MOST_PIXELS)))
    target = max(1, size[0] // factor), max(1, size[1] // factor)
    number = None if page is None else list_pages(file)[page - 1]
    bands = []
    with open_rows(file, page=number) as rows:
        step = factor * max(1, _BAND // factor)
        for top in range(0, target[0] * factor, step):
            band = rows.read(top, min(top + step, size[0], target[0] * factor))
            bands.append(resize_image(band, (max(1, band.shape[0] // factor), target[1])))
    cells = prediction.score_map
    extent = round(STRIDE * cells.shape[0] / factor), round(STRIDE * cells.shape[1] / factor)
    score_map = resize_image(cells, (max(extent[0], target[0]), max(extent[1], target[1])))
    regions = tuple(
        replace(region, contour=tuple((x // factor, y // factor) for x, y in region.contour))
        for region in prediction.regions
    )
    return np.concatenate(bands), score_map[: target[0], : target[1]], regions


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
