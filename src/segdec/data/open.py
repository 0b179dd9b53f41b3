"""Open a data set: recognise its layout, read it, say what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segdec.config import DataConfig
from segdec.data.published import is_kolektor, read_kolektor
from segdec.errors import DataError
from segdec.types import Dataset

LAYOUTS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path, DataConfig], Dataset]], ...] = (
    ("kolektor", is_kolektor, read_kolektor),
)
"""Name, test and reader of each layout; the first whose test holds is taken."""


def open_dataset(path: str | Path, config: DataConfig) -> Dataset:
    """Open a data set on disk.

    Parameters
    ----------
    path
        A folder in one of the layouts, or a table (.csv, .jsonl).
    config
        Settings; ``defect_class`` counts for Severstal.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the layout is unknown, or there are no images, or images of one class only.
    """
    root = Path(path)
    for _, looks_like, read in LAYOUTS:
        if looks_like(root):
            return read(root, config)
    raise DataError(f"{root} is no data set that can be read")
