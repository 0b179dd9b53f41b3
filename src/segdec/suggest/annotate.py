"""Write the list, and what the network would draw, for a person to correct.

What is written here must be read back as what is known or drawn, and no more. An image is called defective
where that was known before; where it was not, only what is drawn on it says so, until a person deletes it. An
image on which nothing was found is not thereby good, but "unknown".
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence, Set
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdec.data.convert import refuse_existing, short_names, write_coco, write_whole
from segdec.errors import ConfigError
from segdec.predict import Predictor
from segdec.suggest.choose import Suggestion
from segdec.suggest.rank import Ranking
from segdec.types import Dataset, ImageSize, Point, Polygon, Prediction, Region, Sample, Shape, Shapes

FORMS = ("csv", "jsonl")
TARGETS = ("labelme", "coco")

_MOST_REGIONS = 20
"""More areas than this on one image are quicker drawn anew than tidied up."""
_ROUNDING = 1.0
"""A polygon stays within so many pixels of its region: far below a cell, and with few points to move."""


def write_suggestions(ranking: Ranking, folder: Path, form: str = "csv", to: str | None = None) -> list[Path]:
    """Write the list, and pre-annotations if wished, whole or not at all.

    Parameters
    ----------
    ranking
        From `segdec.suggest.rank.suggest`.
    folder
        To write; it must not exist, or be empty, as it may later hold a person's work.
    form
        "csv" or "jsonl": suggestions.csv or suggestions.jsonl.
    to
        "labelme" or "coco": a folder of that name with copies of the images, and the regions of their score
        maps as polygons. None writes none.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        If ``form`` or ``to`` is something else.
    OutputError
        If the folder holds anything, or cannot be written.
    """
    check_forms(form, to)
    refuse_existing(folder)
    names = [f"suggestions.{form}"]
    if to is None:
        write_whole(folder, lambda target: _write_list(ranking, target / names[0]))
    else:
        names.append(to)
        dataset, sizes = pre_annotate(ranking)
        drawn = {one.name for one in ranking.suggestions if not one.defective}
        writer = write_coco if to == "coco" else write_labelme

        def write(target: Path) -> None:
            _write_list(ranking, target / names[0])
            (target / names[1]).mkdir()
            writer(dataset, sizes, target / names[1], drawn)

        write_whole(folder, write)
    return [folder / name for name in names]


def check_forms(form: str, to: str | None) -> None:
    """Refuse a form or target that does not exist by a ConfigError."""
    if form not in FORMS:
        raise ConfigError(f'--format is {" or ".join(FORMS)}, got "{form}"')
    if to is not None and to not in TARGETS:
        raise ConfigError(f'--to is {" or ".join(TARGETS)}, got "{to}"')


def to_text(suggestions: Sequence[Suggestion], form: str) -> str:
    """Write suggestions as CSV with a header, or as JSON lines.

    Parameters
    ----------
    suggestions
        In order.
    form
        One of `FORMS`.

    Returns
    -------
    str
        The fields of `Suggestion`; ``image`` is the file's path, ``defective`` true where only the mask is
        missing.
    """
    rows = [asdict(one) | {"image": str(one.image)} for one in suggestions]
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [each.name for each in fields(Suggestion)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"defective": "true" if row["defective"] else "false"} for row in rows)
    return stream.getvalue()


def pre_annotate(ranking: Ranking) -> tuple[Dataset, dict[str, ImageSize]]:
    """Make a data set of what the network draws on the suggested images.

    Parameters
    ----------
    ranking
        Whose images, and whose model.

    Returns
    -------
    dataset : Dataset
        An image with regions is a defective sample with polygons; one without is a defective sample
        without a mask where it was labelled so, and otherwise unlabelled.
    sizes : dict
        Name -> (height, width) of all images, in pixels; unlabelled ones by their path.
    """
    predictor = Predictor(ranking.model)
    samples: list[Sample] = []
    unlabelled: list[Path] = []
    sizes: dict[str, ImageSize] = {}
    for one in ranking.suggestions:
        prediction = predictor.predict(one.image)
        shapes = _shapes(prediction)
        height, width = prediction.score_map.shape
        if shapes or one.defective:
            mask = Shapes(shapes, (height, width)) if shapes else None
            samples.append(Sample(one.name, one.image, True, mask))
            sizes[one.name] = (height, width)
        else:
            unlabelled.append(one.image)
            sizes[str(one.image)] = (height, width)
    return Dataset(ranking.source, "suggested", tuple(samples), {}, tuple(unlabelled)), sizes


def outline(region: Region) -> tuple[Point, ...]:
    """Turn a region into a polygon around its pixels, with few corners.

    Parameters
    ----------
    region
        Of a score map; holes in it are filled.

    Returns
    -------
    tuple of (x, y)
        At least three points, in pixels from the upper left corner of the image.

    Examples
    --------
    >>> outline(Region((4, 2, 1, 1), 1, ((4, 2),), 0.9))
    ((4.25, 2.25), (4.25, 2.75), (4.75, 2.75), (4.75, 2.25))
    """
    x, y, width, height = region.box
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.array(region.contour, np.int32) - (x, y)], 1)
    # contours run through the centres of pixels: twice as fine, they surround those of the region
    fine = np.kron(inside, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contour = contours[0]
    simple = cv2.approxPolyDP(contour, 2 * _ROUNDING, closed=True)
    corners = (simple if len(simple) >= 3 else contour).reshape(-1, 2)
    return tuple((float(x + (u + 0.5) / 2), float(y + (v + 0.5) / 2)) for u, v in corners)


def write_labelme(
    dataset: Dataset, sizes: dict[str, ImageSize], folder: Path, drawn: Set[str] = frozenset()
) -> None:
    """Write a LabelMe file for each image, and copy the images beside them.

    Parameters
    ----------
    dataset
        From `pre_annotate`.
    sizes
        From there, too.
    folder
        To write into; names with folders in them are joined by "-".
    drawn
        Names of samples that are defective by their shapes alone: their files have no flag.
    """
    taken: set[str] = set()
    names = short_names(dataset)
    for sample in dataset:
        shapes = sample.mask.items if isinstance(sample.mask, Shapes) else ()
        flags = {} if sample.name in drawn else {"defect": True}
        _write_one(folder, _flat(names[sample.image], taken), sample.image, sizes[sample.name], shapes, flags)
    for path in dataset.unlabelled:
        flags = {"unknown": True}
        _write_one(folder, _flat(names[path], taken), path, sizes[str(path)], (), flags)


def _write_list(ranking: Ranking, path: Path) -> None:
    path.write_text(to_text(ranking.suggestions, path.suffix.removeprefix(".")), encoding="utf-8")


def _write_one(
    folder: Path, name: str, image: Path, size: ImageSize, shapes: Sequence[Shape], flags: dict[str, bool]
) -> None:
    content: dict[str, Any] = {
        "version": "5.0.0",
        "flags": flags,
        "shapes": [
            {
                "label": "defect",
                "points": [list(point) for point in shape.form.points],
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for shape in shapes
            if isinstance(shape.form, Polygon)
        ],
        "imagePath": name,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    shutil.copyfile(image, folder / name)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / name).with_suffix(".json").write_text(text, encoding="utf-8")


def _shapes(prediction: Prediction) -> tuple[Shape, ...]:
    regions = prediction.regions[:_MOST_REGIONS]  # highest peak first
    return tuple(Shape(Polygon(outline(region)), origin="the score map") for region in regions)


def _flat(path: Path, taken: set[str]) -> str:
    """Return a name without folders whose LabelMe file is no other's."""
    stem = "-".join((*path.parts[:-1], path.stem))
    free, count = stem, 1
    while free.lower() in taken:
        count += 1
        free = f"{stem}-{count}"
    taken.add(free.lower())
    return free + path.suffix
