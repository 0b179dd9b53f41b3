"""From what an annotation tool wrote to samples: names' meanings, image files, labels.

Each reader turns its format into `Entry`s; the rules that hold for all of them stand here. An entry that
marks nothing is a good image. An image without an entry is unlabelled. An image is defective where a
defect is marked, or where its image label says so.
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from segdec.data.scan import finish, known_size, list_images, name_below, refuse_missing
from segdec.errors import DataError
from segdec.imaging import check_inside
from segdec.types import Dataset, ImageSize, Meaning, Part, Point, Polygon, Sample, Scribble, Shape, Shapes

Form = TypeVar("Form", Polygon, Scribble)

GOOD_NAMES = frozenset({"good", "ok", "normal", "background", "no defect"})
UNKNOWN_NAMES = frozenset({"unknown", "ignore", "ignored", "void", "unsure"})
DEFECT_NAMES = frozenset({"defect", "defects", "defective", "nok", "bad"})
"""Names that a label may have besides the types of defects; in any case, "_" and "-" count as a space."""


class Entry(NamedTuple):
    """What an annotation says of one image.

    Attributes
    ----------
    image
        The file, or its name as the annotation states it.
    where
        File and place of the entry, for error messages.
    shapes
        What is marked.
    size
        (height, width) as stated; None if it is not.
    tags
        Names given to the image as a whole.
    part, group
        As in `Sample`, where stated.
    judged
        False if nobody has annotated the image yet.
    fault
        Why the image cannot be used, "" if it can.
    near
        Folder that the image's name is looked for in first.
    """

    image: Path | str
    where: str
    shapes: Sequence[Shape] = ()
    size: ImageSize | None = None
    tags: Sequence[str] = ()
    part: Part | None = None
    group: str = ""
    judged: bool = True
    fault: str = ""
    near: Path | None = None


def to_dataset(root: Path, base: Path, layout: str, entries: Iterable[Entry]) -> Dataset:
    """Make a data set of the entries of an annotation.

    Parameters
    ----------
    root
        What was opened.
    base
        The folder that images are looked for in, and named from.
    layout
        As in `Dataset`.
    entries
        In any order. Images that lie beside theirs, or in unlabelled/, and have no entry are unlabelled.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If an image is missing, has two entries, is called good and marked as defective, or a shape lies
        outside it.
    """
    samples: list[Sample] = []
    unlabelled: list[Path] = []
    missing: dict[str, str] = {}
    excluded: dict[str, str] = {}
    origins: dict[Path, str] = {}
    finder = ImageFinder(base)
    for entry in entries:
        name = entry.image
        path = name if isinstance(name, Path) else finder.find(name, entry.where, entry.near)
        if path is None or not path.is_file():
            missing.setdefault(str(entry.image), entry.where)
            continue
        if path in origins:
            raise DataError(
                f"{entry.where} is for the image {name_below(base, path)}, and so is {origins[path]};"
                " keep one of them, or give the images different names"
            )
        origins[path] = entry.where
        if entry.fault:
            excluded[name_below(base, path)] = entry.fault
            continue
        sample = to_sample(base, path, entry)
        if sample is None:
            unlabelled.append(path)
        else:
            samples.append(sample)
    refuse_missing(root, missing)
    unlabelled += _beside(base, origins.keys())
    return finish(root, layout, samples, excluded, unlabelled)


def _beside(base: Path, listed: Set[Path]) -> set[Path]:
    """Return the images that lie in the folders of the listed ones, or in unlabelled/, and are not listed."""
    found = {path for folder in {path.parent for path in listed} for path in list_images(folder)}
    return (found | set(list_images(base / "unlabelled", deep=True))) - listed


class ImageFinder:
    """Finds images by the names that annotations state.

    Parameters
    ----------
    base
        Where to look: there, in images/ below it, then anywhere below it.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, where: str, near: Path | None = None) -> Path | None:
        """Find an image, None if there is none of that name.

        Parameters
        ----------
        name
            A path with either slash, or an address; of one that leads elsewhere only the end counts.
        where
            For the error message.
        near
            Folder to look in first.

        Raises
        ------
        DataError
            If several images have that name.
        """
        plain = PurePosixPath(name.replace("\\", "/"))
        parts = [part for part in plain.parts if part not in ("/", ".", "..")]
        if not parts:
            return None
        for folder in (near or self.base, self.base, self.base / "images"):
            path = Path(os.path.normpath(folder / plain))
            if self.base in path.parents and path.is_file():
                return path
        # the longer the common end of two paths, the closer they are
        for length in range(len(parts), 0, -1):
            found = [path for path in self._named(parts[-1]) if list(path.parts[-length:]) == parts[-length:]]
            if len(found) > 1:
                names = " and ".join(name_below(self.base, path) for path in found[:2])
                raise DataError(f'{where}: "{name}" may be {names}; give the path of the image')
            if found:
                return found[0]
        return None

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:  # a long look, spared where every path is right
            self._by_name = defaultdict(list)
            for path in list_images(self.base, deep=True):
                self._by_name[path.name].append(path)
        return self._by_name.get(name, [])


def meaning_of(name: str) -> Meaning:
    """Tell what pixels marked with a name are.

    Examples
    --------
    >>> meaning_of("OK"), meaning_of("__ignore__"), meaning_of("scratch")
    ('good', 'unknown', 'defect')
    """
    plain = _plain(name)
    return "good" if plain in GOOD_NAMES else "unknown" if plain in UNKNOWN_NAMES else "defect"


def type_of(name: str) -> str:
    """Return the type of defect that a name stands for, "" if it names none.

    Examples
    --------
    >>> type_of("scratch"), type_of("defect"), type_of("good")
    ('scratch', '', '')
    """
    return name.strip() if meaning_of(name) == "defect" and _plain(name) not in DEFECT_NAMES else ""


def shape(form: Any, name: str, where: str) -> Shape:
    """Return a mark with the meaning and type that its name stands for."""
    return Shape(form, meaning_of(name), type_of(name), where)


def polygon(points: Sequence[Point], size: ImageSize | None, where: str) -> Polygon:
    """Return a polygon once its points are checked.

    Parameters
    ----------
    points
        (x, y) in pixels.
    size
        (height, width) of the image, None if not known.
    where
        For the error message.

    Raises
    ------
    DataError
        If there are fewer than three points, or one lies outside the image.
    """
    if len(points) < 3:
        raise DataError(f"{where}: a polygon has at least three points, got {len(points)}; correct it")
    return _checked(Polygon(tuple(points)), size, where)


def box(left: float, top: float, right: float, bottom: float, size: ImageSize | None, where: str) -> Polygon:
    """Return an upright box, given by its edges in pixels, once it is checked; raises like `polygon`."""
    if not (right > left and bottom > top):
        raise DataError(
            f"{where}: a box needs a width and a height above 0, got {right - left:g} x {bottom - top:g};"
            " correct or remove it"
        )
    return polygon(((left, top), (right, top), (right, bottom), (left, bottom)), size, where)


def turned_box(
    upright: Polygon, around: Point, degrees: float, size: ImageSize | None, where: str
) -> Polygon:
    """Return a box turned clockwise around a point; it is cut off and checked as an ellipse is."""
    return _checked(Polygon(turned(upright.points, around, degrees), cut=True), size, where)


def ellipse(middle: Point, radii: Point, degrees: float, size: ImageSize | None, where: str) -> Polygon:
    """Return an ellipse as a polygon; what leaves the image is cut off, its middle must not.

    Parameters
    ----------
    middle, radii
        (x, y) in pixels.
    degrees
        Turned so far clockwise.
    size, where
        As for `polygon`.
    """
    if not min(radii) > 0:
        raise DataError(f"{where}: an ellipse needs radii above 0, got {radii}; correct or remove it")
    angles = [2 * math.pi * step / 64 for step in range(64)]
    points = ((middle[0] + radii[0] * math.cos(a), middle[1] + radii[1] * math.sin(a)) for a in angles)
    return _checked(Polygon(turned(tuple(points), middle, degrees), cut=True), size, where)


def turned(points: Sequence[Point], around: Point, degrees: float) -> tuple[Point, ...]:
    """Turn points clockwise (as seen on the image) around one."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x0, y0 = around
    return tuple(
        (x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos) for x, y in points
    )


def scribble(points: Sequence[Point], size: ImageSize | None, where: str, width: float = 3.0) -> Scribble:
    """Return a scribble once its points are checked; raises like `polygon`, but one point is enough."""
    if not points:
        raise DataError(f"{where}: a line has at least one point, got none; correct or remove it")
    return _checked(Scribble(tuple(points), width), size, where)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        If it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no valid JSON: {error}; export it again") from error


def number(value: Any, where: str, what: str) -> float:
    """Return a finite number; raises DataError for anything else."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found) or isinstance(value, bool):
        raise DataError(f"{where}: {what} must be a number, got {value!r}; correct it or export again")
    return found


def pairs(values: Any, where: str) -> tuple[Point, ...]:
    """Return the points of a list [[x, y], ...]; raises DataError for anything else."""
    if not isinstance(values, list | tuple) or not all(
        isinstance(each, list | tuple) and len(each) == 2 for each in values
    ):
        raise DataError(f"{where}: points must be a list of pairs [x, y]; correct it or export again")
    return tuple((number(x, where, "a coordinate"), number(y, where, "a coordinate")) for x, y in values)


def stated_size(height: Any, width: Any, where: str) -> ImageSize | None:
    """Return the size that an annotation states, None if it states none; raises DataError if it is odd."""
    if height is None or width is None:
        return None
    size = number(height, where, "height"), number(width, where, "width")
    if not all(side >= 1 and side == int(side) for side in size):
        raise DataError(
            f"{where}: height and width must be whole numbers above 0, got {height} x {width}; correct them"
        )
    return int(size[0]), int(size[1])


def to_sample(base: Path, path: Path, entry: Entry) -> Sample | None:
    """Make a sample of an entry.

    Parameters
    ----------
    base
        The folder that the sample is named from.
    path
        Its image.
    entry
        What is said of it.

    Returns
    -------
    Sample or None
        None if its label is not known.

    Raises
    ------
    DataError
        If the image is called good and marked as defective, or a shape lies outside it.
    """
    if entry.size is None:
        _check_by_image(path, entry.shapes)
    defects = [item for item in entry.shapes if item.meaning == "defect"]
    meanings = {meaning_of(tag) for tag in entry.tags}
    if not entry.judged or "unknown" in meanings:
        return None
    if "good" in meanings and ("defect" in meanings or defects):
        raise DataError(
            f"{entry.where}: {name_below(base, path)} is called good, but marked with a defect; correct the"
            " one or the other"
        )
    label = bool(defects) or "defect" in meanings
    unsure = entry.shapes and all(item.meaning == "unknown" for item in entry.shapes)
    if not label and "good" not in meanings and unsure:
        return None  # there may be a defect in what is marked as unknown
    name = name_below(base, path)
    named = [type_of(tag) for tag in entry.tags] + [item.type for item in defects]
    return Sample(
        name,
        path,
        label,
        _mask(entry, label, bool(defects)),
        entry.group or name,
        entry.part,
        tuple(dict.fromkeys(each for each in named if each)),
    )


def _mask(entry: Entry, label: bool, marked: bool) -> Shapes | None:
    shapes = entry.shapes
    if not label:  # a good image is good throughout, save where someone was unsure
        shapes = [item for item in shapes if item.meaning == "unknown"]
    elif not marked and not any(isinstance(item.form, Scribble) for item in shapes):
        return None  # the defect is somewhere outside the marks: the image label is all that is known
    return Shapes(tuple(shapes), entry.size) if shapes else None


def _check_by_image(path: Path, shapes: Sequence[Shape]) -> None:
    drawn = [(item.form, item.origin) for item in shapes if isinstance(item.form, Polygon | Scribble)]
    size = known_size(path) if drawn else None
    if size is not None:
        for form, where in drawn:
            check_inside(form, size, where)


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _checked(form: Form, size: ImageSize | None, where: str) -> Form:
    if size is not None:  # otherwise the image itself tells, once it is found
        check_inside(form, size, where)
    return form
