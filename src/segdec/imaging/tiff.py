"""What the tags of a TIFF tell: of which values it is, and what it takes to read it in parts."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
from PIL import TiffImagePlugin

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the latter two are BigTIFF
_BITS, _COMPRESSION, _SAMPLE_FORMAT = 258, 259, 339  # tags
_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}

OWN_CODECS = frozenset({1, 8, 32946})
"""Compressions that tifffile reads by itself: none and the two numbers of deflate."""
MORE_CODECS = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
"""Those that it reads with imagecodecs. JPEG is left to Pillow's colours."""


def is_tiff(file: IO[bytes]) -> bool:
    """Tell by its first bytes whether a file is a TIFF.

    Parameters
    ----------
    file
        It is read from its beginning.
    """
    file.seek(0)
    return file.read(4) in _HEADS


def read_tags(file: IO[bytes]) -> Mapping[int, Any]:
    """Read the tags of a TIFF's first page, also of one that Pillow does not decode.

    Parameters
    ----------
    file
        Any file.

    Returns
    -------
    mapping
        Number -> value; empty where it is no TIFF, or damaged.
    """
    if not is_tiff(file):
        return {}
    file.seek(0)
    try:
        head = file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
        file.seek(tags.next)
        tags.load(file)
        return {tag: tags[tag] for tag in (_BITS, _COMPRESSION, _SAMPLE_FORMAT) if tag in tags}
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, OverflowError, struct.error):
        return {}


def odd_values(tags: Mapping[int, Any]) -> str | None:
    """Name values that are no pixels here: others than unsigned ones of 16 bits at most.

    Parameters
    ----------
    tags
        Of a page.

    Returns
    -------
    str or None
        What kind they are; None where they are as they should be.

    Examples
    --------
    >>> odd_values({258: (16,), 339: (2,)}), odd_values({258: (64, 64, 64), 339: 3}), odd_values({258: 16})
    ('signed 16-bit', 'floating-point', None)
    """
    bits = int(np.max(tags.get(_BITS, 1)))
    kind = _FORMATS.get(int(np.max(tags.get(_SAMPLE_FORMAT, 1))))
    if kind == "signed":
        return f"signed {bits}-bit"
    return kind or (f"{bits}-bit" if bits > 16 else None)


def reading_in_parts(file: IO[bytes]) -> str:
    """Say what it takes to read an image in parts that is too large to be read as a whole.

    Parameters
    ----------
    file
        The image.
    """
    if not is_tiff(file):
        return "save it as TIFF, which --tile reads in parts"
    if find_spec("tifffile") is None:
        return "to read it in parts with --tile, run: pip install 'segdec[large]'"
    codec = MORE_CODECS.get(int(np.max(read_tags(file).get(_COMPRESSION, 1))))
    if codec is not None and find_spec("imagecodecs") is None:
        return (
            f"to read it in parts with --tile, its {codec} compression needs: pip install imagecodecs; or"
            " save it uncompressed or deflated"
        )
    return (
        "--tile reads it in parts if it is uncompressed or deflated, upright, and grey or colour; save it so"
    )
