"""Data sets that a table describes: Severstal's train.csv, and a CSV or JSON-lines file of one's own."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segdec.config import DataConfig
from segdec.data.scan import finish, label_by_mask, list_images, name_below, refuse_missing
from segdec.errors import ConfigError, DataError
from segdec.types import Dataset, Part, RunLengths, Sample

COLUMNS = ("image", "mask", "label", "split", "group")
"""Columns of a table of one's own; others are ignored."""

LABELS = {
    **dict.fromkeys(("1", "true", "defect", "defective", "nok", "bad"), True),
    **dict.fromkeys(("0", "false", "good", "ok", "normal"), False),
}
"""Words for labels, in lower case."""

PART_NAMES: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Words for parts, in lower case."""


def is_severstal(root: Path) -> bool:
    """Tell whether a folder holds Severstal: train_images/ and train.csv."""
    return (root / "train.csv").is_file() and (root / "train_images").is_dir()


def read_severstal(root: Path, config: DataConfig) -> Dataset:
    """Read Severstal: run lengths in train.csv; an image without a row is good.

    Parameters
    ----------
    root
        The folder of train_images/ and train.csv (columns ImageId, ClassId, EncodedPixels, or the older
        ImageId_ClassId, EncodedPixels).
    config
        ``defect_class`` chooses the class that counts as defect, None any; an image that holds only
        other classes is good then.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the table lacks a column or names an image that is missing.
    ConfigError
        If there is no row of the chosen class.
    """
    table = root / "train.csv"
    rows_of: dict[str, list[str]] = defaultdict(list)
    types_of: dict[str, set[int]] = defaultdict(set)
    classes = set()
    for line, row in _read_table(table):
        if "ImageId_ClassId" in row:
            image, _, defect_class = row["ImageId_ClassId"].rpartition("_")
        else:
            _require(table, row, ("ImageId", "ClassId"))
            image, defect_class = row["ImageId"], row["ClassId"]
        _require(table, row, ("EncodedPixels",))
        if not defect_class.isdecimal():
            raise DataError(f'{table}, line {line}: the class must be a number, got "{defect_class}"')
        if row["EncodedPixels"]:
            classes.add(int(defect_class))
            if config.defect_class in (None, int(defect_class)):
                rows_of[image].append(row["EncodedPixels"])
                types_of[image].add(int(defect_class))
            else:
                rows_of[image] += []
    if config.defect_class is not None and config.defect_class not in classes:
        raise ConfigError(
            f"data.defect_class is {config.defect_class}, but {table} holds the classes {sorted(classes)};"
            " choose one of them"
        )
    samples = []
    for path in list_images(root / "train_images"):
        rows = tuple(rows_of.pop(path.name, ()))
        name = name_below(root, path)
        mask = RunLengths(rows, f"{table.name}, {path.name}") if rows else None
        types = tuple(f"class {each}" for each in sorted(types_of[path.name]))
        samples.append(Sample(name, path, bool(rows), mask, group=name, types=types))
    refuse_missing(table, dict.fromkeys(rows_of, ""))
    return finish(root, "severstal", samples, {})


def is_table(root: Path) -> bool:
    """Tell whether a path is a table: a .csv or .jsonl file."""
    return root.suffix.lower() in (".csv", ".jsonl") and root.is_file()


def read_table(root: Path, config: DataConfig) -> Dataset:
    """Read a table of one's own.

    Parameters
    ----------
    root
        A CSV file with a header line, or one JSON object per line. Columns: ``image`` (a path, relative
        to the table), at least one of ``label`` and ``mask``, and perhaps ``split`` and ``group``.
        Without a label the mask decides; without a group each image is its own.
    config
        ``strict`` makes an unreadable mask an error.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If a column, a file or a value is missing or not understood.
    """
    by_label: list[Sample] = []
    by_mask: list[Sample] = []
    missing: dict[str, str] = {}
    for line, row in _read_table(root):
        where = f"{root}, line {line}"
        _require(root, row, ("image",))
        if "label" not in row and "mask" not in row:
            _require(root, row, ("label",), ' (or a column "mask")')
        sample = _to_sample(root, row, where)
        files = [sample.image, *([sample.mask] if isinstance(sample.mask, Path) else [])]
        missing |= {str(path): where for path in files if not path.is_file()}
        (by_label if row.get("label") else by_mask).append(sample)
    refuse_missing(root, missing)
    labelled, unreadable = label_by_mask(by_mask, strict=config.strict)
    return finish(root, "table", [*by_label, *labelled], unreadable)


def _to_sample(root: Path, row: dict[str, str], where: str) -> Sample:
    image, mask, label, part = (row.get(column, "") for column in ("image", "mask", "label", "split"))
    if not image:
        raise DataError(f'{where}: "image" is empty; give the path of an image, relative to the table')
    if not label and not mask:
        raise DataError(f"{where}: neither label nor mask is given for {image}; give one")
    if label and label.lower() not in LABELS:
        raise DataError(f'{where}: label must be 0 (good) or 1 (defect), got "{label}"')
    if part and part.lower() not in PART_NAMES:
        raise DataError(f'{where}: split must be train, val, test or empty, got "{part}"')
    path = root.parent / image
    name = Path(os.path.relpath(path, root.parent)).as_posix()
    return Sample(
        name,
        path,
        LABELS[label.lower()] if label else False,
        root.parent / mask if mask else None,
        row.get("group") or name,
        PART_NAMES[part.lower()] if part else None,
    )


def _read_table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return line numbers and rows, every value a string without surrounding spaces."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the table {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the table {path} is no UTF-8 text ({error.reason}); save it as UTF-8") from error
    rows = _json_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text)
    if not rows:
        raise DataError(f"the table {path} has no rows; list one image per line")
    return rows


def _csv_rows(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    header = text.partition("\n")[0]
    # where the comma is the decimal sign, spreadsheets separate by semicolons
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=delimiter, restval="", skipinitialspace=True
    )
    rows = []
    try:
        for row in reader:
            if None in row:
                raise DataError(
                    f"{path}, line {reader.line_num} has more values than the header;"
                    " put values that hold commas in quotes"
                )
            rows.append((reader.line_num, {key.strip(): value.strip() for key, value in row.items()}))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; save the table anew as CSV") from error
    return rows


def _json_rows(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(
                f'{path}, line {number} is no JSON object; write e.g. {{"image": "a.png", "label": 1}}'
            )
        rows.append((number, {key: _plain(path, number, key, value) for key, value in row.items()}))
    return rows


def _plain(path: Path, number: int, key: str, value: Any) -> str:
    if key in COLUMNS and isinstance(value, dict | list | float):
        raise DataError(
            f'{path}, line {number}: "{key}" must be a string, whole number or boolean, got {value}'
        )
    return "" if value is None else str(value).strip()


def _require(path: Path, row: dict[str, str], columns: Iterable[str], more: str = "") -> None:
    for column in columns:
        if column not in row:
            close = difflib.get_close_matches(column, row, n=1, cutoff=0.5)
            hint = f'; did you mean "{column}" by "{close[0]}"?' if close else ""
            raise DataError(
                f'the table {path} has no column "{column}"{more}; it has {", ".join(row) or "none"}{hint}'
            )
