"""What `segdec.predict` found, as JSON, as CSV and as pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdec.files import output_error
from segdec.imaging import draw_overlay, read_image, write_image
from segdec.predict import Unreadable
from segdec.types import Prediction

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
        The PNG file; missing folders on the way are made.

    Raises
    ------
    ImageError
        If the image can no longer be read.
    OutputError
        If the overlay cannot be written.
    """
    image = read_image(prediction.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    write_image(path, draw_overlay(image, prediction.score_map, prediction.regions))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
