"""From files on disk to batches of tensors: readers, splits, loader, synthetic data."""

from segdec.data.check import FileCheck, check_files
from segdec.data.open import describe, open_dataset
from segdec.data.splits import load_split, make_split, save_split

__all__ = [
    "FileCheck",
    "check_files",
    "describe",
    "load_split",
    "make_split",
    "open_dataset",
    "save_split",
]
