"""Temporary."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from segdec.errors import ImageError
from segdec.imaging import read_image, read_mask
from segdec.data.scan import in_threads


@dataclass(frozen=True)
class Inspection:
    samples: tuple
    unreadable: dict
    data_hash: str
    sizes: list
    all_grey: bool


def check_files(samples, watch=None):
    def look(sample):
        try:
            image = read_image(sample.image)
            if sample.mask is not None:
                read_mask(sample.mask, image.shape[:2])
            h = hashlib.sha256(sample.image.read_bytes())
            if isinstance(sample.mask, Path):
                h.update(sample.mask.read_bytes())
            elif sample.mask is not None:
                h.update(repr(sample.mask.rows).encode())
            h.update(f"{sample.name}|{sample.label}|{sample.group}".encode())
            return image.shape, h.hexdigest()
        except ImageError as e:
            return str(e)

    rows = in_threads(look, samples)
    good = [(s, r) for s, r in zip(samples, rows) if not isinstance(r, str)]
    total = hashlib.sha256()
    for s, r in sorted(good, key=lambda x: x[0].name):
        total.update(r[1].encode())
    return Inspection(
        tuple(s for s, _ in good),
        {s.name: r for s, r in zip(samples, rows) if isinstance(r, str)},
        total.hexdigest(),
        [r[0][:2] for _, r in good],
        all(r[0][2] == 1 for _, r in good),
    )
