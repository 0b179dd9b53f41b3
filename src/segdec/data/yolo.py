"""YOLO text files: a file for each image, with polygons or boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segdec.config import DataConfig
from segdec.data.annotations import Entry, box, number, polygon, shape, to_dataset
from segdec.data.scan import list_images, map_in_threads
from segdec.data.tables import PART_NAMES
from segdec.errors import DataError, ImageError, MissingExtraError
from segdec.imaging import read_image_size
from segdec.types import Dataset, ImageSize, Part, Polygon


def is_yolo(root: Path) -> bool:
    """Tell whether a folder, or its folders named like parts, holds images/ and labels/ with text files."""
    return any(any(labels.rglob("*.txt")) for _, _, labels in _bases(root))


def read_yolo(root: Path, config: DataConfig) -> Dataset:
    """Read YOLO text files.

    Each line is a class and a polygon's corners, or a class and the middle, width and height of a box, all as
    shares of the image's width and height. An empty file says that its image is good; an image without a file
    is unlabelled.

    Parameters
    ----------
    root
        The folder of images/ and labels/, which may hold or stand in train/, val/ and test/. The classes'
        names are in its data.yaml (any .yaml file with "names") or classes.txt; without, they are numbers.
    config
        ``strict`` makes an unreadable image an error.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If a line is no such list, names a class that is not listed, or leaves its image; or if two images
        share a file.
    ImageError
        With ``strict``, if the size of an image cannot be read.
    """
    return to_dataset(root, root, "yolo", _entries(root, config.strict))


def _bases(root: Path) -> list[tuple[Part | None, Path, Path]]:
    """Return part, folder of images and folder of labels."""
    bases: list[tuple[Part | None, Path]] = [(None, root)]
    bases += [(PART_NAMES[path.name], path) for path in sorted(root.glob("*")) if path.name in PART_NAMES]
    pairs = [(part, base / "images", base / "labels") for part, base in bases]
    return [each for each in pairs if each[1].is_dir() and each[2].is_dir()]


def _entries(root: Path, strict: bool) -> Iterator[Entry]:
    names, listed = _read_names(root)
    owners: dict[Path, Path] = {}
    work: list[tuple[Path, Path, Part | None]] = []
    files: set[Path] = set()
    for part, images, labels in _bases(root):
        files |= {path for path in labels.rglob("*.txt") if path.name != "classes.txt"}
        for image in list_images(images, deep=True):
            below = image.relative_to(images)
            path = (labels / below).with_suffix(".txt")
            if owners.setdefault(path, image) != image:
                raise DataError(f"{image} and {owners[path]} share {path}; give the images different names")
            work.append((image, path, part or PART_NAMES.get(below.parts[0])))
    lost = sorted(files - owners.keys())
    if lost:
        raise DataError(
            f"{lost[0]} has no image of its name, as {len(lost)} files in all; add or remove them"
        )
    sizes = map_in_threads(lambda each: _size(each[0], strict), work)
    for (image, path, part), size in zip(work, sizes, strict=True):
        if not path.is_file():
            yield Entry(image, str(image), part=part, judged=False)
            continue
        if isinstance(size, ImageError):
            yield Entry(image, str(image), part=part, fault=str(size))
            continue
        shapes = []
        for line, text in enumerate(_read_text(path).splitlines(), 1):
            where = f"{path}, line {line}"
            if words := text.split():
                shapes.append(
                    shape(_form(words[1:], size, where), _name(words[0], names, listed, where), where)
                )
        yield Entry(image, str(path), shapes, size, part=part)


def _size(image: Path, strict: bool) -> ImageSize | ImageError:
    try:
        return read_image_size(image)
    except ImageError as error:
        if strict:
            raise
        return error


def _form(words: list[str], size: ImageSize, where: str) -> Polygon:
    height, width = size
    values = [number(word, where, "a coordinate") for word in words]
    if any(not -0.01 <= value <= 1.01 for value in values):
        worst = max(values, key=lambda value: abs(value - 0.5))
        raise DataError(
            f"{where}: coordinates are shares from 0 to 1 of the image, got {worst:g}; correct it"
        )
    if len(values) == 4:
        x, y, wide, high = (value * side for value, side in zip(values, (width, height) * 2, strict=True))
        return box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2, size, where)
    if len(values) % 2:
        raise DataError(
            f"{where}: a polygon needs x and y of each corner, got {len(values)} numbers; correct it"
        )
    points = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
    return polygon(points, size, where)


def _name(word: str, names: dict[int, str], listed: Path, where: str) -> str:
    if not word.isdecimal():
        raise DataError(f'{where}: a line begins with the number of its class, got "{word}"; correct it')
    if names and int(word) not in names:
        raise DataError(
            f"{where}: class {word} is not listed; the names go from {min(names)} to {max(names)}, so correct"
            f" the line or add the class to {listed}"
        )
    return names.get(int(word), f"class {word}")


def _read_names(root: Path) -> tuple[dict[int, str], Path]:
    """Return the names of the classes, none if there is no list of them, and the file that lists them."""
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        names = _parse_yaml(path).get("names")
        if isinstance(names, list):
            return {place: str(name) for place, name in enumerate(names)}, path
        if isinstance(names, dict) and all(str(place).isdecimal() for place in names):
            return {int(place): str(name) for place, name in names.items()}, path
    for path in (root / "classes.txt", root / "labels" / "classes.txt"):
        if path.is_file():
            return dict(enumerate(_read_text(path).splitlines())), path
    return {}, root


def _parse_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs the package PyYAML; install it with: pip install 'segdec[train]'"
        ) from error
    try:
        text = _read_text(path)
        _refuse_repeated(path, yaml.compose(text, yaml.SafeLoader))
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path} is no valid YAML: {' '.join(str(error).split())}; correct it") from error
    return content if isinstance(content, dict) else {}


def _refuse_repeated(path: Path, node: Any, says: str = 'give "{}"') -> None:
    """Refuse a key of the file, or of its names, that is there twice: YAML lets the last one count."""
    lines: dict[str, int] = {}
    for key, value in node.value if getattr(node, "id", "") == "mapping" else ():
        word, line = str(key.value), key.start_mark.line + 1
        if word in lines:
            raise DataError(
                f"{path}: lines {lines[word]} and {line} both {says.format(word)}; keep one of them"
            )
        lines[word] = line
        if word == "names":
            _refuse_repeated(path, value, "name class {}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from error
