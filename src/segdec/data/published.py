"""The published layouts of KolektorSDD, KolektorSDD2 and DAGM 2007."""

from __future__ import annotations

import re
from pathlib import Path

from segdec.config import DataConfig
from segdec.data.scan import finish, label_by_mask, list_images, name_below
from segdec.types import Dataset, Part, Sample

KOLEKTOR_EXCLUDED = {
    "kos21/Part7.jpg": "left out of KolektorSDD by the method's authors, so results stay comparable without it"
}
"""Images of KolektorSDD that are never used, with the reason."""


def is_kolektor(root: Path) -> bool:
    """Tell whether a folder holds KolektorSDD: kosNN/PartM.jpg + kosNN/PartM_label.bmp."""
    return any(root.glob("kos[0-9]*/Part*.jpg"))


def read_kolektor(root: Path, config: DataConfig) -> Dataset:
    """Read KolektorSDD: the item kosNN is the group; the label comes from the mask.

    Parameters
    ----------
    root
        The folder of the kosNN folders.
    config
        Not used.

    Returns
    -------
    Dataset
    """
    del config
    samples, excluded = [], {}
    for image in sorted(root.glob("kos[0-9]*/Part*.jpg")):
        name = name_below(root, image)
        mask = image.with_name(f"{image.stem}_label.bmp")
        if name in KOLEKTOR_EXCLUDED:
            excluded[name] = KOLEKTOR_EXCLUDED[name]
        elif not mask.is_file():
            excluded[name] = f"has no mask {mask.name}, which says whether it holds a defect"
        else:
            samples.append(Sample(name, image, False, mask, group=image.parent.name))
    labelled, unreadable = label_by_mask(samples)
    return finish(root, "kolektor", labelled, excluded | unreadable)
